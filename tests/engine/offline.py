"""The real consumer, of ours and of aiokafka, without a broker: the test says what a fetch brings."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.consumer import fetcher
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.structs import OffsetAndMetadata

from processors.engine import TP, MicroBatchApp, internals
from processors.engine.assignment import SubscribedTopics
from processors.engine.transport import BatchConsumer, BatchThread
from tests.engine.building import FakeClock
from tests.engine.wire import a_batch, a_record

__all__ = ["P0", "OfflineFetcher", "OfflineThread", "an_app", "an_offline_consumer", "assign"]

P0 = TP("events", 0)


class OfflineCoordinator(GroupCoordinator):  # type: ignore[misc]  # aiokafka is untyped
    """A coordinator that does not look for its group's broker. Of every partition, `committed` is committed."""

    committed = 0

    async def _coordination_routine(self) -> None:
        await asyncio.Event().wait()

    async def fetch_committed_offsets(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, Any]:
        return {tp: OffsetAndMetadata(self.committed, "") for tp in partitions}


class OfflineFetcher(fetcher.Fetcher):  # type: ignore[misc]  # aiokafka is untyped
    """A fetcher that requests nothing: `arrive` does what the response to a request does."""

    async def _fetch_requests_routine(self) -> None:
        await asyncio.Event().wait()

    def arrive(self, first: int = 0) -> None:
        """Have a record of P0 arrive, at this offset."""
        records = MemoryRecords(a_batch(first, [a_record(0, b"k", b"v")]))
        self._records[P0] = fetcher.FetchResult(
            P0,
            assignment=self._subscriptions.subscription.assignment,
            partition_records=fetcher.PartitionRecords(P0, records, [], first, None, None, True, 0),
            backoff=0,
        )
        for waiter in self._fetch_waiters:
            self._notify(waiter)

    @property
    def arrived(self) -> set[TP]:
        """The partitions with records that were not taken yet."""
        return set(self._records)


@asynccontextmanager
async def an_offline_consumer() -> AsyncIterator[AIOKafkaConsumer]:
    """aiokafka's consumer as after its start, with the parts that this creates, but without a connection."""
    consumer = AIOKafkaConsumer(bootstrap_servers="127.0.0.1:1", group_id="group")
    internals.replace_subscription(consumer, SubscribedTopics())
    subscription = internals.subscription(consumer)
    subscription.subscribe({"events"})
    consumer._fetcher = OfflineFetcher(consumer._client, subscription)
    consumer._coordinator = OfflineCoordinator(consumer._client, subscription, group_id="group")
    yield consumer
    consumer._coordinator._coordination_task.cancel()
    await consumer._fetcher.close()
    await consumer._client.close()
    consumer._closed = True


def assign(consumer: AIOKafkaConsumer, position: int = 0) -> OfflineFetcher:
    """Assign P0 at a position, and return the fetcher."""
    internals.subscription(consumer).assign_from_subscribed([P0])
    consumer.seek(P0, position)
    found: OfflineFetcher = internals.fetcher(consumer)
    return found


def an_app(folder: Path, clock: FakeClock | None = None) -> MicroBatchApp:
    """An app that is not started."""
    return MicroBatchApp("contract", broker="kafka://127.0.0.1:1", datadir=folder, clock=clock or FakeClock())


class OfflineThread(BatchThread):
    """A consumer thread that has its consumer already, and runs in the loop of the test."""

    def __init__(self, ours: BatchConsumer, consumer: AIOKafkaConsumer) -> None:
        super().__init__(ours, loop=asyncio.get_running_loop())
        self._consumer = consumer
        self._wake, self._gather_until = asyncio.Event(), 0.0

    async def call_thread(self, function: Callable[..., Awaitable[Any]], *args: Any, **kwargs: Any) -> Any:
        return await function(*args, **kwargs)
