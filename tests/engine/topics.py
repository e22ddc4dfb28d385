"""Helpers of tests for a broker: create topics, write records, read committed offsets."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import GroupCoordinatorNotAvailableError, for_code
from aiokafka.protocol.produce import ProduceRequest

PATIENCE_SECONDS = 60.0
Record = tuple[str, int, int]


class Topics:
    """The topics of a broker."""

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap

    async def make(self, name: str, partitions: int = 4, **config: str) -> str:
        settings = {key.replace("_", "."): value for key, value in config.items()}
        admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap)
        await admin.start()
        try:
            await admin.create_topics([NewTopic(name, partitions, 1, topic_configs=settings)])
        finally:
            await admin.close()
        return name

    async def grow(self, name: str, partitions: int) -> None:
        """Add partitions."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap)
        await admin.start()
        try:
            await admin.create_partitions({name: NewPartitions(partitions)})
        finally:
            await admin.close()

    async def commit(self, group: str, topic: str, partitions: int, offset: int) -> None:
        """Set the offset of a group without members to `offset` in every partition."""
        consumer = AIOKafkaConsumer(bootstrap_servers=self.bootstrap, group_id=group, enable_auto_commit=False)
        await consumer.start()
        try:
            tps = [TopicPartition(topic, p) for p in range(partitions)]
            consumer.assign(tps)
            await consumer.commit(dict.fromkeys(tps, offset))
        finally:
            await consumer.stop()

    async def names(self) -> set[str]:
        admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap)
        await admin.start()
        try:
            return set(await admin.list_topics())
        finally:
            await admin.close()

    @asynccontextmanager
    async def producer(self, **settings: Any) -> Any:
        producer = AIOKafkaProducer(
            bootstrap_servers=self.bootstrap, acks="all", linger_ms=10, max_request_size=9 * 2**20, **settings
        )
        await producer.start()
        try:
            yield producer
        finally:
            await producer.stop()

    async def fill(self, topic: str, values: Sequence[bytes], partitions: int = 4) -> set[Record]:
        """Write the values, spread over the partitions, and return their positions."""
        async with self.producer() as producer:
            sent = [await producer.send(topic, value, partition=i % partitions) for i, value in enumerate(values)]
            return {(m.topic, m.partition, m.offset) for m in await asyncio.gather(*sent)}

    async def fill_n(self, topic: str, count: int, partitions: int = 4) -> set[Record]:
        return await self.fill(topic, [b"%d" % i for i in range(count)], partitions)

    async def fill_raw(self, topic: str, partition: int, batch: bytes, records: int) -> set[Record]:
        """Write a batch of records byte for byte, and return the positions of its records."""
        client = AIOKafkaClient(bootstrap_servers=self.bootstrap)
        await client.bootstrap()
        try:
            await client.set_topics([topic])
            leader = client.cluster.leader_for_partition(TopicPartition(topic, partition))
            answer = await client.send(leader, ProduceRequest(None, -1, 30_000, [(topic, [(partition, batch)])]))
            ((_, ((_, error, first, *_),)),) = answer.topics
            assert error == 0, for_code(error)
            return {(topic, partition, first + n) for n in range(records)}
        finally:
            await client.close()

    async def read(self, topic: str, partitions: int) -> set[Record]:
        """Return the positions of all committed records."""
        return {(r.topic, r.partition, r.offset) for r in await self.records(topic, partitions)}

    async def records(self, topic: str, partitions: int) -> list[Any]:
        """Return all committed records, in order within a partition."""
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.bootstrap, enable_auto_commit=False, isolation_level="read_committed"
        )
        await consumer.start()
        try:
            tps = [TopicPartition(topic, p) for p in range(partitions)]
            consumer.assign(tps)
            await consumer.seek_to_beginning(*tps)
            ends = await consumer.end_offsets(tps)
            found: list[Any] = []
            while any([await consumer.position(tp) < ends[tp] for tp in tps]):
                for records in (await consumer.getmany(timeout_ms=100)).values():
                    found += records
            return found
        finally:
            await consumer.stop()

    async def committed(self, group: str) -> dict[tuple[str, int], int]:
        admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap)
        await admin.start()
        try:
            found = await admin.list_consumer_group_offsets(group)
        except GroupCoordinatorNotAvailableError:
            return {}  # the broker never had a group
        else:
            return {(tp.topic, tp.partition): meta.offset for tp, meta in found.items() if meta.offset >= 0}
        finally:
            await admin.close()

    async def ends(self, topic: str, partitions: int) -> dict[tuple[str, int], int]:
        consumer = AIOKafkaConsumer(bootstrap_servers=self.bootstrap, enable_auto_commit=False)
        await consumer.start()
        try:
            found = await consumer.end_offsets([TopicPartition(topic, p) for p in range(partitions)])
            return {(tp.topic, tp.partition): end for tp, end in found.items()}
        finally:
            await consumer.stop()

    async def until_no_lag(self, group: str, ends: dict[tuple[str, int], int], topic: str | None = None) -> None:
        """Wait until the offsets of the group equal `ends`, for all its topics or for one."""
        committed: dict[tuple[str, int], int] = {}
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while committed != ends:
                    await asyncio.sleep(0.1)
                    found = await self.committed(group)
                    committed = {tp: offset for tp, offset in found.items() if topic in (None, tp[0])}
        except TimeoutError:
            raise AssertionError(f"lag does not reach 0: committed {committed}, end {ends}") from None
