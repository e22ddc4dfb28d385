"""One partition's records as transactions: memory follows commits, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence

import pytest

from processors.engine import TP, Backoff, Bounds, Fenced, Moment, Output, Phase, Record, RecordBatch, Retry, Step
from processors.engine.changelog import POSITION_KEY, Table
from processors.engine.lane import Lane, Rules, StepFunction
from tests.engine.building import Account
from tests.engine.fake_transactions import AWAY, FakeTransactions, Log
from tests.engine.keyed_worker import COUNTS

P0 = TP("events", 0)
AT_ONCE = Backoff(first_seconds=0.0, most_seconds=0.0)


def count_all(states: Mapping[bytes, int], records: Sequence[Record]) -> Step[int]:
    """Count the records under one key, and say at which offset each was."""
    said = [Output("out", b"all", b"%d" % record.offset) for record in records]
    return Step(said, {b"all": states.get(b"all", 0) + len(records)})


class App:
    """What a lane needs of an app, and what it did with it."""

    def __init__(self) -> None:
        self.stopping = asyncio.Event()
        self.reason: BaseException | None = None
        self.excuses = 0
        self.recorded_offsets: list[int] = []

    def excuse(self) -> None:
        self.excuses += 1

    def recorded(self, tp: TP, offset: int) -> None:
        self.recorded_offsets.append(offset)

    async def crash(self, reason: BaseException) -> None:
        self.reason = reason


class Bench:
    """A lane with everything around it, none of which is real."""

    def __init__(self) -> None:
        self.app, self.log, self.account = App(), Log(), Account(limit=99, self_committing={"events"})
        self.transactions = FakeTransactions(self.log)
        self.table = Table[int](P0)
        self.moments: list[Moment] = []
        self.retries: list[Retry] = []
        self.lanes: list[Lane[int]] = []

    async def lane(self, step: StepFunction[int] = count_all, bounds: Bounds | None = None) -> Lane[int]:
        await self.transactions.start()
        rules = Rules(
            step,
            COUNTS,
            changelog="log",
            outputs=frozenset({"out"}),
            partitions=1,
            bounds=bounds or Bounds(),
            backoff=AT_ONCE,
            on_retry=self.retries.append,
            on_phase=self.moments.append,
        )
        self.lanes.append(Lane(self.app, self.table, self.transactions, rules))
        return self.lanes[-1]

    @property
    def said(self) -> list[int]:
        return [int(output.value or b"") for output in self.log.visible["out"]]

    @property
    def transactions_made(self) -> int:
        return sum(row.key == POSITION_KEY for row in self.log.visible["log"])


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench()
    yield bench
    for lane in bench.lanes:
        await lane.close()


async def turns_until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - tasks that set no event
            await asyncio.sleep(0)


async def acked(*batches: RecordBatch) -> None:
    await turns_until(lambda: all(batch.acked for batch in batches))


async def test_outputs_state_and_offset_come_together_and_then_memory(bench: Bench) -> None:
    lane, batch = await bench.lane(), bench.account.open(0, 3)
    lane.put(batch)
    await acked(batch)
    assert bench.said == [0, 1, 2]
    assert [(row.key, row.value, row.partition) for row in bench.log.visible["log"]] == [
        (b"all", b"3", 0),
        (POSITION_KEY, b'{"offset": 3, "partitions": 1}', 0),
    ]
    assert bench.log.offsets == {P0: 3}
    assert (bench.table.rows, lane.position, bench.app.recorded_offsets) == ({b"all": 3}, 3, [3])
    assert [(moment.phase, moment.count) for moment in bench.moments] == [
        (Phase.STEPPED, 3),
        (Phase.WRITTEN, 5),
        (Phase.COMMITTED, 3),
        (Phase.APPLIED, 1),
    ]


async def test_what_waits_goes_into_one_transaction(bench: Bench) -> None:
    lane = await bench.lane()
    batches = [bench.account.open(n) for n in range(5)]
    for batch in batches:
        lane.put(batch)
    await acked(*batches)
    assert (bench.said, bench.transactions_made) == ([0, 1, 2, 3, 4], 1)


@pytest.mark.parametrize("bounds", [Bounds(records=4), Bounds(body_bytes=4)], ids=["records", "bytes"])
async def test_a_transaction_has_enough_at_its_bounds(bench: Bench, bounds: Bounds) -> None:
    lane = await bench.lane(bounds=bounds)
    batches = [bench.account.open(n * 2, 2) for n in range(6)]
    for batch in batches:
        lane.put(batch)
    await acked(*batches)
    assert (bench.said, bench.transactions_made) == (list(range(12)), 3)


async def test_a_transaction_can_wait_for_more(bench: Bench) -> None:
    lane = await bench.lane(bounds=Bounds(records=2, within_seconds=3600.0))
    first, second = bench.account.open(0), bench.account.open(1)
    lane.put(first)
    for _ in range(50):
        await asyncio.sleep(0)
    assert bench.transactions.attempts == 0
    lane.put(second)
    await acked(first, second)
    assert bench.transactions_made == 1


async def test_a_transaction_begins_at_once_and_the_next_one_gathers(bench: Bench) -> None:
    lane = await bench.lane(bounds=Bounds(records=2, apart_seconds=3600.0))
    first, second, third = (bench.account.open(n) for n in range(3))
    lane.put(first)
    await acked(first)
    lane.put(second)
    for _ in range(50):
        await asyncio.sleep(0)
    assert bench.transactions_made == 1
    lane.put(third)
    await acked(second, third)
    assert (bench.said, bench.transactions_made) == ([0, 1, 2], 2)


async def test_a_fault_of_the_world_is_waited_out_with_memory_as_it_was(bench: Bench) -> None:
    bench.transactions.faults = [AWAY] * 3
    bench.table.rows[b"all"] = 40
    seen: list[int] = []

    def step(states: Mapping[bytes, int], records: Sequence[Record]) -> Step[int]:
        seen.append(states[b"all"])
        return count_all(states, records)

    lane, batch = await bench.lane(step), bench.account.open(0, 2)
    lane.put(batch)
    await acked(batch)
    assert (bench.said, bench.table.rows, seen) == ([0, 1], {b"all": 42}, [40])
    assert (bench.transactions.attempts, len(bench.retries), bench.app.excuses) == (4, 3, 3)


async def test_a_stop_while_the_world_is_away_leaves_everything_as_it_was(bench: Bench) -> None:
    bench.transactions.faults = [AWAY]
    bench.app.stopping.set()
    lane = await bench.lane(bounds=Bounds(records=1))
    first, second = bench.account.open(0), bench.account.open(1)
    for batch in (first, second):
        bench.account.inflight.begun(batch)
        lane.put(batch)
    await turns_until(lambda: not first.begun)
    await lane.close()
    assert not bench.account.inflight.worth_waiting()
    assert (first.acked, second.acked, bench.said, bench.table.rows) == (False, False, [], {})
    assert bench.app.reason is None


async def test_a_fenced_lane_ends_the_worker_with_memory_as_it_was(bench: Bench) -> None:
    lane, batch = await bench.lane(), bench.account.open(0)
    await FakeTransactions(bench.log).start()
    lane.put(batch)
    await turns_until(lambda: bench.app.reason is not None)
    assert isinstance(bench.app.reason, Fenced)
    assert (batch.acked, bench.said, bench.table.rows) == (False, [], {})


async def test_a_step_that_raises_ends_the_worker_before_anything_is_written(bench: Bench) -> None:
    def broken(states: Mapping[bytes, int], records: Sequence[Record]) -> Step[int]:
        raise KeyError("total")

    lane, batch = await bench.lane(broken), bench.account.open(0)
    lane.put(batch)
    await turns_until(lambda: bench.app.reason is not None)
    assert isinstance(bench.app.reason, KeyError)
    assert (batch.acked, bench.transactions.attempts) == (False, 0)


async def test_a_step_can_change_no_state_by_itself(bench: Bench) -> None:
    def meddling(states: Mapping[bytes, int], records: Sequence[Record]) -> Step[int]:
        states[b"all"] = 1  # type: ignore[index]  # that is the point
        return Step()

    lane = await bench.lane(meddling)
    lane.put(bench.account.open(0))
    await turns_until(lambda: bench.app.reason is not None)
    assert isinstance(bench.app.reason, TypeError)
    assert bench.table.rows == {}


async def test_the_engines_own_key_is_refused(bench: Bench) -> None:
    lane = await bench.lane(lambda _states, _records: Step((), {POSITION_KEY: 1}))
    lane.put(bench.account.open(0))
    await turns_until(lambda: bench.app.reason is not None)
    assert "which is the engine's" in str(bench.app.reason)


async def test_what_the_state_has_seen_is_not_seen_twice(bench: Bench) -> None:
    bench.table.apply({b"all": 3}, 3)
    lane, batch = await bench.lane(), bench.account.open(1, 4)
    lane.put(batch)
    await acked(batch)
    assert (bench.said, bench.table.rows) == ([3, 4], {b"all": 5})


async def test_what_was_seen_altogether_is_acknowledged_without_a_transaction(bench: Bench) -> None:
    bench.table.apply({b"all": 9}, 9)
    lane, batch = await bench.lane(), bench.account.open(1, 4)
    lane.put(batch)
    await acked(batch)
    assert (bench.transactions.attempts, bench.table.rows) == (0, {b"all": 9})


async def test_batches_of_an_assignment_that_is_over_are_left_alone(bench: Bench) -> None:
    lane = await bench.lane()
    gone = bench.account.open(0, 3)
    bench.account.inflight.forget()
    kept = bench.account.open(0, 5)
    lane.put(gone)
    lane.put(kept)
    await acked(kept)
    assert (bench.said, bench.table.rows) == ([0, 1, 2, 3, 4], {b"all": 5})


async def test_the_commit_reaches_past_markers_behind_the_last_record(bench: Bench) -> None:
    lane, batch = await bench.lane(), bench.account.open(0, 3)
    bench.account.inflight.reached(P0, 4)
    lane.put(batch)
    await acked(batch)
    assert (bench.log.offsets, lane.position) == ({P0: 4}, 4)


async def test_an_owed_position_is_committed_without_a_step(bench: Bench) -> None:
    lane = await bench.lane()
    bench.table.apply({b"all": 3}, 3)
    lane.owe(5)
    await turns_until(lambda: bench.app.recorded_offsets == [5])
    assert (bench.log.offsets, bench.said, bench.table.rows, lane.position) == ({P0: 5}, [], {b"all": 3}, 5)


async def test_closing_lets_go_of_what_waits(bench: Bench) -> None:
    lane = await bench.lane(bounds=Bounds(within_seconds=3600.0))
    batch = bench.account.open(0)
    bench.account.inflight.begun(batch)
    lane.put(batch)
    await lane.close()
    assert (batch.acked, bench.said, bench.transactions.closed) == (False, [], True)
