"""The tables and topics beside an oracle: what the simulator's stories say must have come out.

In:  the document that `simulate --oracle` wrote (docs/reference/simulator.md), and a store that has caught up.
Out: each value that is not what the oracle says. Rows of other runs in the same tables are left out of account.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import orjson

from cli.verifying.difference import Difference
from processors.dead_letters import letters
from projections.store import Store
from schemas.errors import RequestError
from schemas.times import rfc3339

__all__ = ["Document", "compare_dead_letters", "compare_with_oracle", "missing_letters", "read_oracle", "same"]

VERSION: Final = 2
ANY: Final = {"any": True}
CHUNK: Final = 5_000
STAR: Final = "*/"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

Document = Mapping[str, Any]


def read_oracle(path: Path) -> Document:
    """Return the document. Raises RequestError where it is none."""
    try:
        document = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError) as error:
        raise RequestError(
            f"The oracle can't be read: {error}", str(path), "Write one with `sendledger simulate --oracle FILE`"
        ) from error
    if not isinstance(document, dict) or document.get("version") != VERSION:
        raise RequestError("This is no oracle of this release", str(path), "Write it anew with `sendledger simulate`")
    return document


def compare_with_oracle(store: Store, oracle: Document) -> Iterator[Difference]:
    """Yield what differs in the store's tables. Raises StoreError."""
    yield from _messages(store, oracle["messages"])
    yield from _rows_of_everybody(store, oracle["messages"])
    yield from _events(store, oracle["events"])
    yield from _orphans(store, oracle["orphan_facts"])
    yield from _contents(store, oracle["content"])
    yield from _bounced(store, oracle["bounced"])
    if not oracle["decides"]:
        yield from _suppressions(store, oracle["addresses"])


