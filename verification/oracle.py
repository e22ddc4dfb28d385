"""Compare the tables and dead letters with an oracle: the results that the simulator expects of its scenarios.

In:  the document that `simulate --oracle` wrote (docs/reference/simulator.md), and a store that has caught up.
Out: each value that differs from the oracle. Rows of other runs in the same tables are ignored.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import orjson

from processors.dead_letters.browsing import HandledLetters, read_letters
from projections.store import Store
from schemas.decoding.times import rfc3339
from schemas.errors import RequestError
from schemas.kafka_connection import KafkaAddress
from verification.difference import Difference

__all__ = ["Document", "compare_dead_letters", "compare_with_oracle", "missing_letters", "read_oracle", "same"]

VERSION: Final = 2
ANY: Final = {"any": True}
CHUNK: Final = 5_000
PLATFORM_WIDE: Final = "*/"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

Document = Mapping[str, Any]


def read_oracle(path: Path) -> Document:
    """Return the document. Raises RequestError if it can't be read or is not an oracle."""
    try:
        document = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError) as error:
        raise RequestError(
            f"The oracle can't be read: {error}", str(path), "Write one with `sendledger simulate --oracle FILE`"
        ) from error
    if not isinstance(document, dict) or document.get("version") != VERSION:
        raise RequestError(
            "The file is not an oracle of this release",
            str(path),
            "Write a new one with `sendledger simulate --oracle`",
        )
    return document


def compare_with_oracle(store: Store, oracle: Document) -> Iterator[Difference]:
    """Yield each difference in the store's tables. Raises StoreError."""
    yield from _messages(store, oracle["messages"])
    yield from _platform_wide_rows(store, oracle["messages"])
    yield from _events(store, oracle["events"])
    yield from _orphans(store, oracle["orphan_facts"])
    yield from _contents(store, oracle["content"])
    yield from _bounced(store, oracle["bounced"])
    if not oracle["decides"]:
        yield from _suppressions(store, oracle["addresses"])


