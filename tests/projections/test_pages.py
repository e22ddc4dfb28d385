"""Pages of Messaging Logs contain each matching row once, whatever the filters, the order and the page size."""

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from projections.messages import queries
from projections.messages.columns import dispatches_table, events_table, state_table, withdrawn_state_table
from projections.messages.exports import read_columns
from projections.messages.filters import REFUSED, STATUSES, Filter
from projections.messages.pages import read_page, read_with_id
from projections.messages.queries import Cursor, Order
from projections.messages.reference_fold import Known
from projections.messages.rows import is_simple
from projections.messages.stats import delivery
from projections.store import Store
from projections.store.views.message_rows import RULES
from schemas.decoding.ids import uuid7
from schemas.decoding.times import DAY_US
from schemas.events import Event
from tests.building import NOW_US, a_decision, a_request, an_event, everything_known
from tests.stores import fresh_store

pytestmark = pytest.mark.clickhouse

ACCOUNTS = ["acme", "globex"]
AGES_DAYS = [0, 0, 1, 3, 20, 40, 400]
EXPORT_COLUMNS = list(RULES)

Row = dict[str, Any]


@pytest.fixture(scope="module")
def clickhouse(clickhouse_url: str) -> Iterator[Store]:
    with fresh_store(clickhouse_url) as made:
        yield made


@pytest.fixture
def store(clickhouse: Store) -> Store:
    for table in ("message_state", "events", "dispatches", "holders", "bounces"):
        clickhouse.command(f"TRUNCATE TABLE {table}", database=clickhouse.tables)
    return clickhouse


def of(known: Known, account: str, message_id: str) -> Known:
    """The same facts about a message of an account."""

    def own(fact: Any) -> Any:
        return fact._replace(account_id=account, message_id=message_id)

    return Known(
        requests=[own(r) for r in known.requests],
        decisions=[own(d)._replace(request=own(d.request)) for d in known.decisions],
        dispatches=[own(d) for d in known.dispatches],
        events=[own(e) for e in known.events],
    )


def write(store: Store, known: Known) -> None:
    """Write a message as several unmerged rows."""
    events = [*known.events]
    if events:
        store.insert("events", events_table(events))
    if known.dispatches:
        store.insert("dispatches", dispatches_table([*known.dispatches]))
    for facts in (
        {"requests": known.requests},
        {"decisions": known.decisions},
        {"dispatches": known.dispatches},
    ):
        if any(facts.values()):
            store.insert("message_state", state_table(events_table([]), **facts))
    for half in (events[::2], events[1::2]):
        if half:
            store.insert("message_state", state_table(events_table(half)))


def withdraw(store: Store, event: Event) -> None:
    """Withdraw an event from its message, as the matcher does."""
    gone = event._replace(received_us=0)
    store.insert("events", events_table([gone]).append_column("link", pa.array(["withdrawn"])))
    store.insert("message_state", withdrawn_state_table([gone]))


def now_us() -> int:
    """The current time, about the same as the server's."""
    return time.time_ns() // 1000


def matches(row: Row, wanted: Filter) -> bool:
    """Whether a row of the view meets a filter. Shares no code with the queries."""
    keys = [row["to_key"], *row["cc_keys"]]
    sent_us = _us(row["date_sent"])
    conditions: dict[str, Callable[[Any], bool]] = {
        "accounts": lambda value: row["account_id"] in value,
        "from_us": lambda value: sent_us >= value,
        "to_us": lambda value: sent_us < value,
        "statuses": lambda value: row["status"] in value,
        "addresses": lambda value: any(key in value for key in keys),
        "email_id": lambda value: str(row["email_id"]) == value,
        "channel": lambda value: row["channel"] == value,
        "types": lambda value: row["type"] in value or row["template_id"] in value,
        "sent_to": lambda value: row["sent_to"] == value,
        "address_prefix": lambda value: any(key.startswith(value) for key in keys),
        "domain": lambda value: row["to_domain"] == value,
        "subject": lambda value: value.lower() in row["subject"].lower(),
        "client_id": lambda value: row["sent_to"] == "client" and row["recipient_id"] == value,
        "staff_id": lambda value: row["sent_to"] == "staff" and row["recipient_id"] == value,
        "appointment_id": lambda value: row["appointment_id"] == value,
        "provider": lambda value: row["provider"] == value,
        "provider_message_ids": lambda value: row["provider_message_id"] in value,
        "code": lambda value: value in (row["code"], row["enhanced_code"]),
        "classification": lambda value: row["classification"] == value,
        "stuck_hours": lambda value: (
            row["status"] in ("Processed", "Pending")
            and max(_us(row["last_heard_at"] or row["date_sent"]), sent_us) < time.time() * 1e6 - value * 3_600_000_000
        ),
    }
    assert set(conditions) == set(Filter.__slots__)
    return all(
        test(value) for name, test in conditions.items() if (value := getattr(wanted, name)) not in (None, (), [])
    )


