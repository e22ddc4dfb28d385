"""Consumer lag, as the broker reports it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from cli.diagnostics import show_lag
from processors.kafka.lag import Lag, PartitionLag, lag, wait_until_caught_up
from processors.kafka.topics import create_topics
from schemas.consumer_groups import DEFAULT_GATE_GROUP, ConsumerGroup, consumer_groups
from schemas.errors import BrokerError
from schemas.settings import TopicSettings, read
from schemas.topics import LEDGER_INPUTS
from tests.engine.topics import Topics
from tests.local.ports import free_port_base
from tests.operating.commands import sendledger

pytestmark = pytest.mark.kafka


@pytest.fixture
def topics(kafka_bootstrap: str) -> Topics:
    return Topics(kafka_bootstrap)


@pytest.fixture
def name() -> str:
    """A name for a topic and a group of this test."""
    return f"lag-{uuid4().hex[:12]}"


async def commit(bootstrap: str, group: str, offsets: dict[tuple[str, int], int]) -> None:
    """Commit offsets for a group."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, group_id=group, enable_auto_commit=False)
    await consumer.start()
    try:
        consumer.assign([TopicPartition(*tp) for tp in offsets])
        await consumer.commit({TopicPartition(*tp): offset for tp, offset in offsets.items()})
    finally:
        await consumer.stop()


