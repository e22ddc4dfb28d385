"""Agents with state, in worker processes on a real Kafka: every record takes effect once, whatever happens.

The oracle is Kafka itself, read with `read_committed`: `Counting.check` computes from the source what every output,
every state and every position must be, and compares.
"""

from __future__ import annotations

import asyncio
import json
import signal
from typing import Any

import pytest

from processors.engine import Phase
from processors.engine.changelog import POSITION_KEY
from tests.engine.broker import PrivateBroker
from tests.engine.conftest import NewKeyedWorker
from tests.engine.counting import KEYS, Counting, first_keys
from tests.engine.processes import KeyedWorker
from tests.engine.topics import Topics

pytestmark = pytest.mark.kafka

PROCESSING = [Phase.STEPPED, Phase.WRITTEN, Phase.COMMITTED, Phase.APPLIED]
TAKING_OVER = [Phase.FENCED, Phase.RESTORING, Phase.RESTORED]


async def test_every_record_takes_effect_once_and_lag_reaches_0(
    counting: Counting, new_keyed_worker: NewKeyedWorker
) -> None:
    await counting.make()
    await counting.send(3_000)
    worker = await new_keyed_worker().start()
    await counting.done()
    await counting.send(500)
    await counting.done()
    assert await worker.terminate() == 0
    await counting.check()


@pytest.mark.parametrize("phase", PROCESSING)
async def test_kill_9_while_processing(
    counting: Counting, new_keyed_worker: NewKeyedWorker, name: str, phase: Phase
) -> None:
    await counting.make()
    await counting.send(3_000)
    doomed = await new_keyed_worker(instance=name, max_poll_records=200, halt_at=phase, halt_on=6).start()
    assert await doomed.ended() == -signal.SIGKILL
    await new_keyed_worker(instance=name).start()
    await counting.done()
    await counting.check()


@pytest.mark.parametrize("phase", TAKING_OVER)
async def test_kill_9_while_taking_over(
    counting: Counting, new_keyed_worker: NewKeyedWorker, name: str, phase: Phase
) -> None:
    await counting.make()
    await counting.send(2_000)
    first = await new_keyed_worker(instance=name).start()
    await counting.done()
    await first.kill()
    await counting.send(1_000)
    doomed = await new_keyed_worker(instance=name, halt_at=phase, halt_on=2).start()
    assert await doomed.ended() == -signal.SIGKILL
    await new_keyed_worker(instance=name).start()
    await counting.done()
    await counting.check()


async def test_repeated_kill_9(counting: Counting, new_keyed_worker: NewKeyedWorker, name: str) -> None:
    await counting.make()
    await counting.send(6_000)
    for number, phase in enumerate([*PROCESSING, *TAKING_OVER, *PROCESSING]):
        doomed = await new_keyed_worker(
            instance=name, max_poll_records=50, halt_at=phase, halt_on=1 + number % 3 if phase in PROCESSING else 1
        ).start()
        assert await doomed.ended() == -signal.SIGKILL
    await new_keyed_worker(instance=name).start()
    await counting.done()
    await counting.check()


@pytest.mark.parametrize("phase", [Phase.STEPPED, Phase.WRITTEN])
async def test_an_owner_that_was_paused_past_its_session_writes_nothing_stale_and_ends(
    counting: Counting, new_keyed_worker: NewKeyedWorker, phase: Phase
) -> None:
    """It is paused before or during a transaction, and resumes when the next owner has continued from there."""
    await counting.make()
    await counting.send(3_000)
    paused = await new_keyed_worker(
        max_poll_records=200, halt_at=phase, halt_on=6, halt_with=signal.SIGSTOP, grace=3.0
    ).start()
    await paused.halted()
    successor = await new_keyed_worker().start()
    await counting.done()
    paused.send(signal.SIGCONT)
    assert await paused.ended() == 1
    assert "Fenced" in paused.errors.read_text()
    await counting.send(1_000)
    await counting.done()
    assert await successor.terminate() == 0
    await counting.check()


async def test_an_owner_that_was_paused_after_a_commit_changes_nothing_when_it_resumes(
    counting: Counting, new_keyed_worker: NewKeyedWorker
) -> None:
    """Its memory is behind its own commit, and the next owner is far ahead of both."""
    await counting.make()
    await counting.send(3_000)
    paused = await new_keyed_worker(
        max_poll_records=200, halt_at=Phase.COMMITTED, halt_on=6, halt_with=signal.SIGSTOP
    ).start()
    await paused.halted()
    await new_keyed_worker().start()
    await counting.done()
    paused.send(signal.SIGCONT)
    await counting.send(3_000)
    await counting.done()
    await counting.check()