def _us(at: datetime) -> int:
    return (at.replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def a_filter(rows: list[Row], chance: random.Random) -> Filter:
    """A filter of one to three fields, with values that some row has."""
    row = chance.choice(rows)
    values: dict[str, Any] = {
        "statuses": chance.sample(STATUSES, 2) if chance.random() < 0.3 else [row["status"]],
        "addresses": [chance.choice([row["to_key"], *row["cc_keys"]])],
        "email_id": str(row["email_id"]),
        "channel": row["channel"],
        "types": [chance.choice([row["type"], row["template_id"]])],
        "sent_to": row["sent_to"],
        "address_prefix": row["to_key"][:3],
        "domain": row["to_domain"],
        "subject": row["subject"][1:4],
        "client_id": row["recipient_id"],
        "staff_id": row["recipient_id"],
        "appointment_id": row["appointment_id"],
        "provider": row["provider"],
        "provider_message_ids": [row["provider_message_id"]],
        "code": row["code"] or row["enhanced_code"],
        "classification": row["classification"],
        "stuck_hours": 1,
        "from_us": _us(row["date_sent"]) - chance.choice([0, DAY_US]),
        "to_us": _us(row["date_sent"]) + chance.choice([0, 1000, DAY_US]),
    }
    names = chance.sample(sorted(values), chance.randint(0, 3))
    given = {name: values[name] for name in names if values[name] not in ("", [""])}
    return Filter(chance.choice([None, ["acme"], ["globex"], ACCOUNTS]), **given)


def all_pages(store: Store, wanted: Filter, order: Order, limit: int) -> list[Row]:
    found: list[Row] = []
    after: Cursor | None = None
    while True:
        rows = read_page(store, wanted, limit=limit, now_us=now_us(), order=order, after=after)
        assert len(rows) <= limit + 1
        found += rows[:limit]
        if len(rows) <= limit:
            return found
        last = rows[limit - 1]
        after = Cursor(_us(last["date_sent"]) // 1000, str(last["email_id"]), last["account_id"])


def all_exported(store: Store, wanted: Filter, order: Order, rows_at_once: int) -> list[tuple[Any, ...]]:
    chunks = list(read_columns(store, wanted, EXPORT_COLUMNS, order=order, rows_at_once=rows_at_once))
    assert all(0 < len(chunk[0]) <= rows_at_once for chunk in chunks)
    return [row for chunk in chunks for row in zip(*chunk, strict=True)]


def as_exported(row: Row) -> tuple[Any, ...]:
    """A row of the view in the form of an export."""
    values = (row[name] for name in EXPORT_COLUMNS)
    return tuple(
        f"{value.replace(tzinfo=None).isoformat(timespec='microseconds')}Z"
        if isinstance(value, datetime)
        else str(value)
        if isinstance(value, UUID)
        else value
        for value in values
    )


@settings(max_examples=4, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
@given(st.lists(everything_known(), min_size=12, max_size=24), st.integers(0, 2**32))
def test_pages_are_the_rows_that_match_in_their_order(store: Store, knowns: list[Known], seed: int) -> None:
    chance = random.Random(seed)
    for table in ("message_state", "events", "dispatches", "holders", "bounces"):
        store.command(f"TRUNCATE TABLE {table}", database=store.tables)
    for known in knowns:
        sent_us = NOW_US - chance.choice(AGES_DAYS) * DAY_US - chance.randrange(1000) * 1000
        message_id = uuid7(sent_us, uuid4().bytes)
        own = of(known, chance.choice(ACCOUNTS), message_id)
        write(store, own)
        if own.events and chance.random() < 0.2:
            withdraw(store, chance.choice([*own.events]))
        if chance.random() < 0.1:  # two accounts share an id
            write(store, of(chance.choice(knowns), chance.choice(ACCOUNTS), message_id))
    rows = store.rows("SELECT * FROM messages ORDER BY date_sent DESC, email_id DESC, account_id DESC")
    if not rows:
        return
    for _ in range(20):
        order: Order = "newest" if chance.random() < 0.5 else "oldest"
        wanted, limit = a_filter(rows, chance), chance.choice([1, 2, 5, 50])
        expected = [row for row in rows if matches(row, wanted)]
        found = all_pages(store, wanted, order, limit)
        assert found == (expected if order == "newest" else expected[::-1]), (wanted, order)
        if chance.random() < 0.5:
            exported = all_exported(store, wanted, order, chance.choice([2, 50]))
            assert exported == [as_exported(row) for row in found], (wanted, order)
        counted = queries.facets(wanted)
        facets = {tuple(values): number for *values, number in store.tuples(counted.sql, counted.parameters)}
        assert facets == Counter((row["status"], row["channel"], row["type"]) for row in expected), wanted
        one = chance.choice(rows)
        same = [row for row in rows if row["email_id"] == one["email_id"]]
        by_id = read_with_id(store, None, str(one["email_id"]))
        assert by_id == sorted(same, key=lambda row: str(row["account_id"]))
    # Counts are read by other queries than rows.
    names = ", ".join(HOURLY)
    hourly = store.tuples(f"SELECT {names}, sum(messages) FROM delivery_hourly GROUP BY {names}")
    assert {tuple(values): number for *values, number in hourly} == Counter(
        tuple(row[name] for name in HOURLY) for row in rows
    )
    bounced = store.tuples(f"SELECT {', '.join(BOUNCED)} FROM bounced_messages ORDER BY {', '.join(BOUNCED[:3])}")
    order_of_bounced = [
        tuple(row[name] for name in BOUNCED)
        for row in store.rows(f"SELECT * FROM messages WHERE status = 'Bounced' ORDER BY {', '.join(BOUNCED[:3])}")
    ]
    assert [tuple(row) for row in bounced] == order_of_bounced
    counts = delivery(Filter(None), ["channel"], limit=5)
    assert sum(row["messages_"] for row in store.rows(counts.sql, counts.parameters)) == len(rows)
    counted_rows = {row["channel"]: row for row in store.rows(counts.sql, counts.parameters)}
    for channel in {row["channel"] for row in rows}:
        of_channel = [row for row in rows if row["channel"] == channel]
        assert {name: counted_rows[channel][f"{name}_"] for name in STATS} == {
            name: sum(map(count, of_channel)) for name, count in STATS.items()
        }


BOUNCED = (
    *("account_id", "date_sent", "email_id", "channel", "to_domain"),
    *("sub_status", "code", "enhanced_code", "classification", "reason"),
)
HOURLY = ("account_id", "channel", "template_id", "provider", "to_domain", "status")


def _is_delivered(row: Row) -> bool:
    touched = row["delivered_at"] is not None or row["opens"] + row["machine_opens"] + row["clicks"] > 0
    return row["status"] in ("Delivered", "Opened", "Clicked") or (row["status"] == "Subscriptionchange" and touched)


STATS: dict[str, Callable[[Row], bool]] = {
    "delivered": _is_delivered,
    "opened": lambda row: _is_delivered(row) and row["opens"] > 0,
    "clicked": lambda row: _is_delivered(row) and row["clicks"] > 0,
    "bounced": lambda row: row["status"] == "Bounced",
    "complained": lambda row: row["complained"] and row["status"] not in (*REFUSED, "Pending"),
}
"""The counts of `stats`, computed from rows of the view."""


def test_an_event_of_a_cc_does_not_give_the_status(store: Store) -> None:
    """The state contains a bounce; the page must read from the events that it was a CC's."""
    message_id = uuid7(NOW_US, uuid4().bytes)
    request = a_request(account_id="acme", message_id=message_id, to="ann@example.com", cc=("bob@example.com",))
    decision = a_decision(account_id="acme", message_id=message_id, request=request)
    bounced = an_event("bounced", account_id="acme", message_id=message_id, address="bob@example.com")
    write(store, Known([request], [decision], [], [bounced]))
    pages = {
        status: read_page(store, Filter(["acme"], statuses=[status]), limit=5, now_us=now_us())
        for status in STATUSES
        if status not in REFUSED
    }
    assert {status: len(rows) for status, rows in pages.items() if rows} == {"Pending": 1}


def test_a_message_whose_events_all_name_its_to_is_read_from_its_state(store: Store) -> None:
    """Also if the batch contains events of other messages, and facts of this one."""
    message_id, other = uuid7(NOW_US, uuid4().bytes), uuid7(NOW_US + 1000, uuid4().bytes)
    request = a_request(account_id="acme", message_id=message_id, to="ann@example.com", cc=("bob@example.com",))
    decision = a_decision(account_id="acme", message_id=message_id, request=request)
    events = events_table(
        [
            an_event("delivered", account_id="acme", message_id=message_id, address="ann@example.com"),
            an_event("delivered", account_id="acme", message_id=other, address=""),
        ]
    )
    store.insert("events", events)
    store.insert("message_state", state_table(events, [request], [decision]))
    query = queries.states_with_id(["acme"], message_id)
    assert [is_simple(state) for state in store.rows(query.sql, query.parameters)] == [True]


class Observed:
    """Reads from a store, and calls `before` with the parameters of each query, before it is run."""

    def __init__(self, store: Store, before: Callable[[Mapping[str, object]], None]) -> None:
        self._store, self._before = store, before

    def rows(self, sql: str, parameters: Mapping[str, object] | None = None) -> list[Row]:
        self._before(parameters or {})
        return self._store.rows(sql, parameters)

    def tuples(self, sql: str, parameters: Mapping[str, object] | None = None) -> Sequence[Sequence[Any]]:
        self._before(parameters or {})
        return self._store.tuples(sql, parameters)

    def columns(self, sql: str, parameters: Mapping[str, object] | None = None) -> Sequence[Sequence[Any]]:
        self._before(parameters or {})
        return self._store.columns(sql, parameters)


def changing(store: Store, change: Callable[[], None]) -> Observed:
    """A store that changes between the query of the keys and the query of the rows."""
    changes: list[Callable[[], None]] = [lambda: None, change]
    return Observed(store, lambda _: changes.pop(0)() if changes else None)


def some_messages(number: int) -> tuple[list[str], list[Known]]:
    ids = [uuid7(NOW_US - n * 1000, uuid4().bytes) for n in range(number)]
    requests = [a_request(account_id="acme", message_id=i, to="ann@example.com", cc=("bob@example.com",)) for i in ids]
    return ids, [
        Known([r], [a_decision(account_id="acme", message_id=r.message_id, request=r)], [], []) for r in requests
    ]


@pytest.mark.parametrize("wanted", [Filter(None), Filter(None, subject="o")], ids=["no filter", "a subject of all"])
def test_an_export_asks_for_some_hours_at_a_time(store: Store, wanted: Filter) -> None:
    """However many rows match, no query reads the whole log: it would exceed the time limit of a query."""
    hours = range(6)
    for hour in hours:
        message_id = uuid7(NOW_US - hour * 3_600_000_000, uuid4().bytes)
        write(store, Known(requests=[a_request(account_id="acme", message_id=message_id, subject="Tomorrow")]))
    queried: list[Any] = []
    chunks = list(read_columns(Observed(store, queried.append), wanted, ["email_id"], order="newest", rows_at_once=1))
    assert len(chunks) == len(hours)
    spans = [one["window_to_us"] - one["window_from_us"] for one in queried[1:]]
    assert max(spans) < len(hours) * 3_600_000_000


def test_a_row_that_no_longer_matches_leaves_no_gap(store: Store) -> None:
    ids, knowns = some_messages(6)
    for known in knowns:
        write(store, known)
    delivered = an_event("delivered", account_id="acme", message_id=ids[0], address="ann@example.com")
    store_with_an_event = changing(store, lambda: write(store, Known([], [], [], [delivered])))
    found = read_page(store_with_an_event, Filter(["acme"], statuses=["Pending"]), limit=3, now_us=now_us())
    assert [str(row["email_id"]) for row in found] == ids[1:5]


def test_a_row_that_is_no_longer_simple_is_still_shown(store: Store) -> None:
    ids, knowns = some_messages(2)
    for known in knowns:
        write(store, known)
    copied = [
        an_event("delivered", account_id="acme", message_id=ids[0], address=address)
        for address in ("ann@example.com", "bob@example.com")
    ]
    store_with_events = changing(store, lambda: write(store, replace(knowns[0], events=copied)))
    found = read_page(store_with_events, Filter(["acme"]), limit=3, now_us=now_us())
    assert [row["status"] for row in found] == ["Delivered", "Pending"]
