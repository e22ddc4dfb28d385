"""The guarantees of transactions, tested on the fake and on Kafka."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from typing import Protocol

import pytest
from aiokafka import errors

from processors.engine import TP, Output, TransientDependencyError
from processors.engine.errors import Fenced, KafkaRefused, OutputTooLarge, ProducerBroken
from processors.engine.transactions import (
    BATCH_BYTES,
    KafkaTransactions,
    Transactions,
    _classified,
    partition_of,
    with_partitions,
)
from tests.engine.fake_transactions import FakeTransactions, Log
from tests.engine.topics import Topics


class TransactionBackend(Protocol):
    """A log with one topic of two partitions, and a source."""

    topic: str
    source: TP

    async def another(self) -> Transactions:
        """Start transactions under the transactional id of this backend."""

    async def seen(self) -> list[Output]:
        """Return what a `read_committed` reader sees, by partition and in order."""

    async def offset(self) -> int | None:
        """Return the source's committed offset."""


class TransactionsContract:
    async def test_committed_records_are_visible_in_order_with_their_offset(self, backend: TransactionBackend) -> None:
        one = await backend.another()
        records = [Output(backend.topic, b"k", b"%d" % n, [("n", b"%d" % n)], n % 2) for n in range(6)]
        await one.write(records, backend.source, 7)
        await one.commit()
        assert await backend.seen() == sorted(records, key=lambda record: record.partition or 0)
        assert await backend.offset() == 7

    async def test_uncommitted_records_are_not_visible(self, backend: TransactionBackend) -> None:
        one = await backend.another()
        await one.write([Output(backend.topic, b"k", b"v", (), 0)], backend.source, 7)
        await backend.another()  # aborts it
        assert (await backend.seen(), await backend.offset()) == ([], None)

    async def test_closing_before_the_commit_aborts(self, backend: TransactionBackend) -> None:
        one = await backend.another()
        await one.write([Output(backend.topic, b"k", b"v", (), 0)], backend.source, 7)
        await one.close()
        assert (await backend.seen(), await backend.offset()) == ([], None)

    async def test_one_transaction_follows_another(self, backend: TransactionBackend) -> None:
        one = await backend.another()
        for n in (1, 2, 3):
            await one.write([Output(backend.topic, b"k", b"%d" % n, (), 0)], backend.source, n)
            await one.commit()
        assert [record.value for record in await backend.seen()] == [b"1", b"2", b"3"]
        assert await backend.offset() == 3

    async def test_an_offset_alone_can_be_committed(self, backend: TransactionBackend) -> None:
        one = await backend.another()
        await one.write([], backend.source, 7)
        await one.commit()
        assert await backend.offset() == 7

    async def test_records_without_a_source_are_committed(self, backend: TransactionBackend) -> None:
        one = await backend.another()
        await one.write([Output(backend.topic, b"k", b"1", (), 0)])
        await one.commit()
        assert [record.value for record in await backend.seen()] == [b"1"]
        assert await backend.offset() is None

    async def test_a_tombstone_is_a_record(self, backend: TransactionBackend) -> None:
        one = await backend.another()
        await one.write([Output(backend.topic, b"k", None, (), 0)], backend.source, 1)
        await one.commit()
        assert await backend.seen() == [Output(backend.topic, b"k", None, (), 0)]

    async def test_a_later_start_fences_the_writes_of_the_previous_owner(self, backend: TransactionBackend) -> None:
        former = await backend.another()
        await backend.another()
        with pytest.raises(Fenced):
            await former.write([Output(backend.topic, b"k", b"stale", (), 0)], backend.source, 7)

    async def test_a_later_start_fences_a_pending_commit(self, backend: TransactionBackend) -> None:
        former = await backend.another()
        await former.write([Output(backend.topic, b"k", b"stale", (), 0)], backend.source, 7)
        later = await backend.another()
        with pytest.raises(Fenced):
            await former.commit()
        await later.write([Output(backend.topic, b"k", b"fresh", (), 0)], backend.source, 8)
        await later.commit()
        assert [record.value for record in await backend.seen()] == [b"fresh"]
        assert await backend.offset() == 8


class FakeBackend:
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


class KafkaBackend:
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
    def backend(self) -> FakeBackend:
        return FakeBackend()


