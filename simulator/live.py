"""Endless traffic for a demo: a day's worth of messages at once, then a trickle whose events follow in seconds.

In:  a gateway and a broker, which may come and go.
Out: records and POSTs, until `stop` is set.
Promise: nothing that is away ends it. What could not be sent waits in place, in short queues; while they are full no
new messages are made. A record may be written twice, and readers take that.
"""

import asyncio
import heapq
import os
import time
from collections.abc import Iterator, Sequence
from typing import Final, TypeVar

import structlog

from schemas.errors import BrokerError, RequestError
from schemas.times import DAY_US
from simulator.http import Poster
from simulator.kafka import producer, send
from simulator.posts import Delivery, body_of, plan
from simulator.scripts import SECOND
from simulator.stories import Element, story_from_now

__all__ = ["Trickle", "live"]

BURST_MESSAGES: Final = 200
BURST_RARE_EVERY: Final = 4
TICK_SECONDS: Final = 0.2
EVENTS_IN_A_POST: Final = 15
KEPT_BACK_US: Final = 1 * SECOND
ACKNOWLEDGED_WITHIN_SECONDS: Final = 20.0
LONGEST_PAUSE_SECONDS: Final = 10.0

_T = TypeVar("_T", Delivery, Element)

log = structlog.get_logger()


async def live(
    url: str,
    private_key: str,
    bootstrap: str,
    *,
    per_second: float = 5,
    accounts: Sequence[str] = ("demo",),
    stop: asyncio.Event,
    seed: int | None = None,
) -> None:
    """Send until `stop` is set: first about 200 messages of the last day, then `per_second` new ones a second."""
    seed = int.from_bytes(os.urandom(6), "big") if seed is None else seed
    facts: asyncio.Queue[Delivery] = asyncio.Queue(maxsize=500)
    posts: asyncio.Queue[bytes] = asyncio.Queue(maxsize=50)
    async with Poster(url, private_key, patience_seconds=None, concurrency=4) as poster, asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(_write(bootstrap, facts)),
            *(group.create_task(_post(poster, posts)) for _ in range(4)),
            group.create_task(_tell(seed, accounts, per_second, facts, posts)),
        ]
        log.info("demo.started", accounts=list(accounts), per_second=per_second)
        await stop.wait()
        for task in tasks:
            task.cancel()
    log.info("demo.stopped")


async def _tell(
    seed: int,
    accounts: Sequence[str],
    per_second: float,
    facts: asyncio.Queue[Delivery],
    posts: asyncio.Queue[bytes],
) -> None:
    """Make the traffic, each part when it is due."""
    burst = plan(
        BURST_MESSAGES, seed, now_us=_now_us(), accounts=accounts, spread_us=DAY_US, rare_every=BURST_RARE_EVERY
    )
    for delivery in burst.deliveries:
        if delivery.kind == "post":
            await posts.put(delivery.value)
        else:
            await facts.put(delivery)
    trickle = Trickle(seed, accounts)
    owed = 0.0
    while True:
        owed = min(owed + per_second * TICK_SECONDS, per_second)  # after a stand-still: no flood
        while owed >= 1:
            owed -= 1
            trickle.begin(_now_us())
        for delivery in trickle.due_facts(_now_us()):
            await facts.put(delivery)
        for body in trickle.due_posts(_now_us()):
            await posts.put(body)
        await asyncio.sleep(TICK_SECONDS)


class Trickle:
    """Messages that have begun, and what is still to be told about them."""

    def __init__(self, seed: int, accounts: Sequence[str]) -> None:
        self._seed = seed
        self._accounts = accounts
        self._begun = 0
        self._facts: list[tuple[int, int, Delivery]] = []
        self._elements: list[tuple[int, int, Element]] = []
        self._number = 0

    def begin(self, now_us: int) -> None:
        """Begin one more message."""
        account = self._accounts[self._begun % len(self._accounts)]
        story = story_from_now(self._begun, self._seed, now_us=now_us, account=account)
        self._begun += 1
        for fact in story.requests:
            self._add(self._facts, fact.at_us, Delivery("request", fact.at_us, story.message_id, fact.value))
        if story.decision:
            fact = story.decision
            self._add(self._facts, fact.at_us, Delivery("decision", fact.at_us, story.message_id, fact.value))
        for element in story.elements:
            self._add(self._elements, element.at_us, element)
            if self._number % 32 == 0:  # told twice
                self._add(self._elements, element.at_us + 5 * SECOND, element)

    def due_facts(self, now_us: int) -> Iterator[Delivery]:
        """Yield the requests and decisions whose time has come."""
        while self._facts and self._facts[0][0] <= now_us:
            yield heapq.heappop(self._facts)[2]

    def due_posts(self, now_us: int) -> Iterator[bytes]:
        """Yield bodies of the elements whose time has come; a few are kept back until they fill a POST."""
        while self._elements and self._elements[0][0] <= now_us:
            due = sum(at_us <= now_us for at_us, _, _ in self._elements)
            if due < EVENTS_IN_A_POST and self._elements[0][0] > now_us - KEPT_BACK_US:
                return
            taken = [heapq.heappop(self._elements)[2] for _ in range(min(due, EVENTS_IN_A_POST))]
            yield body_of([element.value for element in taken])

    def _add(self, heap: list[tuple[int, int, _T]], at_us: int, what: _T) -> None:
        self._number += 1  # no two are equal, so that what is in the heap is never compared
        heapq.heappush(heap, (at_us, self._number, what))


async def _write(bootstrap: str, facts: asyncio.Queue[Delivery]) -> None:
    """Write what is in the queue; after a failure write again what was not acknowledged."""
    taken: list[Delivery] = []
    pause = 0.5
    while True:
        try:
            async with producer(bootstrap) as kafka:
                while True:
                    taken = taken or [await facts.get()]
                    while len(taken) < 100 and not facts.empty():
                        taken.append(facts.get_nowait())
                    async with asyncio.timeout(ACKNOWLEDGED_WITHIN_SECONDS):
                        await asyncio.gather(*[await send(kafka, delivery, None) for delivery in taken])
                    taken = []
                    pause = 0.5
        except (BrokerError, TimeoutError, OSError) as error:
            log.warning("demo.kafka_missed", error=type(error).__name__, pause_seconds=pause)
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)


async def _post(poster: Poster, posts: asyncio.Queue[bytes]) -> None:
    """Send what is in the queue; the poster tries until the gateway takes it."""
    while True:
        body = await posts.get()
        try:
            await poster.post(body)
        except RequestError as error:
            # A person is needed, and a stack trace would tell them nothing.
            log.error("demo.post_refused", error=error.what, mend=error.mend)  # noqa: TRY400
            await asyncio.sleep(LONGEST_PAUSE_SECONDS)


def _now_us() -> int:
    return time.time_ns() // 1000
