"""Orphans and dispatches on the real engine are matched, in any order and with concurrent writers."""

import asyncio
import random
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple
from typing import Any, cast
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from processors.engine import TP, FailureLimit, RecordBatch
from processors.ledger.match import Matcher, sweep_periodically
from processors.ledger.write import LedgerWriter
from projections.messages.columns import dispatches_table, events_table, state_table
from projections.messages.matching import Candidate, MessageKey, ProviderId, owner_of
from projections.messages.reference_fold import Known, fold
from projections.store import Store
from projections.suppressions.queries import evidence_events
from schemas.decoding.ids import fact_id, uuid7
from schemas.decoding.sends import Dispatch, Request
from schemas.errors import StoreError, StoreRefused
from schemas.events import Event
from schemas.telemetry import Telemetry
from tests.building import ACCOUNT, NOW_US, FakeRecord, a_request, a_source_position, an_event
from tests.fakes import FakeLetters
from tests.local.waiting import until
from tests.projections.test_messages_in_clickhouse import COLUMNS, plain
from tests.stores import fresh_store

pytestmark = pytest.mark.clickhouse

Fact = Event | Dispatch | Request


def an_orphan(kind: str, provider_id: str, **said: Any) -> Event:
    return an_event(kind, account_id="", message_id="", provider_message_id=provider_id, **said)


def a_dispatch(provider_id: str, message_id: str) -> Dispatch:
    hashed = fact_id([provider_id, message_id])
    return Dispatch(ACCOUNT, message_id, hashed, NOW_US, "sendgrid", provider_id, a_source_position())


def new_id() -> str:
    return uuid7(NOW_US - random.randrange(10**9) * 1000, uuid4().bytes)


def write(store: Store, facts: Sequence[Fact], *, look: bool = True) -> None:
    """Write as the ledger does: own rows first, then the match."""
    orphans = [f for f in facts if isinstance(f, Event) and not f.message_id]
    named = [f for f in facts if isinstance(f, Event) and f.message_id]
    dispatches = [f for f in facts if isinstance(f, Dispatch)]
    requests = [f for f in facts if isinstance(f, Request)]
    if named or dispatches or requests:
        rows = events_table(named)
        store.insert("message_state", state_table(rows, requests, (), dispatches))
        if named:
            store.insert("events", rows)
    if orphans:
        store.insert("orphans", events_table(orphans))
    if dispatches:
        store.insert("dispatches", dispatches_table(dispatches))
    if not look:
        return
    ids = {ProviderId(orphan.provider, orphan.provider_message_id) for orphan in orphans}
    ids |= {ProviderId(dispatch.provider, dispatch.provider_message_id) for dispatch in dispatches}
    Matcher(store, Telemetry()).match_orphans(ids)


def timeline(store: Store, message_id: str) -> set[str]:
    rows = store.tuples("SELECT event_id FROM message_events WHERE email_id = {id:UUID}", {"id": message_id})
    return {row[0] for row in rows}


def orphaned(store: Store, events: Sequence[Event]) -> set[str]:
    ids = [event.event_id for event in events]
    rows = store.tuples("SELECT event_id FROM orphan_events WHERE event_id IN {ids:Array(String)}", {"ids": ids})
    return {row[0] for row in rows}


@pytest.mark.parametrize("order", ["event first", "dispatch first", "together"])
def test_an_event_is_matched_with_its_dispatch(store: Store, order: str) -> None:
    provider_id, message_id = uuid4().hex, new_id()
    event, dispatch = an_orphan("bounced", provider_id), a_dispatch(provider_id, message_id)
    groups: dict[str, list[list[Fact]]] = {
        "event first": [[event], [dispatch]],
        "dispatch first": [[dispatch], [event]],
        "together": [[event, dispatch]],
    }
    for group in groups[order]:
        write(store, group)
    assert timeline(store, message_id) == {event.event_id}
    assert orphaned(store, [event]) == set()
    status = store.tuples("SELECT status FROM messages WHERE email_id = {id:UUID}", {"id": message_id})
    assert [tuple(row) for row in status] == [("Bounced",)]


def test_an_event_whose_dispatch_never_comes_stays_visible(store: Store) -> None:
    event = an_orphan("bounced", uuid4().hex)
    write(store, [event])
    assert orphaned(store, [event]) == {event.event_id}