@asynccontextmanager
async def a_transaction(bootstrap: str, name: str) -> AsyncIterator[AIOKafkaProducer]:
    """A transaction that is committed when the block ends."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, transactional_id=name)
    await producer.start()
    try:
        async with producer.transaction():
            yield producer
    finally:
        await producer.stop()


def summary(found: Lag) -> list[tuple[int, int | None, int, int]]:
    return [(p.partition, p.committed, p.end, p.lag) for p in found.partitions]


async def test_what_was_never_committed_counts_from_the_beginning(topics: Topics, name: str) -> None:
    await topics.make(name, partitions=2)
    await topics.fill_n(name, 7, partitions=2)
    found = await lag(topics.bootstrap, [ConsumerGroup(name, (name,))])
    assert found.partitions == (PartitionLag(name, name, 0, None, 4, 4), PartitionLag(name, name, 1, None, 3, 3))
    assert (found.total, found.as_json()["total"]) == (7, 7)


async def test_what_is_committed_is_read(topics: Topics, name: str) -> None:
    await topics.make(name, partitions=2)
    await topics.fill_n(name, 7, partitions=2)
    await commit(topics.bootstrap, name, {(name, 0): 4, (name, 1): 1})
    assert summary(await lag(topics.bootstrap, [ConsumerGroup(name, (name,))])) == [(0, 4, 4, 0), (1, 1, 3, 2)]


async def test_what_retention_has_deleted_is_no_lag(topics: Topics, name: str) -> None:
    await topics.make(name, partitions=2)
    await topics.fill_n(name, 20, partitions=2)
    await commit(topics.bootstrap, name, {(name, 0): 2})
    admin = AIOKafkaAdminClient(bootstrap_servers=topics.bootstrap)
    await admin.start()
    await admin.delete_records({TopicPartition(name, p): RecordsToDelete(before_offset=6) for p in range(2)})
    await admin.close()
    assert summary(await lag(topics.bootstrap, [ConsumerGroup(name, (name,))])) == [(0, 2, 10, 4), (1, None, 10, 4)]


async def test_an_open_transaction_hides_its_records_until_it_is_committed(topics: Topics, name: str) -> None:
    await topics.make(name, partitions=1)
    await topics.fill_n(name, 3, partitions=1)
    async with a_transaction(topics.bootstrap, name) as producer:
        for _ in range(2):
            await (await producer.send(name, b"x", partition=0))
        assert summary(await lag(topics.bootstrap, [ConsumerGroup(name, (name,))])) == [(0, None, 3, 3)]
    assert summary(await lag(topics.bootstrap, [ConsumerGroup(name, (name,))])) == [(0, None, 6, 6)]  # and its marker


async def test_of_a_group_whose_topics_are_its_own_business_those_count_that_it_has_committed_in(
    topics: Topics, name: str
) -> None:
    for topic in (name, f"{name}-2", f"{name}-3"):
        await topics.make(topic, partitions=2)
        await topics.fill_n(topic, 4, partitions=2)
    await commit(topics.bootstrap, name, {(name, 0): 1, (f"{name}-2", 0): 2, (f"{name}-2", 1): 2})
    await commit(topics.bootstrap, f"other-{name}", {(f"{name}-3", 0): 0})
    found = await lag(topics.bootstrap, [ConsumerGroup(name)])
    assert [(p.group, p.topic, p.lag) for p in found.partitions] == [
        (name, name, 1),
        (name, name, 2),
        (name, f"{name}-2", 0),
        (name, f"{name}-2", 0),
    ]


async def test_it_waits_for_groups_that_catch_up_and_reports_those_that_do_not(topics: Topics, name: str) -> None:
    await topics.make(name, partitions=1)
    await topics.fill_n(name, 4, partitions=1)
    group = ConsumerGroup(name, (name,))
    said: list[int] = []
    assert await wait_until_caught_up(topics.bootstrap, [group], within_seconds=0, say=said.append) == 4
    assert said == [4]

    async def read() -> None:
        await commit(topics.bootstrap, name, {(name, 0): 4})

    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(wait_until_caught_up(topics.bootstrap, [group], within_seconds=60))
        tasks.create_task(read())
    assert waiting.result() == 0


async def test_traffic_that_never_stops_is_not_waited_for(topics: Topics, name: str) -> None:
    await topics.make(name, partitions=1)
    await topics.fill_n(name, 4, partitions=1)
    group, behind = ConsumerGroup(name, (name,)), []

    async def read_all_but_the_newest() -> None:
        while True:
            end = (await lag(topics.bootstrap, [group])).partitions[0].end
            await topics.fill_n(name, 2, partitions=1)
            await commit(topics.bootstrap, name, {(name, 0): end})
            behind.append((await lag(topics.bootstrap, [group])).total)

    reading = asyncio.create_task(read_all_but_the_newest())
    try:
        assert await wait_until_caught_up(topics.bootstrap, [group], within_seconds=60) == 0
    finally:
        reading.cancel()
    assert behind
    assert set(behind) == {2}, "at no time had the group read all that there was"


async def test_what_a_reader_writes_of_what_it_read_is_waited_for_too(topics: Topics, name: str) -> None:
    second = f"{name}-2"
    for topic in (name, second):
        await topics.make(topic, partitions=1)
    await topics.fill_n(name, 3, partitions=1)
    groups = [ConsumerGroup(name, (name,)), ConsumerGroup(second, (second,))]
    waiting = asyncio.create_task(wait_until_caught_up(topics.bootstrap, groups, within_seconds=60))
    await topics.fill_n(second, 3, partitions=1)
    await commit(topics.bootstrap, name, {(name, 0): 3})
    said: list[int] = []
    # The first targets are reached, and the second group has three records to read of what the first one wrote.
    assert await wait_until_caught_up(topics.bootstrap, groups, within_seconds=0, say=said.append) == 3
    assert (said, waiting.done()) == ([3], False)
    await commit(topics.bootstrap, second, {(second, 0): 3})
    assert await waiting == 0


async def test_an_open_transaction_is_waited_for(topics: Topics, name: str) -> None:
    await topics.make(name, partitions=1)
    await topics.fill_n(name, 3, partitions=1)
    await commit(topics.bootstrap, name, {(name, 0): 3})
    group = ConsumerGroup(name, (name,))
    async with a_transaction(topics.bootstrap, name) as producer:
        await (await producer.send(name, b"x", partition=0))
        assert (await lag(topics.bootstrap, [group])).total == 0
        assert await wait_until_caught_up(topics.bootstrap, [group], within_seconds=0) == 1
    await commit(topics.bootstrap, name, {(name, 0): 5})
    assert await wait_until_caught_up(topics.bootstrap, [group], within_seconds=60) == 0


async def test_a_topic_that_does_not_exist_has_none(topics: Topics, name: str) -> None:
    assert await lag(topics.bootstrap, [ConsumerGroup(name, (name,)), ConsumerGroup(f"{name}-2")]) == Lag(())
    assert name not in await topics.names()


async def test_an_unreachable_kafka_is_reported() -> None:
    with pytest.raises(BrokerError, match="KafkaConnectionError"):
        await lag(f"127.0.0.1:{free_port_base()}", consumer_groups("ledger"))


def test_the_groups_are_the_ledgers_with_all_its_topics_and_the_gates() -> None:
    ledger, gate = consumer_groups("ours")
    assert (ledger.name, gate) == ("ours", DEFAULT_GATE_GROUP)
    assert ledger.topics == tuple(topic.name for topic in LEDGER_INPUTS)


@pytest.mark.parametrize(("every", "shown"), [(False, ["1"]), (True, ["0", "1", "2"])], ids=["short", "all"])
def test_the_partitions_that_lag_are_shown_or_with_all_each_one(
    capsys: pytest.CaptureFixture[str], every: bool, shown: list[str]
) -> None:
    found = Lag(
        tuple(PartitionLag("ledger", "topic", number, 5, 5 + more, more) for number, more in enumerate((0, 7, 0)))
    )
    show_lag(found, every=every, as_json=False)
    _, *rows, group, total = capsys.readouterr().out.splitlines()
    assert [row.split()[2] for row in rows] == shown
    assert (group, total) == ("group ledger: 7 to read, in 1 of 3 partitions", "total 7")


class TestCommand:
    async def test_json_is_one_object_of_all_partitions(self, topics: Topics, name: str, tmp_path: Path) -> None:
        await create_topics(read(TopicSettings, kafka_bootstrap=topics.bootstrap))
        env = {"SENDLEDGER_KAFKA_BOOTSTRAP": topics.bootstrap, "SENDLEDGER_CONSUMER_GROUP": name}
        ended = await sendledger("lag", "--json", "--group", name, env=env, folder=tmp_path)
        found = ended.json()
        assert (ended.code, ended.err, len(ended.out.splitlines())) == (0, "", 1)
        assert list(found) == ["total", "partitions"]
        assert {p["topic"] for p in found["partitions"]} == {topic.name for topic in LEDGER_INPUTS}
        for partition in found["partitions"]:
            assert list(partition) == ["group", "topic", "partition", "committed", "end", "lag"]
            assert (partition["group"], partition["committed"]) == (name, None)
        assert found["total"] == sum(partition["lag"] for partition in found["partitions"])

    async def test_people_get_a_table_and_the_total(self, topics: Topics, name: str, tmp_path: Path) -> None:
        await topics.make(name, partitions=1)
        await topics.fill_n(name, 3, partitions=1)
        await commit(topics.bootstrap, name, {(name, 0): 1})
        env = {"SENDLEDGER_KAFKA_BOOTSTRAP": topics.bootstrap}
        ended = await sendledger("lag", "--group", name, env=env, folder=tmp_path)
        head, row, group, total = ended.out.splitlines()
        assert head.split() == ["group", "topic", "partition", "committed", "end", "lag"]
        assert row.split() == [name, name, "0", "1", "3", "2"]
        assert (ended.code, group, total) == (0, f"group {name}: 2 to read, in 1 of 1 partitions", "total 2")

    async def test_a_group_that_there_is_not_is_found_wrong(self, topics: Topics, name: str, tmp_path: Path) -> None:
        env = {"SENDLEDGER_KAFKA_BOOTSTRAP": topics.bootstrap}
        ended = await sendledger("lag", "--json", "--group", name, env=env, folder=tmp_path)
        assert (ended.code, ended.json()) == (1, {"total": 0, "partitions": []})

    async def test_without_kafka_the_exit_code_is_4(self, tmp_path: Path) -> None:
        env = {"SENDLEDGER_KAFKA_BOOTSTRAP": f"127.0.0.1:{free_port_base()}"}
        ended = await sendledger("lag", env=env, folder=tmp_path)
        assert (ended.code, ended.out) == (4, "")
        assert "mend:" in ended.err
