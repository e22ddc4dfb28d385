"""Reading a window of a topic, by time of arrival and by offset; and one record of it."""

from __future__ import annotations

import asyncio
import time
from typing import NamedTuple
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from processors.kafka.read_topic import AtOffset, AtTime, Bound, read_record, read_topic
from schemas.errors import BrokerError
from tests.engine.topics import Topics

pytestmark = pytest.mark.kafka

PARTITIONS = 3
IN_EACH = 4


class Written(NamedTuple):
    """A topic with IN_EACH records in each partition, and when the first record of each offset arrived."""

    topic: str
    arrived_ms: list[int]


@pytest.fixture(scope="module")
async def written(kafka_bootstrap: str) -> Written:
    name = f"window-{uuid4().hex[:12]}"
    await Topics(kafka_bootstrap).make(name, partitions=PARTITIONS)
    arrived, last = list[int](), 0
    async with AIOKafkaProducer(bootstrap_servers=kafka_bootstrap) as producer:
        for offset in range(IN_EACH):
            # The next offset has a later time. (A clock has no event that could be awaited.)
            while time.time_ns() // 1_000_000 <= last:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
            made = [await producer.send_and_wait(name, b"%d" % offset, partition=p) for p in range(PARTITIONS)]
            arrived.append(min(m.timestamp for m in made))
            last = max(m.timestamp for m in made)
    return Written(name, arrived)


@pytest.mark.parametrize(
    ("since", "until", "offsets"),
    [
        (None, None, [0, 1, 2, 3]),
        (AtOffset(0), None, [0, 1, 2, 3]),
        (AtOffset(2), None, [2, 3]),
        (AtOffset(4), None, []),
        (AtOffset(1_000_000), None, []),
        (None, AtOffset(0), []),
        (None, AtOffset(3), [0, 1, 2]),
        (AtOffset(1), AtOffset(3), [1, 2]),
        (AtOffset(3), AtOffset(1), []),
        (AtOffset(1), AtOffset(1_000_000), [1, 2, 3]),
    ],
)
async def test_a_window_of_offsets_is_the_same_in_every_partition(
    kafka_bootstrap: str, written: Written, since: Bound | None, until: Bound | None, offsets: list[int]
) -> None:
    assert await read(kafka_bootstrap, written.topic, since, until) == in_each_partition(offsets)


@pytest.mark.parametrize(
    ("since", "until", "offsets"),
    [(0, None, [0, 1, 2, 3]), (2, None, [2, 3]), (None, 1, [0]), (None, 3, [0, 1, 2]), (1, 3, [1, 2]), (3, 1, [])],
)
async def test_a_window_of_time_begins_with_what_arrived_then_and_ends_before_it(
    kafka_bootstrap: str, written: Written, since: int | None, until: int | None, offsets: list[int]
) -> None:
    """`since` and `until` are the offset whose time of arrival is the bound."""
    first, last = (None if bound is None else AtTime(written.arrived_ms[bound]) for bound in (since, until))
    assert await read(kafka_bootstrap, written.topic, first, last) == in_each_partition(offsets)


async def test_nothing_is_later_than_the_last_record(kafka_bootstrap: str, written: Written) -> None:
    later = AtTime(written.arrived_ms[-1] + 3_600_000)
    assert await read(kafka_bootstrap, written.topic, later, None) == []
    assert await read(kafka_bootstrap, written.topic, None, later) == in_each_partition(range(IN_EACH))


@pytest.mark.parametrize("partition", range(PARTITIONS))
@pytest.mark.parametrize("offset", range(IN_EACH))
async def test_one_record_is_that_of_its_partition_and_offset(
    kafka_bootstrap: str, written: Written, partition: int, offset: int
) -> None:
    found = await read_record(kafka_bootstrap, written.topic, partition, offset)
    assert found is not None
    assert (found.partition, found.offset, found.value) == (partition, offset, b"%d" % offset)


@pytest.mark.parametrize(
    ("partition", "offset"),
    [
        pytest.param(0, IN_EACH, id="after the last record"),
        pytest.param(0, 1_000_000, id="far after it"),
        pytest.param(PARTITIONS, 0, id="in a partition that the topic does not have"),
    ],
)
async def test_there_is_no_record_where_none_is(
    kafka_bootstrap: str, written: Written, partition: int, offset: int
) -> None:
    assert await read_record(kafka_bootstrap, written.topic, partition, offset) is None


async def test_a_deleted_record_is_not_replaced_by_the_next_one(kafka_bootstrap: str) -> None:
    topics, name = Topics(kafka_bootstrap), f"deleted-{uuid4().hex[:12]}"
    await topics.make(name, partitions=1)
    await topics.fill(name, [b"0", b"1", b"2"], partitions=1)
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_bootstrap)
    await admin.start()
    try:
        await admin.delete_records({TopicPartition(name, 0): RecordsToDelete(before_offset=2)})
    finally:
        await admin.close()
    found = [await read_record(kafka_bootstrap, name, 0, offset) for offset in range(3)]
    assert [record and record.value for record in found] == [None, None, b"2"]


async def test_a_topic_that_does_not_exist_is_an_error(kafka_bootstrap: str) -> None:
    with pytest.raises(BrokerError, match="Kafka has no topic"):
        await read_record(kafka_bootstrap, f"absent-{uuid4().hex[:12]}", 0, 0)


async def read(bootstrap: str, topic: str, since: Bound | None, until: Bound | None) -> list[tuple[int, int]]:
    return sorted([(r.partition, r.offset) async for r in read_topic(bootstrap, topic, since=since, until=until)])


def in_each_partition(offsets: list[int] | range) -> list[tuple[int, int]]:
    return [(partition, offset) for partition in range(PARTITIONS) for offset in offsets]