async def test_a_second_worker_joins_and_leaves_and_the_state_moves_with_the_partitions(
    counting: Counting, new_keyed_worker: NewKeyedWorker
) -> None:
    await counting.make()
    await counting.send(5_000)
    first = await new_keyed_worker(max_poll_records=100, records=100).start()
    await first.ready()
    second = await new_keyed_worker(max_poll_records=100, records=100).start()
    await second.ready()
    await first.ready(times=2)
    await counting.send(5_000)
    assert await second.terminate() == 0
    await first.ready(times=3)
    await counting.send(1_000)
    await counting.done()
    assert await first.terminate() == 0
    await counting.check()


async def test_sigterm_while_processing_ends_with_0_and_the_next_worker_continues(
    counting: Counting, new_keyed_worker: NewKeyedWorker
) -> None:
    await counting.make()
    await counting.send(20_000)
    first = await new_keyed_worker(max_poll_records=50, records=50).start()
    await first.ready()
    assert await first.terminate() == 0
    await new_keyed_worker().start()
    await counting.done()
    await counting.check()


@pytest.mark.parametrize("phase", [Phase.WRITTEN, Phase.APPLIED])
async def test_work_continues_after_a_broker_restart(
    broker: PrivateBroker, new_keyed_worker: NewKeyedWorker, name: str, phase: Phase
) -> None:
    """It stops between two transactions or during one; a worker that was fenced is restarted, as `up` does."""
    counting = Counting(Topics(broker.bootstrap), name)
    await counting.make()
    await counting.send(3_000)
    config = {"broker": broker.bootstrap, "instance": name, "max_poll_records": 200}
    worker = await new_keyed_worker(**config, halt_at=phase, halt_on=6, halt_with=signal.SIGSTOP).start()
    await worker.halted()
    await broker.kill()
    worker.send(signal.SIGCONT)
    await broker.start()
    await counting.send(1_000)
    supervisor = asyncio.create_task(kept_up(worker, new_keyed_worker, config))
    await counting.done()
    supervisor.cancel()
    await counting.check()


async def kept_up(worker: KeyedWorker, new_keyed_worker: NewKeyedWorker, config: dict[str, Any]) -> None:
    while True:
        assert await worker.ended() in (1, 4)
        worker = await new_keyed_worker(**config).start()


async def test_a_changelog_with_tombstones_is_restored_after_compaction(
    counting: Counting, new_keyed_worker: NewKeyedWorker, name: str
) -> None:
    await counting.make(
        1,
        segment_ms="100",
        min_cleanable_dirty_ratio="0.01",
        max_compaction_lag_ms="100",
        delete_retention_ms="100",
    )
    first = await new_keyed_worker(instance=name, records=20, max_poll_records=20).start()
    before: set[tuple[str, int, int]] = set()
    while before <= (
        now := await counting.topics.read(counting.stage.changelog, 1)
    ):  # until the cleaner has removed some
        before = now
        await counting.send(200)
        await counting.done()
    await first.kill()
    await new_keyed_worker(instance=name).start()
    await counting.send(500)
    await counting.done()
    await counting.check()


async def test_an_open_transaction_of_another_producer_in_the_changelog_hides_nothing(
    counting: Counting, new_keyed_worker: NewKeyedWorker, name: str
) -> None:
    """The readable part would be an old state; and the record that the other producer aborts never counts."""
    await counting.make(1)
    first = await new_keyed_worker(instance=name).start()
    await first.ready()
    async with counting.topics.producer(transactional_id=f"{name}-other") as other:
        await other.begin_transaction()
        await other.send_and_wait(counting.stage.changelog, b"999", key=first_keys(1)[0], partition=0)
        await counting.send(500)
        await counting.done()
        await first.kill()
        second = await new_keyed_worker(instance=name, stall=2.0).start()
        assert await second.ended() == 1
        assert "RestoreStalled" in second.complaints()
        third = await new_keyed_worker(instance=name).start()
        await other.abort_transaction()
        await third.ready()
    await counting.send(500)
    await counting.done()
    await counting.check()


