"""Each private name of aiokafka that the project uses still exists. No broker."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.consumer import fetcher
from aiokafka.consumer.subscription_state import SubscriptionState
from aiokafka.producer.transaction_manager import TransactionManager
from aiokafka.record.memory_records import MemoryRecords

from processors.engine import internals
from tests.engine.offline import P0, an_offline_consumer


@pytest.fixture
async def consumer() -> AsyncIterator[AIOKafkaConsumer]:
    async with an_offline_consumer() as consumer:
        yield consumer


@pytest.fixture
async def producer() -> AsyncIterator[AIOKafkaProducer]:
    """A transactional producer that is not started."""
    producer = AIOKafkaProducer(bootstrap_servers="127.0.0.1:1", transactional_id="id")
    yield producer
    await producer.client.close()
    producer._closed = True


async def test_the_parts_of_a_consumer(consumer: AIOKafkaConsumer) -> None:
    assert internals.cluster(consumer).partitions_for_topic("events") is None
    assert internals.subscription(consumer).topics == {"events"}
    assert internals.subscription(consumer).reassignment_in_progress
    assert internals.member_id(consumer) == ""
    assert internals.end_error(consumer) is None
    assert not internals.is_closed(consumer)
    assert not internals.is_buffered(consumer, P0)
    assert internals.max_poll_records(consumer) is None
    with internals.polling(consumer):
        pass
    internals.rejoin(consumer)
    refresh = internals.refresh_metadata(consumer)
    assert refresh.cancel()


async def test_the_state_of_an_assigned_partition(consumer: AIOKafkaConsumer) -> None:
    assert internals.assignment(consumer) is None
    internals.subscription(consumer).assign_from_subscribed([P0])
    assignment = internals.assignment(consumer)
    assert (assignment.active, set(assignment.tps)) == (True, {P0})
    state = assignment.state_value(P0)
    assert (state.timestamp, state.lso, state.highwater, state.has_valid_position) == (None, None, None, False)


def test_the_fetcher_takes_partitions_a_timeout_and_a_limit() -> None:
    assert {"partitions", "timeout", "max_records"} <= inspect.signature(
        fetcher.Fetcher.fetched_records
    ).parameters.keys()


async def test_the_parts_of_a_producer(producer: AIOKafkaProducer) -> None:
    assert internals.sender_task(producer) is None
    assert internals.unsent_batches(producer) == []
    assert internals.sent_batches(producer) == set()
    internals.fail_batches(producer, RuntimeError("closed"))
    internals.retrieve_exceptions(producer, [], transaction=True)


async def test_an_unsent_batch_has_a_future() -> None:
    producer = AIOKafkaProducer(bootstrap_servers="127.0.0.1:1")
    batch = producer.create_batch()
    batch.append(key=None, value=b"v", timestamp=None)
    await producer._message_accumulator.add_batch(batch, P0, 1)
    (unsent,) = internals.unsent_batches(producer)
    internals.fail_batches(producer, RuntimeError("closed"))
    internals.retrieve_exceptions(producer, [unsent])
    assert unsent._drain_waiter.done()
    assert internals.unsent_batches(producer) == []
    await producer.client.close()
    producer._closed = True


@pytest.mark.parametrize(
    ("owner", "names"),
    [
        (fetcher, ["MemoryRecords", "PartitionRecords"]),
        (fetcher.PartitionRecords, ["_unpack_records", "__next__"]),
        (internals.PythonRecordBatch, ["_maybe_uncompress"]),
        (MemoryRecords, ["has_next", "next_batch"]),
        (SubscriptionState, ["assign_from_subscribed", "assigned_partitions", "subscribe"]),
        (TransactionManager, ["wait_for_transaction_end"]),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_methods_that_are_overridden_or_replaced(owner: object, names: list[str]) -> None:
    assert [name for name in names if not hasattr(owner, name)] == []


def test_attributes_of_the_record_parser() -> None:
    source = inspect.getsource(fetcher.PartitionRecords)
    assert [name for name in ("_records_iterator", "_records", "_tp", "next_fetch_offset") if name not in source] == []
    assert "self._buffer" in inspect.getsource(internals.PythonRecordBatch)