@pytest.mark.parametrize("later", [{"received_us": NOW_US + 5}, {"position": 9}], ids=["later", "same record"])
@pytest.mark.parametrize("orphan_first", [True, False])
def test_a_duplicate_with_a_message_id_takes_over_the_event(
    store: Store, later: dict[str, Any], *, orphan_first: bool
) -> None:
    provider_id, message_id = uuid4().hex, new_id()
    unnamed = an_orphan("delivered", provider_id, received_us=NOW_US, position=3)
    named = unnamed._replace(account_id=ACCOUNT, message_id=message_id, **later)
    for event in (unnamed, named) if orphan_first else (named, unnamed):
        write(store, [event])
    assert orphaned(store, [unnamed]) == set()
    Matcher(store, Telemetry()).sweep(3_600)
    kept = store.tuples(
        "SELECT toUnixTimestamp64Micro(received_at), position FROM events FINAL WHERE message_id = {id:UUID}",
        {"id": message_id},
    )
    assert [tuple(row) for row in kept] == [(NOW_US, 3)], "of the copies the one that arrived first is kept"


class Case:
    """Two messages with one provider id, their events without our ids, and the expected result."""

    def __init__(self, chance: random.Random, *, both: bool, told: bool) -> None:
        self.provider_id = uuid4().hex
        channel = chance.choice(["email", "sms"])
        addresses = {"email": ["ann@example.com", "bob@example.com"], "sms": ["+15550000001", "+15550000002"]}[channel]
        others = {"email": ["cc@example.com", ""], "sms": ["rcs:+15550000001", "15550000002", ""]}[channel]
        self.ids = [new_id(), new_id()][: 2 if both else 1]
        self.dispatches = [a_dispatch(self.provider_id, i) for i in self.ids]
        self.requests = (
            [a_request(message_id=i, channel=channel, to=to) for i, to in zip(self.ids, addresses, strict=False)]
            if told
            else []
        )
        self.events = [
            an_orphan(kind, self.provider_id, address=chance.choice([*addresses, *others]), natural_us=n)
            for n, kind in enumerate(chance.choices(["delivered", "bounced", "opened", "deferred"], k=4))
        ]

    def facts(self) -> list[Fact]:
        return [*self.dispatches, *self.requests, *self.events]

    def owners(self) -> dict[str, str]:
        tos = {request.message_id: request.to_key for request in self.requests}
        candidates = [Candidate(MessageKey(ACCOUNT, i), tos.get(i, "")) for i in self.ids]
        found = {e.event_id: owner_of(e.address, candidates) for e in self.events}
        return {event_id: pair.message_id for event_id, pair in found.items() if pair}

    def rows(self) -> dict[str, tuple[Any, ...]]:
        owners = self.owners()
        return {
            i: astuple(
                fold(
                    ACCOUNT,
                    i,
                    Known(
                        requests=[r for r in self.requests if r.message_id == i],
                        dispatches=[d for d in self.dispatches if d.message_id == i],
                        events=[e for e in self.events if owners.get(e.event_id) == i],
                    ),
                )
            )
            for i in self.ids
        }


