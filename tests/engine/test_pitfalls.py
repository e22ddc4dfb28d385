"""At least one test for each numbered pitfall of Faust and aiokafka.

README.md lists them by the same numbers.
"""

from __future__ import annotations

import re
import signal
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer

from processors.engine.transport import seek_to_committed
from tests.engine.broker import PrivateBroker
from tests.engine.conftest import NewWorker
from tests.engine.processes import until
from tests.engine.topics import Topics
from tests.local.ports import free_port_base

pytestmark = pytest.mark.kafka


@pytest.mark.parametrize("own_agent", [True, False], ids=["an agent", "a write"])
async def test_01_an_exception_acknowledges_nothing(
    topics: Topics, name: str, new_worker: NewWorker, own_agent: bool
) -> None:
    await topics.make(name)
    await topics.fill_n(name, 100)
    worker = await new_worker(fail_at=1, own_agent=own_agent).start()
    assert await worker.ended() == 1
    assert set((await topics.committed(name)).values()) <= {0}


async def test_01_a_rebalance_acknowledges_no_skipped_record(
    topics: Topics, name: str, new_worker: NewWorker, tmp_path: Path
) -> None:
    await topics.make(name)
    await topics.fill_n(name, 4_000)
    worker = await new_worker(gate=tmp_path / "closed", max_poll_records=100, drain=0.2).start()
    await worker.begun()
    other = await new_worker(gate=tmp_path / "closed", max_poll_records=100, drain=0.2).start()
    await worker.ready(times=2)
    await other.ready()
    assert set((await topics.committed(name)).values()) <= {0}


async def test_02_a_commit_never_passes_a_record_that_is_not_written(
    topics: Topics, name: str, new_worker: NewWorker
) -> None:
    await topics.make(name)
    await topics.fill_n(name, 10_000)
    worker = await new_worker(records=100, max_poll_records=100, within=0.01, pause_seconds=0.01, fail_at=6_000).start()
    assert await worker.ended() == 1
    written = set(worker.processed())
    for (topic, partition), committed in (await topics.committed(name)).items():
        assert {(topic, partition, offset) for offset in range(committed)} <= written


