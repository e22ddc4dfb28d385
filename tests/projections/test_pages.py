"""Pages of Messaging Logs: whatever the filters, the order and the size, they are the rows that match, each once."""

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
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
from projections.messages.law import Known
from projections.messages.pages import read_page, read_with_id
from projections.messages.queries import Cursor, Order
from projections.messages.rows import is_simple
from projections.messages.stats import delivery
from projections.store import Store
from projections.store.views.message_rows import RULES
from schemas.events import Event
from schemas.identity import uuid7
from schemas.times import DAY_US
from tests.building import NOW_US, a_decision, a_request, an_event, everything_known
from tests.stores import fresh_store

pytestmark = pytest.mark.clickhouse

ACCOUNTS = ["acme", "globex"]
AGES_DAYS = [0, 0, 1, 3, 20, 40, 400]
FILED = list(RULES)

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

    def its(fact: Any) -> Any:
        return fact._replace(account_id=account, message_id=message_id)

    return Known(
        requests=[its(r) for r in known.requests],
        decisions=[its(d)._replace(request=its(d.request)) for d in known.decisions],
        dispatches=[its(d) for d in known.dispatches],
        events=[its(e) for e in known.events],
    )


def write(store: Store, known: Known) -> None:
    """Write a message in rows of their own, which nothing has merged."""
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
    """Let an event be another message's, as the matcher does."""
    gone = event._replace(received_us=0)
    store.insert("events", events_table([gone]).append_column("link", pa.array(["withdrawn"])))
    store.insert("message_state", withdrawn_state_table([gone]))


def now_us() -> int:
    """What the server takes for now, nearly."""
    return time.time_ns() // 1000


def matches(row: Row, wanted: Filter) -> bool:
    """What a filter means, of a row of the view. Shares no code with the queries."""
    keys = [row["to_key"], *row["cc_keys"]]
    sent_us = _us(row["date_sent"])
    held: dict[str, Callable[[Any], bool]] = {
        "accounts": lambda said: row["account_id"] in said,
        "from_us": lambda said: sent_us >= said,
        "to_us": lambda said: sent_us < said,
        "statuses": lambda said: row["status"] in said,
        "addresses": lambda said: any(key in said for key in keys),
        "email_id": lambda said: str(row["email_id"]) == said,
        "channel": lambda said: row["channel"] == said,
        "types": lambda said: row["type"] in said or row["template_id"] in said,
        "sent_to": lambda said: row["sent_to"] == said,
        "address_prefix": lambda said: any(key.startswith(said) for key in keys),
        "domain": lambda said: row["to_domain"] == said,
        "subject": lambda said: said.lower() in row["subject"].lower(),
        "client_id": lambda said: row["sent_to"] == "client" and row["recipient_id"] == said,
        "staff_id": lambda said: row["sent_to"] == "staff" and row["recipient_id"] == said,
        "appointment_id": lambda said: row["appointment_id"] == said,
        "provider": lambda said: row["provider"] == said,
        "provider_message_ids": lambda said: row["provider_message_id"] in said,
        "code": lambda said: said in (row["code"], row["enhanced_code"]),
        "classification": lambda said: row["classification"] == said,
        "stuck_hours": lambda said: (
            row["status"] in ("Processed", "Pending")
            and max(_us(row["last_heard_at"] or row["date_sent"]), sent_us) < time.time() * 1e6 - said * 3_600_000_000
        ),
    }
    assert set(held) == set(Filter.__slots__)
    return all(test(said) for name, test in held.items() if (said := getattr(wanted, name)) not in (None, (), []))


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
    chunks = list(read_columns(store, wanted, FILED, order=order, rows_at_once=rows_at_once))
    assert all(0 < len(chunk[0]) <= rows_at_once for chunk in chunks)
    return [row for chunk in chunks for row in zip(*chunk, strict=True)]


