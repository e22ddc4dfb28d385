"""ClickHouse returns the same row as the reference fold: for every column, however it is read or was written."""

import asyncio
import random
from collections.abc import Iterator, Sequence
from dataclasses import astuple, fields
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from uuid import UUID, uuid4

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from projections.messages.arrow_types import STATE, identity
from projections.messages.columns import events_table, state_table
from projections.messages.filters import Filter
from projections.messages.pages import read_page, read_with_id
from projections.messages.queries import timeline
from projections.messages.reference_fold import Known, MessageRow, fold
from projections.store import Store, generations, migrate
from schemas.decoding.ids import uuid7
from tests.building import ACCOUNT, NOW_US, a_request, an_event, everything_known
from tests.stores import drop

pytestmark = pytest.mark.clickhouse

COLUMNS = [field.name for field in fields(MessageRow)]
AXES = [name for name in STATE if name not in ("account_id", "message_id")]
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def for_message(known: Known, message_id: str) -> Known:
    """The same facts about another message."""
    return Known(
        requests=[r._replace(message_id=message_id) for r in known.requests],
        decisions=[d._replace(message_id=message_id) for d in known.decisions],
        dispatches=[d._replace(message_id=message_id) for d in known.dispatches],
        events=[e._replace(message_id=message_id) for e in known.events],
    )


def one_axis_each(known: Known) -> Iterator[Any]:
    """The state rows of all facts and events, split so that each has one axis."""
    whole = [
        *(state_table(events_table([event])) for event in known.events),
        *(state_table(events_table([]), requests=[request]) for request in known.requests),
        *(state_table(events_table([]), decisions=[decision]) for decision in known.decisions),
        *(state_table(events_table([]), dispatches=[dispatch]) for dispatch in known.dispatches),
    ]
    for row in whole:
        for axis in AXES:
            # An axis that the row lacks gets its identity value: such rows must change nothing either.
            stated = row if axis in row.column_names else row.append_column(axis, identity(axis, row.num_rows))
            yield stated.select(["account_id", "message_id", axis])


def plain(value: Any) -> Any:
    """A value in the form of the reference fold: times in microseconds, ids as text."""
    if isinstance(value, datetime):
        return (value.replace(tzinfo=UTC) - EPOCH) // timedelta(microseconds=1)
    if isinstance(value, list):
        return tuple(value)
    return str(value) if isinstance(value, UUID) else value


def reference_rows(known_by_id: dict[str, Known]) -> dict[str, tuple[Any, ...]]:
    return {i: astuple(fold(ACCOUNT, i, known)) for i, known in known_by_id.items() if any(_all(known))}


def _all(known: Known) -> Sequence[object]:
    return [*known.requests, *known.decisions, *known.dispatches, *known.events]


def assert_equals_reference(store: Store, reference: dict[str, tuple[Any, ...]]) -> list[dict[str, Any]]:
    whole = store.rows(f"SELECT * FROM messages WHERE {_THESE}", {"account": ACCOUNT, "ids": list(reference)})
    assert {str(r["email_id"]): tuple(plain(r[c]) for c in COLUMNS) for r in whole} == reference
    return whole


_THESE = "account_id = {account:String} AND email_id IN {ids:Array(UUID)}"


_ROUNDS = count()
"""Each example checks a third of the columns, in turn."""


def assert_each_column_equals_reference(
    store: Store, reference: dict[str, tuple[Any, ...]], whole: list[dict[str, Any]]
) -> None:
    """Read each column alone, as dashboards do: the result must not depend on which other columns are read."""
    where, bound = _THESE, {"account": ACCOUNT, "ids": list(reference)}
    turn = next(_ROUNDS)
    for at, column in enumerate(COLUMNS):
        if at % 3 != turn % 3:
            continue
        alone = store.tuples(f"SELECT {column}, email_id FROM messages WHERE {where}", bound)
        assert {str(i): plain(value) for value, i in alone} == {i: row[at] for i, row in reference.items()}, column
        # ... and in WHERE alone, compared with a value that some message has
        sample = next(iter(whole))[column]
        same = store.tuples(
            f"SELECT email_id FROM messages WHERE {where} AND {column} IS NOT DISTINCT FROM"
            f" (SELECT any(x) FROM (SELECT {column} AS x FROM messages WHERE {where} AND email_id = {{one:UUID}}))",
            bound | {"one": str(next(iter(whole))["email_id"])},
        )
        assert {str(i) for (i,) in same} == {i for i, row in reference.items() if row[at] == plain(sample)}, column