async def compare_dead_letters(bootstrap: KafkaAddress, oracle: Document) -> list[Difference]:
    """Return the missing dead letters; duplicates are allowed. Raises BrokerError."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    async with aclosing(read_letters(bootstrap, HandledLetters())) as letters:
        async for letter in letters:
            found[f"{letter.topic}/{letter.reason}"].add(sha256(letter.value).hexdigest())
    return missing_letters(found, oracle)


def missing_letters(found: Mapping[str, set[str]], oracle: Document) -> list[Difference]:
    """Return the missing dead letters, given the hashes of the values that were found, by topic and reason."""
    return [
        Difference("dead letters", name, value, "parked", "not found")
        for name, values in oracle["dead_letter_values"].items()
        for value in sorted(set(values) - found.get(name, set()))
    ]


def same(expected: Any, found: Any) -> bool:
    """Return whether a value is as expected. ANY expects any value that is not empty."""
    return bool(found) if expected == ANY else bool(found == expected)


def _messages(store: Store, expected: Mapping[str, Mapping[str, Any]]) -> Iterator[Difference]:
    names = [name for name in expected if not name.startswith(PLATFORM_WIDE)]
    for chunk in _chunks(names):
        rows = _rows_by_name(store, "SELECT * FROM messages", chunk)
        for name in chunk:
            row = rows.get(name)
            if row is None:
                yield Difference("oracle", name, "row", "a row", None)
                continue
            yield from _row(name, expected[name], row)


def _row(name: str, expected: Mapping[str, Any], row: Mapping[str, Any]) -> Iterator[Difference]:
    for column, value in expected.items():
        found = _plain(row[column])
        if column == "anomalies":
            found = sorted(found)
        if not same(value, found):
            yield Difference("oracle", name, column, value, found)


def _platform_wide_rows(store: Store, expected: Mapping[str, Mapping[str, Any]]) -> Iterator[Difference]:
    """Platform-wide rows: the oracle doesn't know their generated ids, so they are found by address and time."""
    platform_wide = {name: row for name, row in expected.items() if name.startswith(PLATFORM_WIDE)}
    if not platform_wide:
        return
    rows = store.rows("SELECT * FROM messages WHERE account_id = '*'")
    found: defaultdict[tuple[str, int], list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        found[row["to_key"], _us(row["date_sent"]) // 1000].append(row)
    for name, columns in platform_wide.items():
        address, _, changed_at = name.removeprefix(PLATFORM_WIDE).rpartition("/")
        candidates = found[address.casefold(), _us(datetime.fromisoformat(changed_at)) // 1000]
        differing = [list(_row(name, columns, row)) for row in candidates]
        if not any(not differences for differences in differing):
            yield from differing[0] if differing else [Difference("oracle", name, "row", "a row", None)]


def _events(store: Store, expected: Mapping[str, Mapping[str, Sequence[int]]]) -> Iterator[Difference]:
    for chunk in _chunks(list(expected)):
        accounts, ids = _split(chunk)
        rows = store.tuples(
            "SELECT account_id, toString(email_id), type, count(), countIf(cc) FROM message_events"
            " WHERE account_id IN {accounts:Array(String)} AND email_id IN {ids:Array(UUID)}"
            " GROUP BY account_id, email_id, type",
            {"accounts": accounts, "ids": ids},
        )
        found: defaultdict[str, dict[str, list[int]]] = defaultdict(dict)
        for account, email_id, kind, count, of_ccs in rows:
            found[f"{account}/{email_id}"][kind] = [count, of_ccs]
        for name in chunk:
            for kind in sorted({*expected[name], *found[name]}):
                counts, actual = list(expected[name].get(kind, (0, 0))), found[name].get(kind, [0, 0])
                if counts != actual:
                    yield Difference("oracle", name, f"events {kind} [all, of CCs]", counts, actual)


def _orphans(store: Store, expected: Iterable[Sequence[str]]) -> Iterator[Difference]:
    counts = Counter(tuple(fact) for fact in expected)
    rows = store.tuples("SELECT provider, type, provider_message_id, address, count() FROM orphan_events GROUP BY ALL")
    found = {tuple(row[:4]): row[4] for row in rows}
    for fact, count in sorted(counts.items()):
        actual = found.get(fact, 0)
        # A fact without a provider id may also come from another run, such as an alert in the same second.
        if actual < count or (actual > count and fact[2]):
            yield Difference("oracle", "/".join(fact), "orphans", count, actual)


def _contents(store: Store, expected: Sequence[str]) -> Iterator[Difference]:
    for chunk in _chunks(list(expected)):
        actual = _rows_by_name(
            store, "SELECT account_id, message_id AS email_id FROM contents", chunk, id_="message_id"
        )
        yield from (Difference("oracle", name, "content", "kept", None) for name in chunk if name not in actual)


def _bounced(store: Store, expected: Mapping[str, Mapping[str, Any]]) -> Iterator[Difference]:
    """Bounced Emails. No other run uses these addresses."""
    for chunk in _chunks(list(expected)):
        rows = store.rows(
            "SELECT account_id, concat(channel, ':', address) AS key, bounces, suppressed FROM bounced_emails"
            " WHERE address IN {addresses:Array(String)}",
            {"addresses": sorted({_address(name.partition("/")[2]) for name in chunk})},
        )
        found = {f"{row['account_id']}/{row['key']}": row for row in rows}
        for name in chunk:
            for column, value in expected[name].items():
                actual = found.get(name, {}).get(column)
                if actual != value:
                    yield Difference("oracle", name, f"bounced_emails {column}", value, actual)


def _suppressions(store: Store, expected: Mapping[str, Mapping[str, Any]]) -> Iterator[Difference]:
    """The suppression state of every address that the plan mentions, suppressed or not."""
    for chunk in _chunks(list(expected)):
        rows = store.rows(
            "SELECT concat(channel, ':', address) AS key, scope, suppressed, reason, since, actor FROM suppressions"
            " WHERE address IN {addresses:Array(String)}",
            {"addresses": sorted({_address(key) for key in chunk})},
        )
        found = {(row["key"], row["scope"]): row for row in rows}
        for key in chunk:
            for scope, columns in expected[key]["scopes"].items():
                row = found.get((key, scope), {"suppressed": False})
                for column, value in columns.items():
                    actual = _plain(row.get(column))
                    if not same(value, actual):
                        yield Difference("oracle", f"{key} {scope}", f"suppressions {column}", value, actual)


def _address(key: str) -> str:
    """Return the address of `channel:address`."""
    return key.partition(":")[2]


def _rows_by_name(store: Store, select: str, names: Sequence[str], id_: str = "email_id") -> dict[str, dict[str, Any]]:
    accounts, ids = _split(names)
    rows = store.rows(
        f"{select} WHERE account_id IN {{accounts:Array(String)}} AND {id_} IN {{ids:Array(UUID)}}",
        {"accounts": accounts, "ids": ids},
    )
    return {f"{row['account_id']}/{row['email_id']}": row for row in rows}


def _split(names: Iterable[str]) -> tuple[list[str], list[str]]:
    accounts, ids = zip(*(name.split("/", 1) for name in names), strict=True)
    return sorted(set(accounts)), sorted(set(ids))


def _chunks(names: Sequence[str]) -> Iterator[Sequence[str]]:
    for at in range(0, len(names), CHUNK):
        yield names[at : at + CHUNK]


def _us(at: datetime) -> int:
    since = at.replace(tzinfo=UTC) - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def _plain(value: Any) -> Any:
    """Return a row's value in the form of the oracle's JSON."""
    if isinstance(value, datetime):
        return rfc3339(_us(value))
    return str(value) if isinstance(value, UUID) else value