@settings(max_examples=12, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
@given(st.integers(0, 2**32), st.booleans())
def test_the_same_facts_give_the_same_rows_in_every_order(store: Store, seed: int, both: bool) -> None:
    chance = random.Random(seed)
    cases = [Case(chance, both=both, told=True) for _ in range(6)]
    facts = [fact for case in cases for fact in case.facts()]
    facts += chance.sample(facts, len(facts) // 4)
    chance.shuffle(facts)
    while facts:
        size = chance.randint(1, 12)
        write(store, facts[:size])
        facts = facts[size:]
    Matcher(store, Telemetry()).sweep(3_600)
    for case in cases:
        owners = case.owners()
        for message_id in case.ids:
            assert timeline(store, message_id) == {e for e, owner in owners.items() if owner == message_id}
        assert orphaned(store, case.events) == {e.event_id for e in case.events} - owners.keys()
        where = {"ids": case.ids}
        got = store.rows("SELECT * FROM messages WHERE email_id IN {ids:Array(UUID)}", where)
        assert {str(r["email_id"]): tuple(plain(r[c]) for c in COLUMNS) for r in got} == case.rows()


def test_a_later_second_dispatch_withdraws_an_event_without_an_address(store: Store) -> None:
    """SendGrid's drops may have none. If several messages have the provider id, the event belongs to none."""
    provider_id, first, second = uuid4().hex, new_id(), new_id()
    event = an_orphan("dropped", provider_id, address="")
    write(store, [a_request(message_id=first, to="ann@example.com"), a_dispatch(provider_id, first)])
    write(store, [event])
    assert timeline(store, first) == {event.event_id}
    write(store, [a_request(message_id=second, to="bob@example.com"), a_dispatch(provider_id, second)])
    assert (timeline(store, first), timeline(store, second)) == (set(), set())
    assert orphaned(store, [event]) == {event.event_id}
    rows = store.tuples("SELECT status FROM messages WHERE email_id IN {ids:Array(UUID)}", {"ids": [first, second]})
    assert [tuple(row) for row in rows] == [("Pending",), ("Pending",)]


def test_a_later_second_dispatch_moves_an_event_to_its_own_message_although_the_to_of_the_first_is_unknown(
    store: Store,
) -> None:
    provider_id, first, second = uuid4().hex, new_id(), new_id()
    event = an_orphan("bounced", provider_id, address="bob@example.com")
    write(store, [a_dispatch(provider_id, first)])
    write(store, [event])
    assert timeline(store, first) == {event.event_id}
    write(store, [a_request(message_id=second, to="bob@example.com"), a_dispatch(provider_id, second)])
    assert (timeline(store, first), timeline(store, second)) == (set(), {event.event_id})
    rows = store.tuples(
        "SELECT toString(email_id), status FROM messages WHERE email_id IN {ids:Array(UUID)}", {"ids": [first, second]}
    )
    assert {row[0]: row[1] for row in rows} == {first: "Pending", second: "Bounced"}


def test_both_sides_at_once_never_miss_each_other(store: Store) -> None:
    """Two workers, thousands of pairs, both sides of each written concurrently; without a sweep."""
    pairs = [(an_orphan("delivered", uuid4().hex), new_id()) for _ in range(4_000)]
    with ThreadPoolExecutor(2) as sides:
        for at in range(0, len(pairs), 40):
            some = pairs[at : at + 40]
            events: list[Fact] = [event for event, _ in some]
            dispatches: list[Fact] = [a_dispatch(event.provider_message_id, i) for event, i in some]
            list(sides.map(lambda facts: write(store, facts), (events, dispatches)))
    owners = {event.event_id: message_id for event, message_id in pairs}
    assert orphaned(store, [event for event, _ in pairs]) == set()
    rows = store.tuples(
        "SELECT event_id, toString(email_id) FROM message_events WHERE event_id IN {ids:Array(String)}",
        {"ids": list(owners)},
    )
    assert {row[0]: row[1] for row in rows} == owners
    assert len(rows) == len(owners)


class DyingStore(Store):
    """Fails at its n-th insert, as a crash would: what was stored before remains."""

    dies_at = 0

    def insert(self, table: str, rows: Any) -> None:
        self.dies_at -= 1
        if self.dies_at < 0:
            raise StoreError("it died", table, "start it again")
        super().insert(table, rows)


@pytest.mark.parametrize("dies_at", range(8))
def test_the_next_worker_completes_the_match_of_one_that_died(store: Store, clickhouse_url: str, dies_at: int) -> None:
    """An event is matched, then withdrawn by a second dispatch; the worker dies at each insert of the two steps."""
    provider_id, first, second = uuid4().hex, new_id(), new_id()
    address = f"{uuid4().hex}@example.com"
    event = an_orphan("bounced", provider_id, address=address)
    dying = DyingStore(clickhouse_url, database=store.tables)
    meeting = {ProviderId("sendgrid", provider_id)}
    steps: list[list[Fact]] = [
        [a_request(message_id=first, to="ann@example.com"), a_dispatch(provider_id, first), event],
        [a_request(message_id=second, to=address), a_dispatch(provider_id, second)],
    ]
    dying.dies_at = dies_at
    for step in steps:
        write(store, step, look=False)
        try:
            Matcher(dying, Telemetry()).match_orphans(meeting)
        except StoreError:
            # The record was not acknowledged: another worker reads it again.
            Matcher(store, Telemetry()).match_orphans(meeting)
    dying.close()
    assert (timeline(store, first), timeline(store, second)) == (set(), {event.event_id})
    rows = store.rows(
        "SELECT toString(email_id) AS id, status FROM messages WHERE email_id IN {ids:Array(UUID)}",
        {"ids": [first, second]},
    )
    assert {row["id"]: row["status"] for row in rows} == {first: "Pending", second: "Bounced"}
    bounced = store.tuples(
        "SELECT toString(last_email_id), bounces FROM bounced_emails WHERE address = {a:String}", {"a": address}
    )
    assert [tuple(row) for row in bounced] == [(second, 1)]
    withdrawn = store.tuples(
        "SELECT account_id, channel FROM withdrawn_addressees WHERE address = {a:String}", {"a": address}
    )
    assert {tuple(row) for row in withdrawn} == {(ACCOUNT, "email")}


def test_the_writer_matches_what_it_writes(store: Store) -> None:
    """The whole group, from records: a dispatch, an event without our ids, and a change of a suppression list."""
    provider_id, message_id = uuid4().hex, new_id()
    address = f"{uuid4().hex}@example.com"
    bounce = (
        f'[{{"event":"bounce","email":"{address}","timestamp":1700000000,"sg_message_id":"{provider_id}.recvd-1"}}]'
    )
    change = (
        f'{{"RecordType":"SubscriptionChange","Recipient":"{address}","SuppressSending":true,"MessageID":null,'
        '"ServerID":7,"MessageStream":"outbound","ChangedAt":"2026-05-01T10:00:00Z","SuppressionReason":"HardBounce"}'
    )
    dispatched = (
        f'{{"message_id":"{message_id}","account_id":"{ACCOUNT}","provider":"sendgrid",'
        f'"provider_message_id":"{provider_id}","dispatched_at":"2026-05-01T10:00:00Z"}}'
    )
    content = f'{{"message_id":"{message_id}","account_id":"{ACCOUNT}","html":"<b>hi</b>"}}'
    state = (
        f'{{"channel":"email","address":"{address}","scopes":[{{"scope":"*","suppressed":true,"reason":"bounces",'
        '"since":"2026-05-01T10:00:00Z","evidence":["e1"]}],"opt_outs":[],"version":1,'
        '"changed_at":"2026-05-01T10:00:00Z"}'
    )
    letters = FakeLetters()
    writer = LedgerWriter(store, letters, Telemetry(), FailureLimit(), decision_days=30)
    # (letters that are only kept)
    group = [
        RecordBatch(TP(topic, 0), [FakeRecord(topic, value.encode())])
        for topic, value in (
            ("webhooks.sendgrid", bounce),
            ("webhooks.postmark", change),
            ("sends.dispatched", dispatched),
            ("sends.content", content),
            ("suppressions.changed", state),
            ("suppressions.changed", '{"channel":"pigeon"}'),
        )
    ]
    asyncio.run(writer.write(group))
    assert [(x.record.topic, x.rejection.reason) for x in letters.parked] == [
        ("suppressions.changed", "record_invalid")
    ]
    bounced = store.rows("SELECT bounces, suppressed FROM bounced_emails WHERE address = {a:String}", {"a": address})
    assert bounced == [{"bounces": 1, "suppressed": True}]
    assert len(timeline(store, message_id)) == 2
    row = store.rows("SELECT status, has_content FROM messages WHERE email_id = {id:UUID}", {"id": message_id})
    assert row == [{"status": "Bounced", "has_content": True}]
    html = store.tuples("SELECT html FROM contents FINAL WHERE message_id = {id:UUID}", {"id": message_id})
    assert [tuple(row) for row in html] == [("<b>hi</b>",)]
    of_address = store.rows(
        "SELECT account_id, status, sub_status, type FROM messages WHERE to_address = {to:String}", {"to": address}
    )
    assert of_address == [
        {"account_id": "*", "status": "Subscriptionchange", "sub_status": "added", "type": "Suppression list"}
    ]


async def test_the_sweep_matches_orphans_that_waited_for_a_request(store: Store) -> None:
    """Two dispatches with one id and unknown To addresses: only the later requests decide, which start no match."""
    provider_id, first, second = uuid4().hex, new_id(), new_id()
    event = an_orphan("bounced", provider_id, address="bob@example.com")
    write(store, [a_dispatch(provider_id, first), a_dispatch(provider_id, second), event])
    tos = {first: "ann@example.com", second: "bob@example.com"}
    write(store, [a_request(message_id=i, to=to) for i, to in tos.items()])
    assert orphaned(store, [event]) == {event.event_id}
    stop = asyncio.Event()
    sweeping = asyncio.create_task(sweep_periodically(Matcher(store, Telemetry()), 0.05, stop))
    await until(lambda: orphaned(store, [event]) == set(), "the sweep")
    stop.set()
    await sweeping
    assert timeline(store, second) == {event.event_id}


def rows_read(store: Store) -> int:
    """How many rows the server has read from tables, since it was started. Nobody else asks it meanwhile."""
    counts = store.tuples("SELECT sum(value) FROM system.events WHERE event = 'SelectedRows'")
    return int(counts[0][0])


LOG = 400_000


@pytest.fixture(scope="module")
def long_log(clickhouse_url: str) -> Iterator[Store]:
    """A database whose log has many events, each of a message of its own under an id of its own."""
    with fresh_store(clickhouse_url) as store:
        store.command(
            "INSERT INTO events (account_id, message_id, event_id, type, provider, provider_message_id, address)"
            " SELECT 'acme', generateUUIDv7(number), reinterpretAsFixedString(generateUUIDv4(number)),"
            " if(number % 50 = 0, 'bounced', 'delivered'), 'sendgrid', hex(cityHash64(number)), 'ann@example.com'"
            f" FROM numbers({LOG})",
            database=store.tables,
        )
        store.command(
            "INSERT INTO message_state (account_id, message_id, provider_ids)"
            " SELECT account_id, message_id, [concat(provider, ':', provider_message_id)] FROM events",
            database=store.tables,
        )
        before = rows_read(store)
        store.tuples("SELECT max(address) FROM events")
        assert rows_read(store) - before >= LOG, "the count counts"
        yield store


def test_a_sweep_reads_the_rows_of_its_orphans_and_not_the_whole_log(long_log: Store) -> None:
    (held,) = long_log.rows("SELECT *, lower(hex(event_id)) AS id FROM events LIMIT 1")
    # Each reads a granule of 1,024 rows at the most, wherever in the log it might be.
    unknown = [an_orphan("delivered", uuid4().hex) for _ in range(60)]
    copy = an_orphan("delivered", held["provider_message_id"], event_id=held["id"], received_us=NOW_US)
    matched, message_id = an_orphan("bounced", uuid4().hex), new_id()
    write(long_log, [*unknown, copy, matched, a_dispatch(matched.provider_message_id, message_id)], look=False)
    before = rows_read(long_log)
    assert Matcher(long_log, Telemetry()).sweep(3_600) == 1
    assert rows_read(long_log) - before < LOG / 5
    assert timeline(long_log, message_id) == {matched.event_id}
    before = rows_read(long_log)
    assert orphaned(long_log, [*unknown, copy, matched]) == {event.event_id for event in unknown}
    assert rows_read(long_log) - before < LOG / 5


def test_evidence_is_read_by_its_ids_without_scanning_the_log(long_log: Store) -> None:
    ids = [row[0] for row in long_log.tuples("SELECT lower(hex(event_id)) FROM events WHERE type = 'bounced' LIMIT 2")]
    before = rows_read(long_log)
    query = evidence_events(["acme"], [*ids, *(uuid4().hex for _ in range(300))])
    assert {row["event_id"] for row in long_log.rows(query.sql, query.parameters)} == set(ids)
    assert rows_read(long_log) - before < LOG / 5


def test_more_ids_than_one_query_takes_are_matched(store: Store) -> None:
    pairs = [(an_orphan("delivered", f"{uuid4().hex}{'x' * 60}"), new_id()) for _ in range(3_000)]
    facts: list[Fact] = [event for event, _ in pairs]
    facts += [a_dispatch(event.provider_message_id, message_id) for event, message_id in pairs]
    write(store, facts)
    assert orphaned(store, [event for event, _ in pairs]) == set()


class RefusingStore(Store):
    """Refuses each query that contains a certain id."""

    refused = ""

    def tuples(self, sql: str, parameters: Mapping[str, object] | None = None) -> Sequence[Sequence[Any]]:
        if self.refused in cast(list[str], (parameters or {}).get("ids", [])):
            raise StoreRefused("no", "here", "none")
        return super().tuples(sql, parameters)


def test_a_query_that_fails_does_not_stop_the_matching_of_other_ids(store: Store, clickhouse_url: str) -> None:
    # Four chunks, of which the second is refused.
    ids = sorted(f"{uuid4().hex}{'x' * 900}" for _ in range(500))
    pairs = [(an_orphan("delivered", ids[number]), new_id()) for number in (0, 200, 499)]
    write(store, [event for event, _ in pairs], look=False)
    write(store, [a_dispatch(event.provider_message_id, message_id) for event, message_id in pairs], look=False)
    refusing = RefusingStore(clickhouse_url, database=store.tables)
    refusing.refused = ids[200]
    with pytest.raises(StoreRefused):
        Matcher(refusing, Telemetry()).match_orphans(ProviderId("sendgrid", one) for one in ids)
    refusing.close()
    assert orphaned(store, [event for event, _ in pairs]) == {pairs[1][0].event_id}


@pytest.mark.parametrize("size", [1_001, 200_000])
def test_an_impossible_provider_id_matches_nothing_and_stops_nothing(store: Store, size: int) -> None:
    event, message_id = an_orphan("delivered", "x" * size, natural_us=size), new_id()
    named = event._replace(account_id=ACCOUNT, message_id=new_id())
    write(store, [event, a_dispatch(event.provider_message_id, message_id)])
    assert orphaned(store, [event]) == {event.event_id}
    assert timeline(store, message_id) == set()
    write(store, [named])
    assert orphaned(store, [event]) == set(), "its message is known by our own ids"