@pytest.mark.parametrize("outcome", ["commit", "abort"])
async def test_a_transactional_source_has_no_lag_and_aborted_records_do_not_count(
    counting: Counting, new_keyed_worker: NewKeyedWorker, name: str, outcome: str
) -> None:
    await counting.make(2)
    worker = await new_keyed_worker().start()
    await worker.ready()
    async with counting.topics.producer(transactional_id=f"{name}-source") as producer:
        for _round in range(5):
            await producer.begin_transaction()
            for partition in range(2):
                await producer.send(counting.stage.source, b"x", key=b"key-%d" % partition, partition=partition)
            await (producer.commit_transaction() if outcome == "commit" else producer.abort_transaction())
    await counting.done()  # five records and five markers in each partition
    assert await worker.terminate() == 0
    await counting.check()


@pytest.mark.parametrize("committed", [0, 17], ids=["as if expired", "moved back"])
async def test_the_position_of_the_state_overrides_a_lower_committed_offset(
    counting: Counting, new_keyed_worker: NewKeyedWorker, committed: int
) -> None:
    await counting.make()
    await counting.send(2_000)
    first = await new_keyed_worker().start()
    await counting.done()
    assert await first.terminate() == 0
    await counting.topics.commit(counting.group, counting.stage.source, counting.partitions, committed)
    await new_keyed_worker().start()
    await counting.done()
    await counting.send(500)
    await counting.done()
    await counting.check()


async def test_deleted_keys_leave_memory_and_changelog(counting: Counting, new_keyed_worker: NewKeyedWorker) -> None:
    await counting.make()
    await counting.send(400, forget_every=0)
    worker = await new_keyed_worker().start()
    await counting.done()
    states, _ = await counting.changelog_content()
    assert len(states) == KEYS
    await counting.send(KEYS, forget_every=1)
    await counting.done()
    await worker.terminate()
    assert worker.lines()[-2] == "# keys 0"
    states, _ = await counting.changelog_content()
    assert states == {}


@pytest.mark.parametrize("stage", [0, 1], ids=["the first", "the second"])
@pytest.mark.parametrize("phase", [Phase.WRITTEN, Phase.COMMITTED])
async def test_a_chain_of_two_agents_in_one_app_survives_kill_9(
    counting: Counting, topics: Topics, new_keyed_worker: NewKeyedWorker, name: str, stage: int, phase: Phase
) -> None:
    second = Counting(topics, name, source=counting.stage.output)
    second.stage.changelog, second.stage.output = f"{name}.log-2", f"{name}.out-2"
    await counting.make()
    await second.make()
    await counting.send(3_000)
    stages = [counting.stage, second.stage]
    doomed = await new_keyed_worker(
        instance=name, stages=stages, max_poll_records=200, halt_at=phase, halt_on=6, halt_stage=stage
    ).start()
    assert await doomed.ended() == -signal.SIGKILL
    await new_keyed_worker(instance=name, stages=stages).start()
    await counting.done()
    await counting.check()
    await second.done()
    await second.check()


async def test_a_step_that_raises_ends_the_worker_without_any_output(
    counting: Counting, new_keyed_worker: NewKeyedWorker
) -> None:
    await counting.make(1)
    await counting.send(100)
    await counting.topics.fill(counting.stage.source, [b"poison"], 1)
    worker = await new_keyed_worker().start()
    assert await worker.ended() == 1
    assert "told to fail" in worker.complaints()
    assert await counting.changelog_content() == ({}, {})
    assert await counting.topics.read(counting.stage.output, 1) == set()


# -- what is refused


async def test_a_changelog_with_another_partition_count_is_refused(
    counting: Counting, topics: Topics, new_keyed_worker: NewKeyedWorker
) -> None:
    await topics.make(counting.stage.changelog, 3, cleanup_policy="compact")
    await counting.make(4)
    worker = await new_keyed_worker().start()
    assert await worker.ended() == 3
    assert f"{counting.stage.source} has 4 partitions, {counting.stage.changelog} has 3" in worker.complaints()


async def test_partitions_that_were_added_to_both_topics_are_refused(
    counting: Counting, topics: Topics, new_keyed_worker: NewKeyedWorker
) -> None:
    await counting.make(2)
    await counting.send(100)
    first = await new_keyed_worker().start()
    await counting.done()
    assert await first.terminate() == 0
    await topics.grow(counting.stage.source, 4)
    await topics.grow(counting.stage.changelog, 4)
    second = await new_keyed_worker().start()
    assert await second.ended() == 3
    assert "had 2 partitions when its state was created, and has 4" in second.complaints()


