"""Workers read all partitions of their topics after restarts and changes, whatever their group assigned before.

Kafka gives a static member that returns within its session its previous assignment. Each restart here is of that kind.
"""

from __future__ import annotations

import asyncio

import pytest
from aiokafka import AIOKafkaConsumer

from tests.engine.conftest import NewWorker
from tests.engine.processes import Worker, until
from tests.engine.topics import Topics

pytestmark = pytest.mark.kafka

SESSION = 120.0
"""Longer than any restart takes, however busy the machine is."""


async def started(new_worker: NewWorker, name: str, topics: list[str], workers: int) -> list[Worker]:
    """Start workers one at a time, and wait until each has its partitions."""
    made: list[Worker] = []
    for number in range(workers):
        made.append(await one(new_worker, name, topics, number))
        for count, worker in enumerate(reversed(made), start=1):
            await worker.ready(times=count)
    return made


async def one(new_worker: NewWorker, name: str, topics: list[str], number: int) -> Worker:
    return await new_worker(
        topics=topics, instance=f"{name}-{number}", session=SESSION, metadata_max_age=1.0, note_watches=True
    ).start()


async def killed(workers: list[Worker]) -> None:
    for worker in workers:
        await worker.kill()


CHECKS = 4
"""A worker requests a reassignment at the second check at the latest."""


def seen(*workers: Worker) -> set[tuple[str, int, int]]:
    return {record for worker in workers for record in worker.processed()}


@pytest.mark.parametrize("count", [1, 2])
async def test_a_new_topic_is_read_after_a_quick_restart(
    topics: Topics, name: str, new_worker: NewWorker, count: int
) -> None:
    old, new = await topics.make(f"{name}-old"), await topics.make(f"{name}-new")
    before = await started(new_worker, name, [old], count)
    wanted = await topics.fill_n(old, 40)
    await until(lambda: wanted <= seen(*before), "the old topic")
    after: list[Worker] = []
    for number, worker in enumerate(before):  # one at a time, as in a rolling deploy
        await worker.kill()
        after.append(await one(new_worker, name, [old, new], number))
        await after[-1].ready()
    wanted = await topics.fill_n(old, 40) | await topics.fill_n(new, 40)
    await until(lambda: wanted <= seen(*after), "both topics")
    for worker in after:
        assert await worker.terminate() == 0


@pytest.mark.parametrize("count", [1, 2])
async def test_new_partitions_are_read_while_workers_run(
    topics: Topics, name: str, new_worker: NewWorker, count: int
) -> None:
    await topics.make(name, 2)
    workers = await started(new_worker, name, [name], count)
    await topics.grow(name, 5)
    wanted = await topics.fill_n(name, 50, 5)
    await until(lambda: wanted <= seen(*workers), "the new partitions")
    for worker in workers:
        assert await worker.terminate() == 0


@pytest.mark.parametrize("count", [1, 2])
async def test_new_partitions_are_read_after_a_quick_restart(
    topics: Topics, name: str, new_worker: NewWorker, count: int
) -> None:
    await topics.make(name, 2)
    await killed(await started(new_worker, name, [name], count))
    await topics.grow(name, 5)
    wanted = await topics.fill_n(name, 50, 5)
    workers = [await one(new_worker, name, [name], number) for number in range(count)]
    await until(lambda: wanted <= seen(*workers), "the new partitions")
    for worker in workers:
        assert await worker.terminate() == 0


async def test_new_partitions_are_read_while_a_returned_static_member_runs(
    topics: Topics, name: str, new_worker: NewWorker
) -> None:
    """aiokafka watches topics in the member that assigned last, which a returned member is not."""
    await topics.make(name, 2)
    await killed(await started(new_worker, name, [name], 1))
    worker = await one(new_worker, name, [name], 0)
    await worker.ready()
    await topics.grow(name, 5)
    await worker.has(await topics.fill_n(name, 50, 5))
    assert await worker.terminate() == 0


@pytest.mark.parametrize("count", [1, 2])
async def test_a_topic_that_is_no_longer_subscribed_stops_no_worker(
    topics: Topics, name: str, new_worker: NewWorker, count: int
) -> None:
    """aiokafka raises on an assignment of a topic that it is not subscribed to."""
    kept, gone = await topics.make(f"{name}-kept"), await topics.make(f"{name}-gone")
    before = await started(new_worker, name, [kept, gone], count)
    after: list[Worker] = []
    for number, worker in enumerate(before):
        await worker.kill()
        after.append(await one(new_worker, name, [kept], number))
        await after[-1].ready()
        here = [*after, *before[number + 1 :]]
        wanted = await topics.fill_n(kept, 40)
        if len(here) > len(after):  # workers that still subscribe to it read all of it
            wanted |= await topics.fill_n(gone, 40)
        await until(lambda here=here, wanted=wanted: wanted <= seen(*here), "what is read")  # type: ignore[misc]
    for worker in after:
        assert await worker.terminate() == 0
        assert "unsubscribed" not in worker.complaints()


async def test_a_quick_restart_without_a_change_moves_nothing(topics: Topics, name: str, new_worker: NewWorker) -> None:
    await topics.make(name)
    first, second = await started(new_worker, name, [name], 2)
    assignments = second.notes("# ready")
    await first.kill()
    again = await one(new_worker, name, [name], 0)
    await until(lambda: again.notes("# watched") > CHECKS, "it to have checked the topics")
    wanted = await topics.fill_n(name, 400)
    await until(lambda: wanted <= seen(again, second), "all records")
    assert again.notes("# ready") == 1
    assert second.notes("# ready") == assignments


async def test_a_member_of_another_version_can_be_in_the_group(
    topics: Topics, name: str, new_worker: NewWorker
) -> None:
    """It is the leader and assigns without counts. One reassignment is requested, and no more."""
    await topics.make(name)
    found: set[tuple[str, int, int]] = set()
    consumer = AIOKafkaConsumer(
        name, bootstrap_servers=topics.bootstrap, group_id=name, enable_auto_commit=False, auto_offset_reset="earliest"
    )
    await consumer.start()

    async def read() -> None:
        async for record in consumer:
            found.add((record.topic, record.partition, record.offset))

    reading = asyncio.create_task(read())
    try:
        worker = await one(new_worker, name, [name], 0)
        await worker.ready(times=2)
        checks = worker.notes("# watched")
        await until(lambda: worker.notes("# watched") > checks + CHECKS, "it to have checked the topics")
        wanted = await topics.fill_n(name, 40)
        await until(lambda: wanted <= seen(worker) | found, "all records")
        assert worker.notes("# ready") == 2
        assert len({partition for _, partition, _ in seen(worker)}) == 2
    finally:
        reading.cancel()
        await consumer.stop()
