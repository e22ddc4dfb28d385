"""What a transaction promises, of the fake and of the real thing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from typing import Protocol

import pytest
from aiokafka import errors

from processors.engine import TP, Fenced, KafkaRefused, Output, OutputTooLarge, ProducerBroken, WorldFault
from processors.engine.transactions import (
    BATCH_BYTES,
    KafkaTransactions,
    Transactions,
    _judged,
    partition_of,
    placed,
)
from tests.engine.fake_transactions import FakeTransactions, Log
from tests.engine.topics import Topics


class World(Protocol):
    """A log with one topic of two partitions, and a source."""

    topic: str
    source: TP

    async def another(self) -> Transactions:
        """Start transactions under the one id of this world."""

    async def seen(self) -> list[Output]:
        """Return what a `read_committed` reader finds, by partition and in order."""

    async def offset(self) -> int | None:
        """Return the source's committed offset."""


class TransactionsContract:
    async def test_what_is_committed_is_seen_in_order_with_its_offset(self, world: World) -> None:
        one = await world.another()
        records = [Output(world.topic, b"k", b"%d" % n, [("n", b"%d" % n)], n % 2) for n in range(6)]
        await one.write(records, world.source, 7)
        await one.commit()
        assert await world.seen() == sorted(records, key=lambda record: record.partition or 0)
        assert await world.offset() == 7

    async def test_what_is_only_written_is_not_seen(self, world: World) -> None:
        one = await world.another()
        await one.write([Output(world.topic, b"k", b"v", (), 0)], world.source, 7)
        await world.another()  # aborts it
        assert (await world.seen(), await world.offset()) == ([], None)

    async def test_what_is_closed_before_its_commit_never_was(self, world: World) -> None:
        one = await world.another()
        await one.write([Output(world.topic, b"k", b"v", (), 0)], world.source, 7)
        await one.close()
        assert (await world.seen(), await world.offset()) == ([], None)

    async def test_one_transaction_follows_another(self, world: World) -> None:
        one = await world.another()
        for n in (1, 2, 3):
            await one.write([Output(world.topic, b"k", b"%d" % n, (), 0)], world.source, n)
            await one.commit()
        assert [record.value for record in await world.seen()] == [b"1", b"2", b"3"]
        assert await world.offset() == 3

    async def test_an_offset_alone_can_be_committed(self, world: World) -> None:
        one = await world.another()
        await one.write([], world.source, 7)
        await one.commit()
        assert await world.offset() == 7

    async def test_a_tombstone_is_a_record(self, world: World) -> None:
        one = await world.another()
        await one.write([Output(world.topic, b"k", None, (), 0)], world.source, 1)
        await one.commit()
        assert await world.seen() == [Output(world.topic, b"k", None, (), 0)]

    async def test_who_starts_later_fences_the_writes_of_the_one_before(self, world: World) -> None:
        former = await world.another()
        await world.another()
        with pytest.raises(Fenced):
            await former.write([Output(world.topic, b"k", b"stale", (), 0)], world.source, 7)

    async def test_who_starts_later_fences_a_commit_that_is_still_to_come(self, world: World) -> None:
        former = await world.another()
        await former.write([Output(world.topic, b"k", b"stale", (), 0)], world.source, 7)
        later = await world.another()
        with pytest.raises(Fenced):
            await former.commit()
        await later.write([Output(world.topic, b"k", b"fresh", (), 0)], world.source, 8)
        await later.commit()
        assert [record.value for record in await world.seen()] == [b"fresh"]
        assert await world.offset() == 8


class FakeWorld:
    topic, source = "out", TP("in", 0)

    def __init__(self) -> None:
        self._log = Log()

    async def another(self) -> Transactions:
        made = FakeTransactions(self._log)
        await made.start()
        return made

    async def seen(self) -> list[Output]:
        return sorted(self._log.visible[self.topic], key=lambda record: record.partition or 0)

    async def offset(self) -> int | None:
        return self._log.offsets.get(self.source)


class KafkaWorld:
    def __init__(self, topics: Topics, name: str, until_end: Callable[[Callable[[], Awaitable[None]]], object]) -> None:
        self._topics, self._group, self._until_end = topics, name, until_end
        self.topic, self.source = f"{name}.out", TP(f"{name}.in", 0)

    async def another(self, counts: Mapping[str, int] | None = None) -> KafkaTransactions:
        client = {"bootstrap_servers": self._topics.bootstrap}
        made = KafkaTransactions(self._group, self._group, timeout_seconds=10, client=client, counts=counts)
        await made.start()
        self._until_end(made.close)
        return made

    async def seen(self) -> list[Output]:
        records = sorted(await self._topics.records(self.topic, 2), key=lambda record: record.partition)
        return [Output(r.topic, r.key, r.value, list(r.headers) or (), r.partition) for r in records]

    async def offset(self) -> int | None:
        return (await self._topics.committed(self._group)).get(self.source)