async def test_03_a_new_group_reads_dropped_records_again(topics: Topics, name: str) -> None:
    await topics.make(name, 1)
    await topics.fill_n(name, 10, 1)
    consumer = AIOKafkaConsumer(
        name, bootstrap_servers=topics.bootstrap, group_id=name, enable_auto_commit=False, auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        dropped = await consumer.getone()
        assert await seek_to_committed(consumer) == {(name, 0): None}
        assert (await consumer.getone()).offset == dropped.offset
    finally:
        await consumer.stop()


async def test_04_a_full_partition_keeps_its_membership_and_then_stalls(
    topics: Topics, name: str, new_worker: NewWorker, tmp_path: Path
) -> None:
    """The write hangs far past max_poll_interval: no second assignment, and the stall ends the worker."""
    await topics.make(name, 1)
    await topics.fill_n(name, 1_000, 1)
    worker = await new_worker(
        gate=tmp_path / "closed", max_poll_records=100, max_poll_interval=1.0, session=6.0, stall=8.0, drain=1.0
    ).start()
    assert await worker.ended() == 1
    assert "BatchStalled" in worker.complaints()
    assert worker.notes("# ready") == 1


async def test_05_a_late_acknowledgement_after_a_revocation_is_refused(
    topics: Topics, name: str, new_worker: NewWorker, tmp_path: Path
) -> None:
    await topics.make(name, 2)
    wanted = await topics.fill_n(name, 400, 2)
    gate = tmp_path / "gate"
    late = await new_worker(gate=gate, drain=0.2, max_poll_records=50).start()
    await late.begun()
    successor = await new_worker(gate=tmp_path / "closed", drain=0.2, max_poll_records=50, session=6.0).start()
    await late.ready(times=2)
    await successor.begun()
    gate.touch()  # the write of both partitions returns now, and another worker has one of them
    await late.has_more_than(199)
    assert await late.terminate() == 0
    await successor.ready(times=2)
    await successor.kill()
    third = await new_worker(session=6.0).start()
    await third.has(wanted - set(late.processed()))
    await topics.until_no_lag(name, await topics.ends(name, 2))


async def test_06_state_is_restored_before_the_first_batch(topics: Topics, name: str, new_worker: NewWorker) -> None:
    await topics.make(name)
    wanted = await topics.fill_n(name, 100)
    worker = await new_worker(restore=True).start()
    await worker.has(wanted)
    lines = worker.lines()
    assert lines.index("# restored") < lines.index("# begun")


async def test_07_a_stop_ends_although_the_broker_is_unavailable(
    broker: PrivateBroker, name: str, new_worker: NewWorker, tmp_path: Path
) -> None:
    topics = Topics(broker.bootstrap)
    await topics.make(name)
    await topics.fill_n(name, 100)
    gate = tmp_path / "gate"
    worker = await new_worker(broker=broker.bootstrap, gate=gate, grace=3.0, drain=1.0).start()
    await worker.begun()
    await broker.kill()
    gate.touch()
    await worker.has_more_than(0)  # acknowledged, but no broker to commit it
    assert await worker.terminate() == 1
    assert re.search(r"the stop took longer than 3.0 s|exit guard", worker.errors.read_text()), "it crashed instead"


async def test_07_the_exit_guard_ends_a_process_that_a_thread_keeps_alive(
    topics: Topics, name: str, new_worker: NewWorker
) -> None:
    await topics.make(name)
    await topics.fill_n(name, 100)
    worker = await new_worker(hang_in_thread=True, grace=1.0, drain=0.1).start()
    await worker.begun()
    assert await worker.terminate() == 1
    assert "exit guard" in worker.complaints()


async def test_07_work_continues_after_a_broker_restart(
    broker: PrivateBroker, name: str, new_worker: NewWorker
) -> None:
    topics = Topics(broker.bootstrap)
    await topics.make(name)
    wanted = await topics.fill_n(name, 1_000)
    worker = await new_worker(broker=broker.bootstrap).start()
    await worker.has(wanted)
    await broker.kill()
    await broker.start()
    wanted |= await topics.fill_n(name, 1_000)
    await worker.has(wanted)
    await topics.until_no_lag(name, await topics.ends(name, 4))
    assert await worker.terminate() == 0


async def test_07_work_continues_after_a_broker_was_paused(
    broker: PrivateBroker, name: str, new_worker: NewWorker
) -> None:
    topics = Topics(broker.bootstrap)
    await topics.make(name)
    wanted = await topics.fill_n(name, 4_000)
    worker = await new_worker(
        broker=broker.bootstrap, records=100, max_poll_records=100, within=0.01, pause_seconds=0.02
    ).start()
    await worker.has_more_than(500)
    broker.send(signal.SIGSTOP)
    await worker.has_more_than(len(worker.processed()))  # what it has fetched already
    broker.send(signal.SIGCONT)
    await worker.has(wanted)
    await topics.until_no_lag(name, await topics.ends(name, 4))
    assert await worker.terminate() == 0


async def test_07_work_continues_after_a_broker_was_paused_past_the_request_timeout(
    broker: PrivateBroker, name: str, new_worker: NewWorker
) -> None:
    topics = Topics(broker.bootstrap)
    await topics.make(name)
    wanted = await topics.fill_n(name, 4_000)
    worker = await new_worker(
        broker=broker.bootstrap, request_timeout=3.0, records=100, max_poll_records=100, within=0.01, pause_seconds=0.02
    ).start()
    await worker.has_more_than(500)
    broker.send(signal.SIGSTOP)
    await until(lambda: "RequestTimedOutError" in worker.complaints(), "requests to time out")
    broker.send(signal.SIGCONT)
    await worker.has(wanted)
    wanted |= await topics.fill_n(name, 1_000)
    await worker.has(wanted)
    await topics.until_no_lag(name, await topics.ends(name, 4))
    assert await worker.terminate() == 0


async def test_07_a_start_without_a_broker_ends_at_once_and_says_why(name: str, new_worker: NewWorker) -> None:
    worker = await new_worker(broker=f"127.0.0.1:{free_port_base()}").start()
    assert await worker.ended() == 4
    assert "no Kafka broker answers" in worker.complaints()


async def test_08_two_agents_on_one_topic_are_refused(topics: Topics, name: str, new_worker: NewWorker) -> None:
    await topics.make(name)
    worker = await new_worker(two_agents=True).start()
    assert await worker.ended() == 3
    assert f"two agents read {name}" in worker.complaints()


async def test_09_a_missing_topic_is_refused_and_not_created(topics: Topics, name: str, new_worker: NewWorker) -> None:
    worker = await new_worker().start()
    assert await worker.ended() == 3
    assert f"no such topic: {name}" in worker.complaints()
    assert name not in await topics.names()


async def test_09_nothing_is_written_into_the_working_directory(
    topics: Topics, name: str, new_worker: NewWorker, tmp_path: Path
) -> None:
    await topics.make(name)
    worker = await new_worker().start()
    await worker.ready()
    assert await worker.terminate() == 0
    written = {path.name for path in tmp_path.iterdir()}  # noqa: ASYNC240 - a test
    assert written <= {"data-0", "oracle-0", "oracle-0.log"}


@pytest.mark.parametrize("outcome", ["commit", "abort"])
async def test_10_a_drained_partition_of_transactions_has_no_lag(
    topics: Topics, name: str, new_worker: NewWorker, outcome: str
) -> None:
    await topics.make(name, 2)
    worker = await new_worker().start()
    await worker.ready()
    async with topics.producer(transactional_id=name) as producer:
        for round_number in range(5):
            await producer.begin_transaction()
            for partition in range(2):
                await producer.send(name, b"%d" % round_number, partition=partition)
            await (producer.commit_transaction() if outcome == "commit" else producer.abort_transaction())
    ends = await topics.ends(name, 2)
    assert set(ends.values()) == {10}  # five records and five markers
    await topics.until_no_lag(name, ends)
    assert set(worker.processed()) == await topics.read(name, 2)
    assert await worker.terminate() == 0


async def test_11_a_worker_that_joins_gets_its_share_of_every_topic(
    topics: Topics, name: str, new_worker: NewWorker
) -> None:
    names = [await topics.make(f"{name}-{n}", 2) for n in range(2)]
    first = await new_worker(topics=names).start()
    await first.ready()
    second = await new_worker(topics=names).start()
    await second.ready()
    await first.ready(times=2)
    wanted = {record for topic in names for record in await topics.fill_n(topic, 100, 2)}
    await first.has_more_than(0)
    await second.has_more_than(0)
    await until(lambda: wanted == set(first.processed()) | set(second.processed()), "all records")
    assert await first.terminate() == 0
    assert await second.terminate() == 0