async def compare_dead_letters(bootstrap: str, oracle: Document) -> list[Difference]:
    """Return which dead letters lack. One may have been written twice. Raises BrokerError."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    async for letter in letters(bootstrap):
        said = {name: value.decode("utf-8", "replace") for name, value in letter.headers}
        found[f"{said.get('dlq.topic')}/{said.get('dlq.reason')}"].add(sha256(letter.value or b"").hexdigest())
    return missing_letters(found, oracle)


def missing_letters(found: Mapping[str, set[str]], oracle: Document) -> list[Difference]:
    """Return which dead letters lack, given the hashes of the values that were found, by topic and reason."""
    return [
        Difference("dead letters", name, value, "parked", "not found")
        for name, values in oracle["dead_letter_values"].items()
        for value in sorted(set(values) - found.get(name, set()))
    ]


def same(expected: Any, found: Any) -> bool:
    """Return whether a value is as it must be; there may be many that are right."""
    return bool(found) if expected == ANY else bool(found == expected)


def _messages(store: Store, expected: Mapping[str, Mapping[str, Any]]) -> Iterator[Difference]:
    names = [name for name in expected if not name.startswith(STAR)]
    for some in _chunks(names):
        rows = _rows_by_name(store, "SELECT * FROM messages", some)
        for name in some:
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


def _rows_of_everybody(store: Store, expected: Mapping[str, Mapping[str, Any]]) -> Iterator[Difference]:
    """Rows about an address: their ids are ours to make, so they are found by address and time."""
    wanted = {name: row for name, row in expected.items() if name.startswith(STAR)}
    if not wanted:
        return
    rows = store.rows("SELECT * FROM messages WHERE account_id = '*'")
    found: defaultdict[tuple[str, int], list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        found[row["to_key"], _us(row["date_sent"]) // 1000].append(row)
    for name, columns in wanted.items():
        address, _, changed_at = name.removeprefix(STAR).rpartition("/")
        those = found[address.casefold(), _us(datetime.fromisoformat(changed_at)) // 1000]
        differing = [list(_row(name, columns, row)) for row in those]
        if not any(not differences for differences in differing):
            yield from differing[0] if differing else [Difference("oracle", name, "row", "a row", None)]


def _events(store: Store, expected: Mapping[str, Mapping[str, Sequence[int]]]) -> Iterator[Difference]:
    for some in _chunks(list(expected)):
        accounts, ids = _split(some)
        rows = store.tuples(
            "SELECT account_id, toString(email_id), type, count(), countIf(cc) FROM message_events"
            " WHERE account_id IN {accounts:Array(String)} AND email_id IN {ids:Array(UUID)}"
            " GROUP BY account_id, email_id, type",
            {"accounts": accounts, "ids": ids},
        )
        found: defaultdict[str, dict[str, list[int]]] = defaultdict(dict)
        for account, email_id, kind, count, of_ccs in rows:
            found[f"{account}/{email_id}"][kind] = [count, of_ccs]
        for name in some:
            for kind in sorted({*expected[name], *found[name]}):
                counts, there = list(expected[name].get(kind, (0, 0))), found[name].get(kind, [0, 0])
                if counts != there:
                    yield Difference("oracle", name, f"events {kind} [all, of CCs]", counts, there)


def _orphans(store: Store, expected: Iterable[Sequence[str]]) -> Iterator[Difference]:
    wanted = Counter(tuple(fact) for fact in expected)
    rows = store.tuples("SELECT provider, type, provider_message_id, address, count() FROM orphan_events GROUP BY ALL")
    found = {tuple(row[:4]): row[4] for row in rows}
    for fact, count in sorted(wanted.items()):
        there = found.get(fact, 0)
        # Without a provider id the same fact may stand there from another run, as an alert of the same second does.
        if there < count or (there > count and fact[2]):
            yield Difference("oracle", "/".join(fact), "orphans", count, there)


def _contents(store: Store, expected: Sequence[str]) -> Iterator[Difference]:
    for some in _chunks(list(expected)):
        there = _rows_by_name(store, "SELECT account_id, message_id AS email_id FROM contents", some, id_="message_id")
        yield from (Difference("oracle", name, "content", "kept", None) for name in some if name not in there)


def _bounced(store: Store, expected: Mapping[str, Mapping[str, Any]]) -> Iterator[Difference]:
    """Bounced Emails: the addresses are this plan's alone."""
    for some in _chunks(list(expected)):
        rows = store.rows(
            "SELECT account_id, concat(channel, ':', address) AS key, bounces, suppressed FROM bounced_emails"
            " WHERE address IN {addresses:Array(String)}",
            {"addresses": sorted({_address(name.partition("/")[2]) for name in some})},
        )
        found = {f"{row['account_id']}/{row['key']}": row for row in rows}
        for name in some:
            for column, value in expected[name].items():
                there = found.get(name, {}).get(column)
                if there != value:
                    yield Difference("oracle", name, f"bounced_emails {column}", value, there)


def _suppressions(store: Store, expected: Mapping[str, Mapping[str, Any]]) -> Iterator[Difference]:
    """Which addresses are closed: all of those that something was said of, also where nothing came of it."""
    for some in _chunks(list(expected)):
        rows = store.rows(
            "SELECT concat(channel, ':', address) AS key, scope, suppressed, reason, since, actor FROM suppressions"
            " WHERE address IN {addresses:Array(String)}",
            {"addresses": sorted({_address(key) for key in some})},
        )
        found = {(row["key"], row["scope"]): row for row in rows}
        for key in some:
            for scope, wanted in expected[key]["scopes"].items():
                row = found.get((key, scope), {"suppressed": False})
                for column, value in wanted.items():
                    there = _plain(row.get(column))
                    if not same(value, there):
                        yield Difference("oracle", f"{key} {scope}", f"suppressions {column}", value, there)


def _address(key: str) -> str:
    """The address of `channel:address`."""
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
    """A value of a row as the oracle's JSON has it."""
    if isinstance(value, datetime):
        return rfc3339(_us(value))
    return str(value) if isinstance(value, UUID) else value