@settings(max_examples=8, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
@given(st.lists(everything_known(), min_size=8, max_size=25), st.integers(0, 2**32))
def test_messages_equal_the_reference_however_they_were_written(store: Store, knowns: list[Known], seed: int) -> None:
    chance = random.Random(seed)
    started = NOW_US + chance.randrange(10**9) * 1000
    known_by_id = {
        (message_id := uuid7(started + n * 1000, uuid4().bytes)): for_message(known, message_id)
        for n, known in enumerate(knowns)
    }
    rows = [row for known in known_by_id.values() for row in one_axis_each(known)]
    rows += chance.sample(rows, len(rows) // 4)
    chance.shuffle(rows)
    reference = reference_rows(known_by_id)
    if not reference:
        return
    store.command("SYSTEM STOP MERGES message_state", database=store.tables)
    _write_events(store, known_by_id)
    _write(store, rows, batches=chance.randint(1, 8), chance=chance)
    assert_each_column_equals_reference(store, reference, assert_equals_reference(store, reference))
    store.command("SYSTEM START MERGES message_state", database=store.tables)
    store.command("OPTIMIZE TABLE message_state FINAL", database=store.tables)
    assert_equals_reference(store, reference)


def _write_events(store: Store, known_by_id: dict[str, Known]) -> None:
    """Write the event log: rows of messages with an event of a CC are computed from it."""
    store.insert("events", events_table([event for known in known_by_id.values() for event in known.events]))


def _write(store: Store, rows: list[Any], *, batches: int, chance: random.Random) -> None:
    """Write rows of one axis each: per batch three axes with defaults, the rest with explicit identities."""
    size = -(-len(rows) // batches)
    for at in range(0, len(rows), size):
        by_axis: dict[str, list[Any]] = {}
        for row in rows[at : at + size]:
            by_axis.setdefault(row.column_names[2], []).append(row)
        axes = sorted(by_axis)
        chance.shuffle(axes)
        for axis in axes[:3]:
            store.insert("message_state", pa.concat_tables(by_axis[axis]))
        if whole := [_whole(row) for axis in axes[3:] for row in by_axis[axis]]:
            store.insert("message_state", pa.concat_tables(whole))


def _whole(row: Any) -> Any:
    """A row of one axis, with the identity values of all others."""
    identities = {axis: identity(axis, 1) for axis in AXES if axis not in row.column_names}
    return pa.table({name: identities.get(name, row[name] if name in row.column_names else None) for name in STATE})


@settings(max_examples=10, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
@given(st.lists(everything_known(), min_size=5, max_size=20), st.integers(0, 2**32))
def test_whole_rows_equal_the_reference_too(store: Store, knowns: list[Known], seed: int) -> None:
    chance = random.Random(seed)
    started = NOW_US + chance.randrange(10**9) * 1000
    known_by_id = {
        (message_id := uuid7(started + n * 1000, uuid4().bytes)): for_message(known, message_id)
        for n, known in enumerate(knowns)
    }
    everything = [item for known in known_by_id.values() for item in _all(known)]
    chance.shuffle(everything)
    cut = chance.randint(0, len(everything))
    for part in (everything[:cut], everything[cut:], chance.sample(everything, len(everything) // 3)):
        of: dict[str, list[Any]] = {}
        for item in part:
            of.setdefault(type(item).__name__, []).append(item)
        if part:
            store.insert(
                "message_state",
                state_table(
                    events_table(of.get("Event", [])),
                    *(of.get(name, []) for name in ("Request", "Decision", "Dispatch")),
                ),
            )
    _write_events(store, known_by_id)
    reference = reference_rows(known_by_id)
    got = store.rows("SELECT * FROM messages WHERE email_id IN {ids:Array(UUID)}", {"ids": list(reference)})
    assert {str(r["email_id"]): tuple(plain(r[c]) for c in COLUMNS) for r in got} == reference


def test_the_copy_received_first_stays_in_the_log(store: Store) -> None:
    message_id = uuid7(NOW_US, uuid4().bytes)
    copies = [
        an_event("bounced", message_id=message_id, code=str(n), received_us=NOW_US + received, position=position)
        for n, (received, position) in enumerate([(5, 0), (0, 3), (0, 1), (9, 0)])
    ]
    for copy in copies:
        store.insert("events", events_table([copy]))
    stored = store.tuples("SELECT code, source FROM message_events WHERE email_id = {id:UUID}", {"id": message_id})
    assert [tuple(row) for row in stored] == [("2", "webhooks.sendgrid/0/0/1")]


@pytest.mark.parametrize("address", ["rcs:+15550000001", "15550000001", ""])
def test_no_event_of_an_sms_belongs_to_a_cc(store: Store, address: str) -> None:
    message_id = uuid7(NOW_US, uuid4().bytes)
    event = an_event("failed", message_id=message_id, provider="twilio", address=address)
    request = a_request(message_id=message_id, channel="sms", to="+1 555 000 0001")
    store.insert("events", events_table([event]))
    store.insert("message_state", state_table(events_table([event]), [request]))
    rows = store.tuples("SELECT type, cc FROM message_events WHERE email_id = {id:UUID}", {"id": message_id})
    assert [tuple(row) for row in rows] == [("failed", False)]
    status = store.tuples("SELECT status FROM messages WHERE email_id = {id:UUID}", {"id": message_id})
    assert [tuple(row) for row in status] == [("Bounced",)]


@pytest.mark.parametrize("first", ["2200", "a000", "ffff"])
def test_rows_with_an_id_beyond_2200_are_left_out_of_pages(store: Store, first: str) -> None:
    """Such ids are refused now, but older rows may have them."""
    account, far, usual = (
        f"acct-{uuid4().hex[:12]}",
        f"{first}ffff-ffff-7fff-bfff-ffffffffffff",
        uuid7(NOW_US, b"0" * 10),
    )
    for message_id in (far, usual):
        event = an_event("bounced", account_id=account, message_id=message_id)
        store.insert("events", events_table([event]))
        store.insert("message_state", state_table(events_table([event])))
    page = read_page(store, Filter([account]), limit=50, now_us=NOW_US)
    assert [str(row["email_id"]) for row in page] == [usual]
    query = timeline(account, far, limit=50)
    assert store.rows(query.sql, query.parameters) == read_with_id(store, [account], far) == []


def test_an_event_without_a_message_is_in_orphan_events(store: Store) -> None:
    orphan = an_event("provider_alert", account_id="", message_id="", address="", classification="compliance_suspend")
    store.insert("orphans", events_table([orphan, orphan]))
    seen = store.rows("SELECT type, classification, account_id FROM orphan_events")
    assert seen == [{"type": "provider_alert", "classification": "compliance_suspend", "account_id": ""}]


def test_the_parts_of_a_tuple_axis_are_merged_before_they_are_read(store: Store) -> None:
    """Under FINAL `axis.part` reads the first row's value; the view must not (DESIGN 6)."""
    message_id = uuid7(NOW_US, uuid4().bytes)
    for seconds in (3, 2, 1):
        event = an_event(
            "bounced", message_id=message_id, provider_message_id=f"id{seconds}", occurred_us=NOW_US + seconds
        )
        store.insert("message_state", state_table(events_table([event])))
    alone = store.tuples("SELECT provider_message_id FROM messages WHERE email_id = {id:UUID}", {"id": message_id})
    assert [tuple(row) for row in alone] == [("id1",)]


@pytest.mark.parametrize("applied_by", [1, 2])
def test_migrations_may_run_again(store: Store, applied_by: int) -> None:
    assert migrate.apply(store) == []


async def test_migrations_may_be_applied_by_two_at_once(clickhouse_url: str) -> None:
    name = f"twice_{uuid4().hex[:12]}"
    stores = [Store(clickhouse_url, database=name, generation=generations.FIRST) for _ in range(2)]
    try:
        await asyncio.gather(*(asyncio.to_thread(migrate.apply, store) for store in stores))
        assert migrate.pending(stores[0]) == []
        assert stores[0].tuples("SELECT count() FROM messages")[0][0] == 0
    finally:
        drop(stores[0])
        stores[1].close()
