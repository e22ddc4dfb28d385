"""Continuous traffic for a demo: messages of the last day at once, then new ones whose events follow within seconds.

In:  a gateway and a broker, which may be unavailable at times.
Out: records and posts, until `stop` is set.
Promise: an unavailable gateway or broker does not end it. What could not be sent waits in short queues; while they are
full, no new messages are generated. A record may be written twice, which readers accept.
"""

import asyncio
import heapq
import os
import time
from collections.abc import Iterator
from typing import Final, TypeVar

import structlog

from schemas.errors import BrokerError, RequestError
from schemas.kafka_connection import KafkaAddress
from schemas.log_events import LogEvent
from simulator.durations import DAY, SECOND
from simulator.http import Poster
from simulator.kafka import producer, send
from simulator.messages import PlanOptions, live_messages
from simulator.plan import Delivery, Plan, body_of, plan
from simulator.providers import PROVIDERS
from simulator.providers.emitter import EventDelivery
from simulator.sending import LONGEST_PAUSE_SECONDS, Barrier, retry_pauses

__all__ = ["LiveTraffic", "live"]

PER_SECOND: Final = 5
ACCOUNT: Final = "demo"
BURST_MESSAGES: Final = 400
BURST_RARE_EVERY: Final = 3
OTHER_ACCOUNT: Final = "acme"
"""The second account of the burst: multi-message scenarios show that opt-outs of one account do not affect another."""
TICK_SECONDS: Final = 0.2
EVENTS_IN_A_POST: Final = 15
KEPT_BACK_US: Final = 1 * SECOND
ACKNOWLEDGED_WITHIN_SECONDS: Final = 20.0
POSTERS: Final = 4
DUPLICATE_EVERY: Final = 32

_T = TypeVar("_T", Delivery, bytes)

log = structlog.get_logger()


async def live(
    poster: Poster,
    bootstrap: KafkaAddress,
    *,
    stop: asyncio.Event,
    decides: bool,
    barrier: Barrier,
) -> None:
    """Send until `stop` is set: first a few hundred messages of the last day, then `PER_SECOND` new ones per second.

    `barrier` is awaited between the stages of the first ones, so that they contain every decision of a gate.
    """
    traffic = LiveTraffic(int.from_bytes(os.urandom(6), "big"), decides=decides)
    records: asyncio.Queue[Delivery] = asyncio.Queue(maxsize=500)
    posts: asyncio.Queue[Delivery] = asyncio.Queue(maxsize=50)
    async with poster, asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(_write(bootstrap, records)),
            *(group.create_task(_post(poster, posts)) for _ in range(POSTERS)),
            group.create_task(_generate(traffic, records, posts, barrier)),
        ]
        log.info(LogEvent.DEMO_STARTED, accounts=[ACCOUNT], per_second=PER_SECOND)
        await stop.wait()
        for task in tasks:
            task.cancel()
    log.info(LogEvent.DEMO_STOPPED)


async def _generate(
    traffic: "LiveTraffic",
    records: asyncio.Queue[Delivery],
    posts: asyncio.Queue[Delivery],
    barrier: Barrier,
) -> None:
    """Generate the traffic, and put each delivery into its queue when it is due."""
    for stage in traffic.burst(_now_us()).stages:
        for delivery in stage:
            await (posts if delivery.kind == "post" else records).put(delivery)
        await records.join()
        await posts.join()
        await barrier()
    credit = 0.0
    while True:
        credit = min(credit + PER_SECOND * TICK_SECONDS, PER_SECOND)  # no burst after a pause
        while credit >= 1:
            credit -= 1
            traffic.begin(_now_us())
        for delivery in traffic.due_records(_now_us()):
            await records.put(delivery)
        for delivery in traffic.due_posts(_now_us()):
            await posts.put(delivery)
        await asyncio.sleep(TICK_SECONDS)


