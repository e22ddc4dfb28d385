"""Whole workers on a real Kafka: whatever happens to them, nothing is lost.

Lost is what is in the topic and in no worker's file. Twice is allowed: at-least-once.
"""

from __future__ import annotations

import asyncio
import signal
from contextlib import suppress

import pytest

from tests.engine.conftest import NewWorker
from tests.engine.processes import Worker
from tests.engine.topics import Record, Topics

pytestmark = pytest.mark.kafka


def processed_by(*workers: Worker) -> set[Record]:
    return {record for worker in workers for record in worker.processed()}


async def test_kill_9_five_times_loses_nothing(topics: Topics, name: str, new_worker: NewWorker) -> None:
    await topics.make(name)
    wanted = await topics.fill_n(name, 20_000)
    worker = new_worker(instance=f"{name}-0", records=200, max_poll_records=100, within=0.01, pause_seconds=0.02)
    for _life in range(5):
        so_far = len(worker.processed())
        await worker.start()
        await worker.has_more_than(so_far + 500)
        await worker.kill()
    worker.config.pause_seconds = 0.0
    await worker.start()
    await worker.has(wanted)
    assert await worker.terminate() == 0


async def test_sigterm_during_a_batch_exits_0_with_no_loss_and_no_duplicates(
    topics: Topics, name: str, new_worker: NewWorker
) -> None:
    await topics.make(name)
    wanted = await topics.fill_n(name, 20_000)
    first = await new_worker(records=200, max_poll_records=100, within=0.01, pause_seconds=0.05).start()
    await first.has_more_than(1_000)
    assert await first.terminate() == 0
    second = await new_worker().start()
    await second.has(wanted - processed_by(first))
    assert await second.terminate() == 0
    assert len(first.processed()) + len(second.processed()) == len(wanted)


@pytest.mark.parametrize("own_agent", [True, False], ids=["an agent raises", "a write raises"])
async def test_a_crash_exits_1_and_loses_nothing(
    topics: Topics, name: str, new_worker: NewWorker, own_agent: bool
) -> None:
    await topics.make(name)
    wanted = await topics.fill_n(name, 5_000)
    broken = await new_worker(records=200, max_poll_records=100, fail_at=2_000, own_agent=own_agent).start()
    assert await broken.ended() == 1
    mended = await new_worker(own_agent=own_agent).start()
    await mended.has(wanted - processed_by(broken))
    assert await mended.terminate() == 0


async def test_a_second_worker_joins_and_leaves_with_no_loss_and_no_duplicates(
    topics: Topics, name: str, new_worker: NewWorker
) -> None:
    await topics.make(name)
    wanted = await topics.fill_n(name, 10_000)
    first = await new_worker(records=200, max_poll_records=100, within=0.01, pause_seconds=0.02).start()
    await first.has_more_than(500)
    second = await new_worker(records=200, max_poll_records=100, within=0.01).start()
    await first.ready(times=2)
    wanted |= await topics.fill_n(name, 2_000)
    await second.has_more_than(200)
    assert await second.terminate() == 0
    await first.ready(times=3)
    await first.has(wanted - processed_by(second))
    assert await first.terminate() == 0
    # What had been begun was finished and committed before its partition went: nothing was read twice.
    assert len(first.processed()) + len(second.processed()) == len(wanted)


async def test_a_worker_that_was_paused_past_its_session_loses_nothing(
    topics: Topics, name: str, new_worker: NewWorker
) -> None:
    await topics.make(name)
    wanted = await topics.fill_n(name, 5_000)
    paused = await new_worker(session=6.0, records=200, max_poll_records=100, within=0.01, pause_seconds=0.05).start()
    await paused.has_more_than(500)
    paused.send(signal.SIGSTOP)
    successor = await new_worker(session=6.0).start()
    await successor.ready()  # once the broker has given up the paused one
    await successor.has(wanted - processed_by(paused))
    paused.send(signal.SIGCONT)  # it wakes in mid-write, and acknowledges what is no longer its own
    await paused.ready(times=2)
    wanted |= await topics.fill_n(name, 2_000)
    await paused.has_more_than(len(paused.processed()))
    await topics.until_no_lag(name, await topics.ends(name, 4))
    assert await successor.terminate() == 0
    assert await paused.terminate() == 0
    assert wanted <= processed_by(paused, successor)