async def test_partitions_that_are_added_while_it_runs_end_the_worker(
    counting: Counting, topics: Topics, new_keyed_worker: NewKeyedWorker
) -> None:
    """They would get keys whose state is in another partition."""
    await counting.make(2)
    await counting.send(100)
    worker = await new_keyed_worker(metadata_max_age=1.0).start()
    await counting.done()
    await topics.grow(counting.stage.source, 4)
    await topics.grow(counting.stage.changelog, 4)
    assert await worker.ended() == 3
    assert f"{counting.stage.source} had 2 partitions at the start, and has 4 now" in worker.complaints()


async def test_an_assignment_with_added_partitions_is_not_taken_over(
    counting: Counting, topics: Topics, new_keyed_worker: NewKeyedWorker
) -> None:
    await counting.make(2)
    await counting.send(100)
    first = await new_keyed_worker(metadata_max_age=3600.0).start()
    await counting.done()
    await topics.grow(counting.stage.source, 4)
    await topics.grow(counting.stage.changelog, 4)
    second = await new_keyed_worker(metadata_max_age=3600.0).start()  # its join makes the group rebalance
    assert await first.ended() == 3
    assert await second.ended() == 3
    assert not [tp for tp in await topics.committed(counting.group) if tp[1] >= 2]


async def test_a_recreated_source_with_an_existing_state_is_refused(
    counting: Counting, topics: Topics, new_keyed_worker: NewKeyedWorker
) -> None:
    await counting.make(1)
    position = json.dumps({"offset": 100, "partitions": 1}).encode()
    async with topics.producer() as producer:
        await producer.send_and_wait(counting.stage.changelog, position, key=POSITION_KEY)
    worker = await new_keyed_worker().start()
    assert await worker.ended() == 3
    assert "contains the source up to offset 100, but the source ends at 0" in worker.complaints()


async def test_a_state_that_cannot_be_read_ends_the_worker(
    counting: Counting, topics: Topics, new_keyed_worker: NewKeyedWorker
) -> None:
    await counting.make(1)
    async with topics.producer() as producer:
        await producer.send_and_wait(counting.stage.changelog, b"no number", key=b"key")
    worker = await new_keyed_worker().start()
    assert await worker.ended() == 1
    assert "StateUnreadable" in worker.complaints()


async def test_a_changelog_that_is_not_compacted_is_refused(
    counting: Counting, new_keyed_worker: NewKeyedWorker
) -> None:
    await counting.make(cleanup_policy="delete")
    worker = await new_keyed_worker().start()
    assert await worker.ended() == 3
    assert f"{counting.stage.changelog} has the clean-up policy 'delete'" in worker.complaints()


@pytest.mark.parametrize("missing", ["source", "changelog", "output"])
async def test_a_missing_topic_is_refused_and_not_created(
    counting: Counting, topics: Topics, new_keyed_worker: NewKeyedWorker, missing: str
) -> None:
    for role, topic in counting.stage:
        if role != missing:
            await topics.make(topic, cleanup_policy="compact")
    worker = await new_keyed_worker().start()
    assert await worker.ended() == 3
    lacking = getattr(counting.stage, missing)
    assert f"no such topic: {lacking}" in worker.complaints()
    assert lacking not in await topics.names()


async def test_a_topic_that_is_not_among_the_outputs_is_not_written_to(
    counting: Counting, new_keyed_worker: NewKeyedWorker
) -> None:
    await counting.make()
    await counting.send(10)
    worker = await new_keyed_worker(undeclared=True).start()
    assert await worker.ended() == 3
    assert f"writes to {counting.stage.output}, which is not among its outputs" in worker.complaints()


async def test_one_changelog_of_two_agents_is_refused(
    counting: Counting, topics: Topics, new_keyed_worker: NewKeyedWorker, name: str
) -> None:
    await counting.make()
    other = counting.stage.model_copy(update={"source": counting.stage.output})
    worker = await new_keyed_worker(stages=[counting.stage, other]).start()
    assert await worker.ended() == 3
    assert (
        f"{counting.stage.changelog} is the changelog of one agent and also used for something else"
        in worker.complaints()
    )


async def test_reading_uncommitted_records_is_refused(counting: Counting, new_keyed_worker: NewKeyedWorker) -> None:
    await counting.make()
    worker = await new_keyed_worker(isolation="read_uncommitted").start()
    assert await worker.ended() == 3
    assert "records of aborted transactions" in worker.complaints()