class LiveTraffic:
    """Messages that were started, and their records and posts that are not due yet."""

    def __init__(self, seed: int, *, decides: bool = True) -> None:
        self._seed = seed
        self._decides = decides
        self._begun = 0
        self._records: list[tuple[int, int, Delivery]] = []
        self._posts: list[tuple[int, int, Delivery]] = []
        self._elements: list[tuple[int, int, bytes]] = []
        """Elements for the one provider that posts lists."""
        self._number = 0

    def burst(self, now_us: int) -> Plan:
        """Return messages of the last day."""
        options = PlanOptions(now_us, (ACCOUNT, OTHER_ACCOUNT), DAY, BURST_RARE_EVERY, self._decides)
        return plan(BURST_MESSAGES, self._seed, options)

    def begin(self, now_us: int) -> None:
        """Start one more message, or the two of one API call."""
        for message in live_messages(self._begun, self._seed, now_us=now_us, account=ACCOUNT, decides=self._decides):
            self._begun += 1
            for record in message.records:
                self._add(self._records, record.at_us, Delivery(record.kind, record.at_us, record.key, record.value))
            for event_delivery in message.event_deliveries:
                twice = self._number % DUPLICATE_EVERY == 0
                self._add_event(message.provider, event_delivery, event_delivery.at_us)
                if twice:
                    self._add_event(message.provider, event_delivery, event_delivery.at_us + 5 * SECOND)

    def due_records(self, now_us: int) -> Iterator[Delivery]:
        """Yield the records that are due."""
        while self._records and self._records[0][0] <= now_us:
            yield heapq.heappop(self._records)[2]

    def due_posts(self, now_us: int) -> Iterator[Delivery]:
        """Yield the posts that are due. Elements are held back briefly until they fill a post."""
        while self._posts and self._posts[0][0] <= now_us:
            yield heapq.heappop(self._posts)[2]
        while self._elements and self._elements[0][0] <= now_us:
            due = sum(at_us <= now_us for at_us, _, _ in self._elements)
            if due < EVENTS_IN_A_POST and self._elements[0][0] > now_us - KEPT_BACK_US:
                return
            batch = [heapq.heappop(self._elements)[2] for _ in range(min(due, EVENTS_IN_A_POST))]
            yield Delivery("post", now_us, "", body_of(batch), len(batch))

    def _add_event(self, provider: str, event: EventDelivery, at_us: int) -> None:
        if PROVIDERS[provider].posts_lists:
            self._add(self._elements, at_us, event.value)
        else:
            post = Delivery("post", at_us, "", event.value, provider=provider, query=event.query)
            self._add(self._posts, at_us, post)

    def _add(self, heap: list[tuple[int, int, _T]], at_us: int, item: _T) -> None:
        self._number += 1  # unique, so that the items in the heap are never compared
        heapq.heappush(heap, (at_us, self._number, item))


async def _write(bootstrap: KafkaAddress, records: asyncio.Queue[Delivery]) -> None:
    """Write the records of the queue; after a failure, write again those that were not acknowledged."""
    batch: list[Delivery] = []
    pauses = retry_pauses()
    while True:
        try:
            async with producer(bootstrap) as kafka:
                while True:
                    batch = batch or [await records.get()]
                    while len(batch) < 100 and not records.empty():
                        batch.append(records.get_nowait())
                    async with asyncio.timeout(ACKNOWLEDGED_WITHIN_SECONDS):
                        await asyncio.gather(*[await send(kafka, delivery) for delivery in batch])
                    for _ in batch:
                        records.task_done()
                    batch = []
                    pauses = retry_pauses()
        except (BrokerError, TimeoutError, OSError) as error:
            pause = next(pauses)
            log.warning(LogEvent.DEMO_KAFKA_UNAVAILABLE, error=type(error).__name__, pause_seconds=pause)
            await asyncio.sleep(pause)


async def _post(poster: Poster, posts: asyncio.Queue[Delivery]) -> None:
    """Send the posts of the queue; the poster retries until the gateway accepts them."""
    while True:
        delivery = await posts.get()
        try:
            await poster.post(delivery)
        except RequestError as error:
            # A person must act; a stack trace would not help.
            log.error(LogEvent.DEMO_POST_REFUSED, error=error.what, mend=error.mend)  # noqa: TRY400
            await asyncio.sleep(LONGEST_PAUSE_SECONDS)
        posts.task_done()


def _now_us() -> int:
    return time.time_ns() // 1000