async def test_a_compacted_topic_with_gaps_is_read_to_its_end(topics: Topics, name: str, new_worker: NewWorker) -> None:
    await topics.make(
        name,
        1,
        cleanup_policy="compact",
        segment_ms="100",
        min_cleanable_dirty_ratio="0.01",
        max_compaction_lag_ms="100",
    )
    async with topics.producer() as producer:
        sent = [await producer.send(name, b"%d" % i, key=b"%d" % (i % 7)) for i in range(3_000)]
        latest = [(name, 0, (await one).offset) for one in sent[-7:]]
        while len(await topics.read(name, 1)) >= 3_000:  # until the cleaner has been there
            await producer.send_and_wait(name, b"roll", key=b"roll")  # each record may roll a segment
    worker = await new_worker().start()
    await worker.has(set(latest))
    ends = await topics.ends(name, 1)
    await topics.until_no_lag(name, ends)
    assert len(worker.processed()) < ends[name, 0]
    assert await worker.terminate() == 0


async def test_two_workers_under_one_name_lose_nothing_and_one_ends_with_an_error(
    topics: Topics, name: str, new_worker: NewWorker
) -> None:
    await topics.make(name)
    wanted = await topics.fill_n(name, 1_000)
    duplicates = [await new_worker(instance=f"{name}-0", session=6.0).start() for _ in range(2)]
    ends = [asyncio.create_task(worker.ended()) for worker in duplicates]
    done, going_on = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    assert {end.result() for end in done} == {1}
    # Which of the two it says depends on the moment at which the other one came.
    assert any(word in worker.complaints() for worker in duplicates for word in ("InstanceTaken", "GroupLost"))
    for end, worker in zip(ends, duplicates, strict=True):
        if end in going_on:
            await worker.has(wanted - processed_by(*duplicates))
            with suppress(ProcessLookupError):  # the other one may have taken its place, so that it ended, too
                worker.send(signal.SIGTERM)
    assert {await end for end in going_on} <= {0, 1}
    assert wanted <= processed_by(*duplicates)


async def test_topics_with_different_partition_counts_are_all_read(
    topics: Topics, name: str, new_worker: NewWorker
) -> None:
    wanted: set[Record] = set()
    for number, partitions in enumerate((4, 1, 3)):
        topic = await topics.make(f"{name}-{number}", partitions)
        wanted |= await topics.fill_n(topic, 300, partitions)
    worker = await new_worker(topics=[f"{name}-{number}" for number in range(3)]).start()
    await worker.has(wanted)
    assert await worker.terminate() == 0


async def test_records_of_8_mib_pass(topics: Topics, name: str, new_worker: NewWorker) -> None:
    await topics.make(name, 1, max_message_bytes=str(9 * 2**20))
    wanted = await topics.fill(name, [b"x" * (8 * 2**20 - 1024), b"small", b"y" * (8 * 2**20 - 1024)], 1)
    worker = await new_worker().start()
    await worker.has(wanted)
    assert await worker.terminate() == 0


async def test_a_signal_during_the_shutdown_does_not_change_the_exit_code(
    topics: Topics, name: str, new_worker: NewWorker
) -> None:
    await topics.make(name)
    await topics.fill_n(name, 100)
    crashing = await new_worker(fail_at=1, signal_at_the_end=True).start()
    assert await crashing.ended() == 1
    stopping = await new_worker(signal_at_the_end=True).start()
    await stopping.ready()
    assert await stopping.terminate() == 0


async def test_a_stop_while_the_store_is_unavailable_exits_0_and_acknowledges_nothing(
    topics: Topics, name: str, new_worker: NewWorker
) -> None:
    await topics.make(name)
    wanted = await topics.fill_n(name, 100)
    away = await new_worker(store_away=True).start()
    await away.begun()
    assert await away.terminate() == 0
    assert set((await topics.committed(name)).values()) <= {0}
    back = await new_worker().start()
    await back.has(wanted)
    assert await back.terminate() == 0