def in_file(row: Row) -> tuple[Any, ...]:
    """A row of the view as an export tells it."""
    values = (row[name] for name in FILED)
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
        its = of(known, chance.choice(ACCOUNTS), message_id)
        write(store, its)
        if its.events and chance.random() < 0.2:
            withdraw(store, chance.choice([*its.events]))
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
            told = all_exported(store, wanted, order, chance.choice([2, 50]))
            assert told == [in_file(row) for row in found], (wanted, order)
        counted = queries.facets(wanted)
        facets = {tuple(values): number for *values, number in store.tuples(counted.sql, counted.parameters)}
        assert facets == Counter((row["status"], row["channel"], row["type"]) for row in expected), wanted
        one = chance.choice(rows)
        same = [row for row in rows if row["email_id"] == one["email_id"]]
        by_id = read_with_id(store, None, str(one["email_id"]))
        assert by_id == sorted(same, key=lambda row: str(row["account_id"]))
    # What is counted is read in another way than the rows are.
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
"""What `stats` counts, by rows of the view."""


def test_an_event_of_a_cc_gives_no_row_its_status(store: Store) -> None:
    """The state says that there was a bounce, and the page asks the events whose it was."""
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
    """Whatever else was written with them: rows of other messages' events, and of its own facts."""
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


class Changing:
    """A store in which something happens between the keys and the rows."""

    def __init__(self, store: Store, change: Callable[[], None]) -> None:
        self._store, self._changes = store, [lambda: None, change]

    def rows(self, sql: str, parameters: dict[str, Any]) -> list[Row]:
        if self._changes:
            self._changes.pop(0)()
        return self._store.rows(sql, parameters)


def some_messages(number: int) -> tuple[list[str], list[Known]]:
    ids = [uuid7(NOW_US - n * 1000, uuid4().bytes) for n in range(number)]
    requests = [a_request(account_id="acme", message_id=i, to="ann@example.com", cc=("bob@example.com",)) for i in ids]
    return ids, [
        Known([r], [a_decision(account_id="acme", message_id=r.message_id, request=r)], [], []) for r in requests
    ]


@pytest.mark.parametrize("wanted", [Filter(None), Filter(None, subject="o")], ids=["no filter", "a subject of all"])
def test_an_export_asks_for_some_hours_at_a_time(store: Store, wanted: Filter) -> None:
    """However much a filter finds, no query is about the whole log, which would take longer than a read may."""
    hours = range(6)
    for hour in hours:
        message_id = uuid7(NOW_US - hour * 3_600_000_000, uuid4().bytes)
        write(store, Known(requests=[a_request(account_id="acme", message_id=message_id, subject="Tomorrow")]))
    asked: list[dict[str, Any]] = []

    class Recording:
        def columns(self, sql: str, parameters: dict[str, Any]) -> Any:
            asked.append(parameters)
            return store.columns(sql, parameters)

    chunks = list(read_columns(Recording(), wanted, ["email_id"], order="newest", rows_at_once=1))
    assert len(chunks) == len(hours)
    spans = [said["window_to_us"] - said["window_from_us"] for said in asked[1:]]
    assert max(spans) < len(hours) * 3_600_000_000


def test_a_row_that_matches_no_more_leaves_no_gap(store: Store) -> None:
    ids, knowns = some_messages(6)
    for known in knowns:
        write(store, known)
    delivered = an_event("delivered", account_id="acme", message_id=ids[0], address="ann@example.com")
    changing = Changing(store, lambda: write(store, Known([], [], [], [delivered])))
    found = read_page(changing, Filter(["acme"], statuses=["Pending"]), limit=3, now_us=now_us())
    assert [str(row["email_id"]) for row in found] == ids[1:5]


def test_a_row_that_is_no_longer_simple_is_still_shown(store: Store) -> None:
    ids, knowns = some_messages(2)
    for known in knowns:
        write(store, known)
    copied = [
        an_event("delivered", account_id="acme", message_id=ids[0], address=address)
        for address in ("ann@example.com", "bob@example.com")
    ]
    changing = Changing(store, lambda: write(store, replace(knowns[0], events=copied)))
    found = read_page(changing, Filter(["acme"]), limit=3, now_us=now_us())
    assert [row["status"] for row in found] == ["Delivered", "Pending"]
