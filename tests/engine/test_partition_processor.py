"""The records of one partition as transactions: memory changes only after commits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence

import pytest

from processors.engine import (
    TP,
    Output,
    Phase,
    PhaseEvent,
    Record,
    Retry,
    RetryBackoff,
    StepResult,
    TransactionLimits,
)
from processors.engine.changelog import POSITION_KEY, Table
from processors.engine.errors import Fenced
from processors.engine.partition_processor import PartitionProcessor, ProcessorConfig, StepFunction
from tests.engine.building import FakeApp, FakeOwner, acked, turns_until
from tests.engine.fake_transactions import UNAVAILABLE, FakeTransactions, Log
from tests.engine.keyed_worker import COUNTS

P0 = TP("events", 0)
AT_ONCE = RetryBackoff(first_seconds=0.0, most_seconds=0.0)


def count_all(states: Mapping[bytes, int], records: Sequence[Record]) -> StepResult[int]:
    """Count the records under one key, with one output per record that contains its offset."""
    outputs = [Output("out", b"all", b"%d" % record.offset) for record in records]
    return StepResult(outputs, {b"all": states.get(b"all", 0) + len(records)})


class Harness:
    """A partition processor with fakes for everything around it."""

    def __init__(self) -> None:
        self.app, self.log, self.owner = FakeApp(), Log(), FakeOwner(limit=99, self_committing={"events"})
        self.transactions = FakeTransactions(self.log)
        self.table = Table[int](P0)
        self.events: list[PhaseEvent] = []
        self.retries: list[Retry] = []
        self.processors: list[PartitionProcessor[int]] = []

    async def processor(
        self, step: StepFunction[int] = count_all, limits: TransactionLimits | None = None
    ) -> PartitionProcessor[int]:
        await self.transactions.start()
        config = ProcessorConfig(
            step,
            COUNTS,
            changelog="log",
            outputs=frozenset({"out"}),
            partitions=1,
            limits=limits or TransactionLimits(),
            backoff=AT_ONCE,
            on_retry=self.retries.append,
            on_phase=self.events.append,
        )
        self.processors.append(PartitionProcessor(self.app, self.table, self.transactions, config))
        return self.processors[-1]

    @property
    def outputs(self) -> list[int]:
        return [int(output.value or b"") for output in self.log.visible["out"]]

    @property
    def transactions_made(self) -> int:
        return sum(row.key == POSITION_KEY for row in self.log.visible["log"])


@pytest.fixture
async def harness() -> AsyncIterator[Harness]:
    harness = Harness()
    yield harness
    for processor in harness.processors:
        await processor.close()


async def test_outputs_state_and_offset_are_committed_together_and_then_memory_changes(harness: Harness) -> None:
    processor, batch = await harness.processor(), harness.owner.open(0, 3)
    processor.put(batch)
    await acked(batch)
    assert harness.outputs == [0, 1, 2]
    assert [(row.key, row.value, row.partition) for row in harness.log.visible["log"]] == [
        (b"all", b"3", 0),
        (POSITION_KEY, b'{"offset": 3, "partitions": 1}', 0),
    ]
    assert harness.log.offsets == {P0: 3}
    assert (harness.table.rows, processor.position, harness.app.recorded_offsets) == ({b"all": 3}, 3, [3])
    assert [(event.phase, event.count) for event in harness.events] == [
        (Phase.STEPPED, 3),
        (Phase.WRITTEN, 5),
        (Phase.COMMITTED, 3),
        (Phase.APPLIED, 1),
    ]


async def test_waiting_batches_go_into_one_transaction(harness: Harness) -> None:
    processor = await harness.processor()
    batches = [harness.owner.open(n) for n in range(5)]
    for batch in batches:
        processor.put(batch)
    await acked(*batches)
    assert (harness.outputs, harness.transactions_made) == ([0, 1, 2, 3, 4], 1)


@pytest.mark.parametrize(
    "limits", [TransactionLimits(records=4), TransactionLimits(body_bytes=4)], ids=["records", "bytes"]
)
async def test_a_transaction_ends_at_its_limits(harness: Harness, limits: TransactionLimits) -> None:
    processor = await harness.processor(limits=limits)
    batches = [harness.owner.open(n * 2, 2) for n in range(6)]
    for batch in batches:
        processor.put(batch)
    await acked(*batches)
    assert (harness.outputs, harness.transactions_made) == (list(range(12)), 3)


async def test_a_transaction_can_wait_for_more(harness: Harness) -> None:
    processor = await harness.processor(limits=TransactionLimits(records=2, within_seconds=3600.0))
    first, second = harness.owner.open(0), harness.owner.open(1)
    processor.put(first)
    for _ in range(50):
        await asyncio.sleep(0)
    assert harness.transactions.attempts == 0
    processor.put(second)
    await acked(first, second)
    assert harness.transactions_made == 1


async def test_a_transaction_begins_at_once_and_the_next_one_gathers(harness: Harness) -> None:
    processor = await harness.processor(limits=TransactionLimits(records=2, min_interval_seconds=3600.0))
    first, second, third = (harness.owner.open(n) for n in range(3))
    processor.put(first)
    await acked(first)
    processor.put(second)
    for _ in range(50):
        await asyncio.sleep(0)
    assert harness.transactions_made == 1
    processor.put(third)
    await acked(second, third)
    assert (harness.outputs, harness.transactions_made) == ([0, 1, 2], 2)


async def test_the_interval_between_transactions_is_measured_by_the_clock_of_the_app(harness: Harness) -> None:
    harness.app.clock = lambda: harness.owner.now
    processor = await harness.processor(limits=TransactionLimits(min_interval_seconds=3600.0))
    first, second = harness.owner.open(0), harness.owner.open(1)
    processor.put(first)
    await acked(first)
    harness.owner.now = 3600.0
    processor.put(second)
    await acked(second)
    assert harness.transactions_made == 2


async def test_a_transient_error_is_retried_with_memory_unchanged(harness: Harness) -> None:
    harness.transactions.errors = [UNAVAILABLE] * 3
    harness.table.rows[b"all"] = 40
    seen: list[int] = []

    def step(states: Mapping[bytes, int], records: Sequence[Record]) -> StepResult[int]:
        seen.append(states[b"all"])
        return count_all(states, records)

    processor, batch = await harness.processor(step), harness.owner.open(0, 2)
    processor.put(batch)
    await acked(batch)
    assert (harness.outputs, harness.table.rows, seen) == ([0, 1], {b"all": 42}, [40])
    assert (harness.transactions.attempts, len(harness.retries), harness.app.stall_timer_pauses) == (4, 3, 3)


async def test_a_stop_during_retries_changes_nothing(harness: Harness) -> None:
    harness.transactions.errors = [UNAVAILABLE]
    harness.app.stopping.set()
    processor = await harness.processor(limits=TransactionLimits(records=1))
    first, second = harness.owner.open(0), harness.owner.open(1)
    for batch in (first, second):
        harness.owner.inflight.begun(batch)
        processor.put(batch)
    await turns_until(lambda: not first.begun)
    await processor.close()
    assert not harness.owner.inflight.worth_waiting()
    assert (first.acked, second.acked, harness.outputs, harness.table.rows) == (False, False, [], {})
    assert harness.app.crash_reason is None


async def test_a_fenced_processor_ends_the_worker_with_memory_unchanged(harness: Harness) -> None:
    processor, batch = await harness.processor(), harness.owner.open(0)
    await FakeTransactions(harness.log).start()
    processor.put(batch)
    await turns_until(lambda: harness.app.crash_reason is not None)
    assert isinstance(harness.app.crash_reason, Fenced)
    assert (batch.acked, harness.outputs, harness.table.rows) == (False, [], {})


async def test_a_step_that_raises_ends_the_worker_before_anything_is_written(harness: Harness) -> None:
    def broken(states: Mapping[bytes, int], records: Sequence[Record]) -> StepResult[int]:
        raise KeyError("total")

    processor, batch = await harness.processor(broken), harness.owner.open(0)
    processor.put(batch)
    await turns_until(lambda: harness.app.crash_reason is not None)
    assert isinstance(harness.app.crash_reason, KeyError)
    assert (batch.acked, harness.transactions.attempts) == (False, 0)


async def test_a_step_can_not_change_the_states_directly(harness: Harness) -> None:
    def meddling(states: Mapping[bytes, int], records: Sequence[Record]) -> StepResult[int]:
        states[b"all"] = 1  # type: ignore[index]  # that is the point
        return StepResult()

    processor = await harness.processor(meddling)
    processor.put(harness.owner.open(0))
    await turns_until(lambda: harness.app.crash_reason is not None)
    assert isinstance(harness.app.crash_reason, TypeError)
    assert harness.table.rows == {}


async def test_the_engines_own_key_is_refused(harness: Harness) -> None:
    processor = await harness.processor(lambda _states, _records: StepResult((), {POSITION_KEY: 1}))
    processor.put(harness.owner.open(0))
    await turns_until(lambda: harness.app.crash_reason is not None)
    assert "which is reserved by the engine" in str(harness.app.crash_reason)


async def test_records_below_the_position_are_not_processed_again(harness: Harness) -> None:
    harness.table.apply({b"all": 3}, 3)
    processor, batch = await harness.processor(), harness.owner.open(1, 4)
    processor.put(batch)
    await acked(batch)
    assert (harness.outputs, harness.table.rows) == ([3, 4], {b"all": 5})


async def test_a_batch_below_the_position_is_acknowledged_without_a_transaction(harness: Harness) -> None:
    harness.table.apply({b"all": 9}, 9)
    processor, batch = await harness.processor(), harness.owner.open(1, 4)
    processor.put(batch)
    await acked(batch)
    assert (harness.transactions.attempts, harness.table.rows) == (0, {b"all": 9})


async def test_batches_of_a_previous_assignment_are_ignored(harness: Harness) -> None:
    processor = await harness.processor()
    gone = harness.owner.open(0, 3)
    harness.owner.inflight.forget()
    kept = harness.owner.open(0, 5)
    processor.put(gone)
    processor.put(kept)
    await acked(kept)
    assert (harness.outputs, harness.table.rows) == ([0, 1, 2, 3, 4], {b"all": 5})


async def test_the_commit_passes_markers_after_the_last_record(harness: Harness) -> None:
    processor, batch = await harness.processor(), harness.owner.open(0, 3)
    harness.owner.inflight.reached(P0, 4)
    processor.put(batch)
    await acked(batch)
    assert (harness.log.offsets, processor.position) == ({P0: 4}, 4)


async def test_an_idle_position_is_committed_without_a_step(harness: Harness) -> None:
    processor = await harness.processor()
    harness.table.apply({b"all": 3}, 3)
    processor.commit_idle_position(5)
    await turns_until(lambda: harness.app.recorded_offsets == [5])
    assert (harness.log.offsets, harness.outputs, harness.table.rows, processor.position) == (
        {P0: 5},
        [],
        {b"all": 3},
        5,
    )


async def test_closing_abandons_waiting_batches(harness: Harness) -> None:
    processor = await harness.processor(limits=TransactionLimits(within_seconds=3600.0))
    batch = harness.owner.open(0)
    harness.owner.inflight.begun(batch)
    processor.put(batch)
    await processor.close()
    assert (batch.acked, harness.outputs, harness.transactions.closed) == (False, [], True)
