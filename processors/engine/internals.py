"""The private names of aiokafka 0.14 that the project uses, each in one function.

aiokafka has no public interface for these. `tests/engine/test_internals.py` checks that each name still exists, so an
upgrade that removes one fails there. `consumer.py` also overrides methods of aiokafka's record parser.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Any, cast

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.cluster import ClusterMetadata
from aiokafka.consumer.subscription_state import SubscriptionState
from aiokafka.errors import KafkaError
from aiokafka.record.default_records import _DefaultRecordBatchPy as PythonRecordBatch

__all__ = ["PythonRecordBatch"]

# -- consumers


def cluster(consumer: AIOKafkaConsumer) -> ClusterMetadata:
    """Return what the consumer knows about topics and brokers."""
    return consumer._client.cluster


def refresh_metadata(consumer: AIOKafkaConsumer) -> asyncio.Future[bool]:
    """Request new metadata. The result says whether a broker answered."""
    return cast("asyncio.Future[bool]", asyncio.ensure_future(consumer._client.force_metadata_update()))


def replace_subscription(consumer: AIOKafkaConsumer, subscription: SubscriptionState) -> None:
    """Replace the subscription state. Only before the consumer starts."""
    consumer._subscription = subscription


def subscription(consumer: AIOKafkaConsumer) -> Any:
    """Return the subscription state."""
    return consumer._subscription


def assignment(consumer: AIOKafkaConsumer) -> Any:
    """Return the current assignment with the state of each partition, or None."""
    current = consumer._subscription.subscription
    return current.assignment if current is not None else None


def member_id(consumer: AIOKafkaConsumer) -> str:
    """Return the id that the group coordinator gave to this member."""
    return cast(str, consumer._coordinator.member_id)


def rejoin(consumer: AIOKafkaConsumer) -> None:
    """Join the group again."""
    consumer._coordinator.request_rejoin()


def end_error(consumer: AIOKafkaConsumer) -> KafkaError | None:
    """Return the error that ended fetching or group coordination. aiokafka raises it in `getmany()` only."""
    fetching = consumer._fetcher.error_future
    try:
        consumer._coordinator.check_errors()
        if fetching.done() and not consumer._closed:
            fetching.result()
    except KafkaError as error:
        return error
    return None


def fetcher(consumer: AIOKafkaConsumer) -> Any:
    """Return the fetcher, whose `fetched_records` can be cancelled without loss, unlike `getmany()`."""
    return consumer._fetcher


def is_closed(consumer: AIOKafkaConsumer) -> bool:
    """Whether nothing can be fetched any more."""
    return bool(consumer._closed or consumer._fetcher._closed)


def is_buffered(consumer: AIOKafkaConsumer, tp: tuple[str, int]) -> bool:
    """Whether fetched records of a partition wait to be read."""
    return tp in consumer._fetcher._records


def polling(consumer: AIOKafkaConsumer) -> AbstractContextManager[None]:
    """Return a context in which the consumer counts as polling, so that it remains a member of its group."""
    return cast("AbstractContextManager[None]", consumer._fetcher._subscriptions.fetch_context())


def max_poll_records(consumer: AIOKafkaConsumer) -> int | None:
    """Return the setting `max_poll_records`."""
    return cast("int | None", consumer._max_poll_records)


# -- producers


def sender_task(producer: AIOKafkaProducer) -> asyncio.Task[None] | None:
    """Return the background task that sends batches."""
    return cast("asyncio.Task[None] | None", producer._sender.sender_task)


def unsent_batches(producer: AIOKafkaProducer) -> list[Any]:
    """Return the batches that are not in a request yet."""
    return [batch for batches in producer._message_accumulator._batches.values() for batch in batches]


def sent_batches(producer: AIOKafkaProducer) -> set[Any]:
    """Return the set of batches in requests without a response yet."""
    return cast("set[Any]", producer._message_accumulator._pending_batches)


def fail_batches(producer: AIOKafkaProducer, error: Exception) -> None:
    """Fail all calls that wait for a batch, and drop the unsent batches."""
    producer._message_accumulator.fail_all(error)
    producer._message_accumulator._batches.clear()


def retrieve_exceptions(producer: AIOKafkaProducer, batches: Iterable[Any], *, transaction: bool = False) -> None:
    """Retrieve the exceptions of internal futures of these batches, and of the transaction if there is one.

    asyncio logs each exception that nobody retrieves.
    """
    futures = [batch._drain_waiter for batch in batches]
    if transaction:
        futures.append(producer._txn_manager.wait_for_transaction_end())
    for future in futures:
        if future is not None and future.done() and not future.cancelled():
            future.exception()