class TestFakeTransactions(TransactionsContract):
    @pytest.fixture
    def world(self) -> FakeWorld:
        return FakeWorld()


@pytest.mark.kafka
class TestKafkaTransactions(TransactionsContract):
    @pytest.fixture
    async def world(self, topics: Topics, name: str) -> AsyncIterator[KafkaWorld]:
        async with AsyncExitStack() as stack:
            world = KafkaWorld(topics, name, stack.push_async_callback)
            await topics.make(world.topic, 2, max_message_bytes=str(4 * 2**20))
            await topics.make(world.source.topic, 1)
            yield world

    async def test_more_than_one_request_takes_keeps_its_order(self, world: KafkaWorld) -> None:
        one = await world.another()
        value = b"x" * (BATCH_BYTES // 10)
        records = [Output(world.topic, b"%d" % n, value, (), 0) for n in range(35)]
        await one.write(records, world.source, 1)
        await one.commit()
        assert await world.seen() == records

    async def test_a_record_larger_than_a_request_usually_is_goes_by_itself(self, world: KafkaWorld) -> None:
        one = await world.another()
        record = Output(world.topic, b"k", b"x" * (3 * 2**20), (), 0)
        await one.write([record, record], world.source, 1)
        await one.commit()
        assert await world.seen() == [record, record]

    async def test_a_key_finds_its_partition(self, world: KafkaWorld) -> None:
        one = await world.another()
        await one.write([Output(world.topic, b"key-%d" % n, b"v") for n in range(20)], world.source, 1)
        await one.commit()
        assert {record.partition for record in await world.seen()} == {0, 1}

    async def test_an_output_that_kafka_does_not_take_ends_the_worker_and_names_its_topic(
        self, topics: Topics, world: KafkaWorld, name: str
    ) -> None:
        small = await topics.make(f"{name}.small", 1, max_message_bytes="2000")
        one = await world.another()
        outputs = [Output(small, b"k", b"v"), Output(world.topic, b"k", b"v" * 100), Output(small, b"k", b"v" * 3000)]
        with pytest.raises(OutputTooLarge, match=f"3001 bytes, for {small}"):
            await one.write(outputs, world.source, 1)
        next_life = await world.another()
        await next_life.write([Output(world.topic, b"k", b"v", (), 0)], world.source, 1)
        await next_life.commit()
        assert [record.value for record in await world.seen()] == [b"v"]

    async def test_a_batch_that_was_given_up_ends_the_worker_and_the_next_life_writes(
        self, topics: Topics, world: KafkaWorld, name: str
    ) -> None:
        """Its number is lost: every later batch of the partition would be out of order, for ever."""
        client = {"bootstrap_servers": topics.bootstrap, "request_timeout_ms": 300}
        one = KafkaTransactions(name, name, timeout_seconds=10, client=client)
        await one.start()
        cluster = one._started.client.cluster
        await one._started.partitions_for(world.topic)
        cluster.leader_for_partition = lambda _tp: -1  # one broker never loses a leader: its client is told so
        with pytest.raises(ProducerBroken, match="LeaderNotAvailable"):
            await one.write([Output(world.topic, b"k", b"given up", (), 0)], world.source, 1)
        await one.close()
        next_life = await world.another()
        await next_life.write([Output(world.topic, b"k", b"v", (), 0)], world.source, 1)
        await next_life.commit()
        assert [record.value for record in await world.seen()] == [b"v"]

    async def test_where_a_count_is_fixed_partitions_that_were_added_get_nothing(self, world: KafkaWorld) -> None:
        one = await world.another({world.topic: 1})
        await one.write([Output(world.topic, b"key-%d" % n, b"v") for n in range(20)], world.source, 1)
        await one.commit()
        assert {record.partition for record in await world.seen()} == {0}


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (errors.ProducerFenced(), Fenced),
        (errors.KafkaConnectionError(), WorldFault),
        (errors.UnknownTopicOrPartitionError(), WorldFault),
        (errors.KafkaTimeoutError(), WorldFault),
        (errors.MessageSizeTooLargeError(), OutputTooLarge),
        (errors.LeaderNotAvailableError(), ProducerBroken),
        (errors.OutOfOrderSequenceNumber(), ProducerBroken),
        (errors.KafkaError("Unexpected error during batch delivery"), ProducerBroken),
        (errors.TopicAuthorizationFailedError("t"), KafkaRefused),
        (errors.InvalidTxnState(), ProducerBroken),
    ],
)
def test_only_an_error_that_passes_is_waited_out(error: Exception, expected: type[Exception]) -> None:
    judged = _judged(error, "id")
    assert type(judged) is expected


def test_what_is_placed_goes_where_its_key_was_at_birth() -> None:
    fixed, free = Output("fixed", b"key", b"v"), Output("free", b"key", b"v")
    chosen = Output("fixed", b"key", b"v", (), 3)
    place = partition_of(b"key", 4)
    assert placed([fixed, free, chosen], {"fixed": 4}) == [fixed._replace(partition=place), free, chosen]