@pytest.mark.kafka
class TestKafkaTransactions(TransactionsContract):
    @pytest.fixture
    async def backend(self, topics: Topics, name: str) -> AsyncIterator[KafkaBackend]:
        async with AsyncExitStack() as stack:
            backend = KafkaBackend(topics, name, stack.push_async_callback)
            await topics.make(backend.topic, 2, max_message_bytes=str(4 * 2**20))
            await topics.make(backend.source.topic, 1)
            yield backend

    async def test_records_of_several_requests_keep_their_order(self, backend: KafkaBackend) -> None:
        one = await backend.another()
        value = b"x" * (BATCH_BYTES // 10)
        records = [Output(backend.topic, b"%d" % n, value, (), 0) for n in range(35)]
        await one.write(records, backend.source, 1)
        await one.commit()
        assert await backend.seen() == records

    async def test_a_record_larger_than_a_batch_is_sent_alone(self, backend: KafkaBackend) -> None:
        one = await backend.another()
        record = Output(backend.topic, b"k", b"x" * (3 * 2**20), (), 0)
        await one.write([record, record], backend.source, 1)
        await one.commit()
        assert await backend.seen() == [record, record]

    async def test_a_key_finds_its_partition(self, backend: KafkaBackend) -> None:
        one = await backend.another()
        await one.write([Output(backend.topic, b"key-%d" % n, b"v") for n in range(20)], backend.source, 1)
        await one.commit()
        assert {record.partition for record in await backend.seen()} == {0, 1}

    async def test_an_output_that_is_too_large_ends_the_worker_and_names_its_topic(
        self, topics: Topics, backend: KafkaBackend, name: str
    ) -> None:
        small = await topics.make(f"{name}.small", 1, max_message_bytes="2000")
        one = await backend.another()
        outputs = [Output(small, b"k", b"v"), Output(backend.topic, b"k", b"v" * 100), Output(small, b"k", b"v" * 3000)]
        with pytest.raises(OutputTooLarge, match=f"3001 bytes, for topic {small}"):
            await one.write(outputs, backend.source, 1)
        restarted = await backend.another()
        await restarted.write([Output(backend.topic, b"k", b"v", (), 0)], backend.source, 1)
        await restarted.commit()
        assert [record.value for record in await backend.seen()] == [b"v"]

    async def test_a_batch_that_was_given_up_ends_the_worker_and_a_restarted_one_writes(
        self, topics: Topics, backend: KafkaBackend, name: str
    ) -> None:
        """Its sequence number is lost: every later batch of the partition would be out of order."""
        client = {"bootstrap_servers": topics.bootstrap, "request_timeout_ms": 300}
        one = KafkaTransactions(name, name, timeout_seconds=10, client=client)
        await one.start()
        cluster = one._started.client.cluster
        await one._started.partitions_for(backend.topic)
        cluster.leader_for_partition = lambda _tp: -1  # a single broker never loses a leader, so the client is patched
        with pytest.raises(ProducerBroken, match="LeaderNotAvailable"):
            await one.write([Output(backend.topic, b"k", b"given up", (), 0)], backend.source, 1)
        await one.close()
        restarted = await backend.another()
        await restarted.write([Output(backend.topic, b"k", b"v", (), 0)], backend.source, 1)
        await restarted.commit()
        assert [record.value for record in await backend.seen()] == [b"v"]

    async def test_with_a_fixed_count_added_partitions_get_no_records(self, backend: KafkaBackend) -> None:
        one = await backend.another({backend.topic: 1})
        await one.write([Output(backend.topic, b"key-%d" % n, b"v") for n in range(20)], backend.source, 1)
        await one.commit()
        assert {record.partition for record in await backend.seen()} == {0}


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (errors.ProducerFenced(), Fenced),
        (errors.KafkaConnectionError(), TransientDependencyError),
        (errors.UnknownTopicOrPartitionError(), TransientDependencyError),
        (errors.KafkaTimeoutError(), TransientDependencyError),
        (errors.MessageSizeTooLargeError(), OutputTooLarge),
        (errors.LeaderNotAvailableError(), ProducerBroken),
        (errors.OutOfOrderSequenceNumber(), ProducerBroken),
        (errors.KafkaError("Unexpected error during batch delivery"), ProducerBroken),
        (errors.TopicAuthorizationFailedError("t"), KafkaRefused),
        (errors.InvalidTxnState(), ProducerBroken),
    ],
)
def test_only_temporary_errors_are_retried(error: Exception, expected: type[Exception]) -> None:
    classified = _classified(error, "id")
    assert type(classified) is expected


def test_outputs_get_the_partition_of_the_initial_count() -> None:
    fixed, free = Output("fixed", b"key", b"v"), Output("free", b"key", b"v")
    chosen = Output("fixed", b"key", b"v", (), 3)
    place = partition_of(b"key", 4)
    assert with_partitions([fixed, free, chosen], {"fixed": 4}) == [fixed._replace(partition=place), free, chosen]
