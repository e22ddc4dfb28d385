"""`arrivals`: simulated traffic, judged event by event in Python; and what a plan of the query reads."""

import random
import re
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Sequence
from itertools import zip_longest
from math import isclose
from typing import Any, Final, NamedTuple

import orjson
import pytest

from processors.engine import Record
from processors.ledger.replay import replay
from projections.store import Store
from projections.weather.arrivals import Arrivals, arrivals, heard, read_arrivals, read_heard
from schemas.decoding.times import DAY_US, SECOND_US, rfc3339
from schemas.events import Event, SourcePosition
from schemas.providers import ADAPTERS
from simulator.kafka import record_of
from simulator.messages import PlanOptions
from simulator.plan import Plan, plan
from tests.building import FakeRecord
from tests.simulator.product import run_product
from tests.stores import fresh_store

pytestmark = pytest.mark.clickhouse

HOUR_US: Final = 3600 * SECOND_US
NOW_US: Final = time.time_ns() // 1000 // DAY_US * DAY_US
"""The last midnight: older events than those of some days are not kept."""


class Copy(NamedTuple):
    """A copy of an event, as it was received."""

    event: Event
    names_message: bool
    is_orphan: bool
    """Whether no copy of the event names a message, and no dispatch links it to one."""

    @property
    def place(self) -> tuple[int, int, int, int]:
        return self.event.received_us, self.event.partition, self.event.offset, self.event.position

    @property
    def message(self) -> tuple[str, str]:
        return self.event.provider, self.event.provider_message_id or self.event.event_id


def records_of(planned: Plan) -> list[FakeRecord]:
    return [
        FakeRecord(topic, delivery.value, key, headers, offset % 4, offset, delivery.at_us // 1000)
        for offset, delivery in enumerate(planned.deliveries)
        for topic, key, headers in [record_of(delivery)]
    ]


def copies_of(planned: Plan) -> list[Copy]:
    """Every copy of every event of a plan. Which ones are linked, says the product of the simulator's own tests."""
    orphans = run_product(planned, NOW_US).orphans
    events: list[Event] = []
    for record, delivery in zip(records_of(planned), planned.deliveries, strict=True):
        if delivery.kind == "post":
            source = SourcePosition(record.topic, record.partition, record.offset, delivery.at_us)
            events += ADAPTERS[delivery.provider](delivery.value, source, record.headers).events
    named = {event.event_id for event in events if event.message_id}
    return [Copy(event, event.event_id in named, event.event_id in orphans) for event in events]


class Expected(NamedTuple):
    """What `arrivals` must answer for one provider and type."""

    row: Arrivals
    more_orphans: int
    """Events of which only copies that name no message are known: they may be counted as orphans as well."""


def expected(copies: Sequence[Copy], from_us: int, to_us: int) -> list[Expected]:
    """What `arrivals` must answer, by looking at every pair of events of a message."""
    known = [copy for copy in copies if from_us - DAY_US <= copy.event.received_us < to_us]
    of_event: dict[tuple[str, str], list[Copy]] = defaultdict(list)
    for copy in sorted(known, key=lambda copy: copy.place):
        of_event[copy.event.provider, copy.event.event_id].append(copy)
    of_message: dict[tuple[str, str], list[Copy]] = defaultdict(list)
    groups: dict[tuple[str, str], list[list[Copy]]] = defaultdict(list)
    for same in of_event.values():
        of_message[same[0].message].append(same[0])
        if same[-1].event.received_us >= from_us:
            groups[same[0].event.provider, same[0].event.type].append(same)
    rows = []
    for (provider, kind), some in sorted(groups.items()):
        first = [same[0] for same in some if same[0].event.received_us >= from_us]
        late = [copy for copy in first if any(is_before(copy, other) for other in of_message[copy.message])]
        delays = sorted(
            max(0, copy.event.received_us - copy.event.occurred_us) / SECOND_US
            for copy in first
            if copy.event.received_us != copy.event.occurred_us
        )
        row = Arrivals(
            provider,
            kind,
            sum(copy.event.received_us >= from_us for same in some for copy in same),
            len(some),
            sum(map(len, some)),
            len(first),
            len(late),
            delays[int(len(delays) * 0.5)] if delays else None,
            delays[int(len(delays) * 0.95)] if delays else None,
            sum(same[0].is_orphan for same in some),
        )
        named_elsewhere = (same for same in some if same[0].names_message)
        unclear = sum(not any(copy.event.message_id for copy in same) for same in named_elsewhere)
        rows.append(Expected(row, unclear))
    return rows


def is_before(copy: Copy, other: Copy) -> bool:
    """Whether an event happened before another one that arrived earlier."""
    return copy.event.occurred_us < other.event.occurred_us and other.place < copy.place


async def in_turn(records: Sequence[FakeRecord]) -> AsyncIterator[Record]:
    for record in records:
        yield record


def wrong(found: Sequence[Arrivals], wanted: Sequence[Expected]) -> list[tuple[Arrivals | None, Expected | None]]:
    """The rows that are not as expected, each with what was expected."""
    return [pair for pair in zip_longest(found, wanted) if not agree(*pair)]


def agree(found: Arrivals | None, wanted: Expected | None) -> bool:
    if found is None or wanted is None:
        return False
    times = [(found.p50, wanted.row.p50), (found.p95, wanted.row.p95)]
    return (
        found._replace(p50=None, p95=None, orphans=0) == wanted.row._replace(p50=None, p95=None, orphans=0)
        and all(a == b if a is None or b is None else isclose(a, b, abs_tol=1e-6) for a, b in times)
        and 0 <= found.orphans - wanted.row.orphans <= wanted.more_orphans
    )


@pytest.fixture(scope="module", params=[1, 2], ids=["seed 1", "seed 2"])
async def simulated(request: pytest.FixtureRequest, clickhouse_url: str) -> AsyncIterator[tuple[Store, list[Copy]]]:
    """A store that has read a plan in random order, a part of it twice."""
    planned = plan(1_500, request.param, PlanOptions(NOW_US, ["acme", "globex"], spread_us=2 * DAY_US))
    records, chance = records_of(planned), random.Random(request.param)
    chance.shuffle(records)
    with fresh_store(clickhouse_url) as store:
        third = len(records) // 3
        for some in (records[:third], records[third:], chance.sample(records, third)):
            await replay(store, in_turn(some), decision_days=36_500)
        yield store, copies_of(planned)


def windows() -> Iterator[tuple[int, int]]:
    for hours in (1, 6, 24):
        for end in range(0, 48, hours):
            yield NOW_US - (end + hours) * HOUR_US, NOW_US - end * HOUR_US


async def test_every_window_of_simulated_traffic_is_as_counted_event_by_event(
    simulated: tuple[Store, list[Copy]],
) -> None:
    store, copies = simulated
    assert any(len(expected(copies, *window)) > 20 for window in windows())
    for window in windows():
        assert wrong(read_arrivals(store, *window), expected(copies, *window)) == []


async def test_traffic_has_duplicates_disorder_orphans_and_delays(simulated: tuple[Store, list[Copy]]) -> None:
    store, _ = simulated
    rows = read_arrivals(store, NOW_US - 2 * DAY_US, NOW_US)
    assert any(row.copies > row.events for row in rows)
    assert any(row.out_of_order for row in rows)
    assert any(row.orphans for row in rows)
    assert {row.provider for row in rows if row.p50 is None} == {"twilio"}  # its events have no time of their own


async def test_merges_change_nothing(simulated: tuple[Store, list[Copy]]) -> None:
    store, _ = simulated
    before = [read_arrivals(store, *window) for window in windows()], read_heard(store, NOW_US)
    store.command("OPTIMIZE TABLE arrivals FINAL", database=store.tables)
    assert before == ([read_arrivals(store, *window) for window in windows()], read_heard(store, NOW_US))


async def test_what_was_heard_is_counted_by_minute(simulated: tuple[Store, list[Copy]]) -> None:
    store, copies = simulated
    for to_us in (NOW_US, NOW_US - 7 * HOUR_US + 1):
        recent_us = (to_us // 60_000_000 - 60) * 60_000_000
        times: dict[tuple[str, str], list[int]] = defaultdict(list)
        for copy in copies:
            if to_us - DAY_US <= copy.event.received_us < to_us:
                times[copy.event.provider, copy.event.type].append(copy.event.received_us)
        found = {(one.provider, one.type): one for one in read_heard(store, to_us) if one.type != "dispatched"}
        assert found.keys() == times.keys()
        for key, some in times.items():
            assert found[key].last_us == max(some)
            assert found[key].usual == sum(at < recent_us for at in some)
            minutes: dict[int, int] = defaultdict(int)
            for at in some:
                if at >= recent_us:
                    minutes[at // 60_000_000] += 1
            assert found[key].minutes == minutes
        dispatched = [one for one in read_heard(store, to_us) if one.type == "dispatched"]
        assert {one.provider for one in dispatched} == {"sendgrid", "twilio", "postmark"}


def a_post(seconds: float, *events: dict[str, Any], offset: int) -> FakeRecord:
    """A post of SendGrid's that arrives `seconds` after NOW_US."""
    at_us = NOW_US + int(seconds * SECOND_US)
    body = [{"email": "ann@example.com", "sg_message_id": "abc"} | event for event in events]
    headers = [("received_at", rfc3339(at_us).encode())]
    return FakeRecord("webhooks.sendgrid", orjson.dumps(body), headers=headers, offset=offset)


async def test_numbers_by_hand(clickhouse_url: str) -> None:
    base = NOW_US // SECOND_US
    delivered = {"event": "delivered", "timestamp": base + 10}
    processed = {"event": "processed", "timestamp": base + 1}
    opened = {"event": "open", "timestamp": base + 60}
    records = [
        a_post(20, delivered, offset=0),
        a_post(30, processed, offset=1),  # 29 s late, after a younger one
        a_post(40, delivered, processed, offset=2),
        a_post(50, delivered, offset=3),
        a_post(62, opened, offset=4),
    ]
    with fresh_store(clickhouse_url) as store:
        await replay(store, in_turn(records), decision_days=30)
        assert read_arrivals(store, NOW_US, NOW_US + 55 * SECOND_US) == [
            Arrivals("sendgrid", "delivered", 3, 1, 3, 1, 0, 10.0, 10.0, 1),
            Arrivals("sendgrid", "processed", 2, 1, 2, 1, 1, 29.0, 29.0, 1),
        ]
        [later, new] = read_arrivals(store, NOW_US + 45 * SECOND_US, NOW_US + 90 * SECOND_US)
        assert later == Arrivals("sendgrid", "delivered", 1, 1, 3, 0, 0, None, None, 1)
        assert (later.duplicate_factor, later.out_of_order_share) == (3.0, None)
        assert new == Arrivals("sendgrid", "opened", 1, 1, 1, 1, 0, 2.0, 2.0, 1)
        assert read_arrivals(store, NOW_US + 90 * SECOND_US, NOW_US + 95 * SECOND_US) == []


async def test_an_orphan_that_is_matched_later_is_none(clickhouse_url: str) -> None:
    message_id = "019abc00-0000-7000-8000-000000000001"
    dispatch = {
        "message_id": message_id,
        "account_id": "acme",
        "provider": "sendgrid",
        "provider_message_id": "abc",
        "dispatched_at": rfc3339(NOW_US),
    }
    post = a_post(20, {"event": "delivered", "timestamp": NOW_US // SECOND_US}, offset=0)
    window = NOW_US, NOW_US + HOUR_US
    with fresh_store(clickhouse_url) as store:
        await replay(store, in_turn([post]), decision_days=30)
        assert [row.orphans for row in read_arrivals(store, *window)] == [1]
        sent = FakeRecord("sends.dispatched", orjson.dumps(dispatch), timestamp=NOW_US // 1000 + 5)
        await replay(store, in_turn([sent]), decision_days=30)
        assert [(row.received, row.orphans) for row in read_arrivals(store, *window)] == [(1, 0)]
        assert [one.type for one in read_heard(store, NOW_US + HOUR_US)] == ["delivered", "dispatched"]


@pytest.mark.parametrize("name", ["arrivals", "heard"])
def test_a_query_reads_only_the_days_that_it_asks_for(week: Store, name: str) -> None:
    """Partitions and the primary key leave out what is older, and the rest of the two days."""
    until = NOW_US - 20 * HOUR_US
    query = heard(until) if name == "heard" else arrivals(until - HOUR_US, until)
    lines = [row[0] for row in week.tuples(f"EXPLAIN indexes = 1 {query.sql}", query.parameters)]
    assert any("PrimaryKey" in line for line in lines)
    parts, granules = ([line for line in lines if f"{what}: " in line][-1] for what in ("Parts", "Granules"))
    assert numbers(parts)[0] == 2, lines
    assert numbers(granules)[0] < GRANULES_A_DAY * 25 / 24 + 4, lines


GRANULES_A_DAY: Final = 49


@pytest.fixture(scope="module")
def week(clickhouse_url: str) -> Iterator[Store]:
    """Seven days of arrivals, one part each."""
    with fresh_store(clickhouse_url) as store:
        for day in range(1, 8):
            at = f"fromUnixTimestamp64Micro(toInt64({NOW_US - day * DAY_US} + number * 216000), 'UTC')"
            store.command(
                f"INSERT INTO arrivals SELECT {at}, 'sendgrid', 'delivered', number, number, {at}, 0, number, 0, 1"
                f" FROM numbers({GRANULES_A_DAY * 8192 - 1408})",
                database=store.tables,
            )
        store.command("OPTIMIZE TABLE arrivals FINAL", database=store.tables)
        yield store


def numbers(text: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", text)]
