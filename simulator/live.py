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
from simulator.durations import DAY, SECOND
from simulator.http import Poster
from simulator.kafka import producer, send
from simulator.posts import Delivery, Plan, body_of, plan
from simulator.providers import PROVIDERS
from simulator.sending import Settled, at_once
from simulator.stories import Setting, stories_from_now

__all__ = ["Trickle", "live"]

BURST_MESSAGES: Final = 400
BURST_RARE_EVERY: Final = 3
OTHER_ACCOUNT: Final = "acme"
"""What somebody wants of one account is no matter of another: there are two in the burst."""
TICK_SECONDS: Final = 0.2
EVENTS_IN_A_POST: Final = 15
KEPT_BACK_US: Final = 1 * SECOND
ACKNOWLEDGED_WITHIN_SECONDS: Final = 20.0
LONGEST_PAUSE_SECONDS: Final = 10.0
POSTERS: Final = 4

_T = TypeVar("_T", Delivery, bytes)

log = structlog.get_logger()


async def live(
    poster: Poster,
    bootstrap: str,
    *,
    per_second: float = 5,
    accounts: Sequence[str] = ("demo",),
    stop: asyncio.Event,
    seed: int | None = None,
    decides: bool = True,
    settled: Settled = at_once,
) -> None:
    """Send until `stop` is set: first some hundred messages of the last day, then `per_second` new ones a second.

    Between two chapters of the first `settled` is awaited, so that it shows all that a gate can say.
    """
    seed = int.from_bytes(os.urandom(6), "big") if seed is None else seed
    facts: asyncio.Queue[Delivery] = asyncio.Queue(maxsize=500)
    posts: asyncio.Queue[Delivery] = asyncio.Queue(maxsize=50)
    async with poster, asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(_write(bootstrap, facts)),
            *(group.create_task(_post(poster, posts)) for _ in range(POSTERS)),
            group.create_task(_tell(Trickle(seed, accounts, decides=decides), per_second, facts, posts, settled)),
        ]
        log.info("demo.started", accounts=list(accounts), per_second=per_second)
        await stop.wait()
        for task in tasks:
            task.cancel()
    log.info("demo.stopped")


async def _tell(
    trickle: "Trickle",
    per_second: float,
    facts: asyncio.Queue[Delivery],
    posts: asyncio.Queue[Delivery],
    settled: Settled,
) -> None:
    """Make the traffic, each part when it is due."""
    for chapter in trickle.burst(_now_us()).chapters:
        for delivery in chapter:
            await (posts if delivery.kind == "post" else facts).put(delivery)
        await facts.join()
        await posts.join()
        await settled()
    owed = 0.0
    while True:
        owed = min(owed + per_second * TICK_SECONDS, per_second)  # after a stand-still: no flood
        while owed >= 1:
            owed -= 1
            trickle.begin(_now_us())
        for delivery in trickle.due_facts(_now_us()):
            await facts.put(delivery)
        for delivery in trickle.due_posts(_now_us()):
            await posts.put(delivery)
        await asyncio.sleep(TICK_SECONDS)


class Trickle:
    """Messages that have begun, and what is still to be told about them."""

    def __init__(self, seed: int, accounts: Sequence[str], *, decides: bool = True) -> None:
        self._seed = seed
        self._accounts = accounts
        self._decides = decides
        self._begun = 0
        self._facts: list[tuple[int, int, Delivery]] = []
        self._posts: list[tuple[int, int, Delivery]] = []
        self._elements: list[tuple[int, int, bytes]] = []
        """For the one provider that posts lists."""
        self._number = 0

    def burst(self, now_us: int) -> Plan:
        """Return messages of the last day."""
        accounts = [*self._accounts, OTHER_ACCOUNT]
        setting = Setting(now_us, accounts, DAY, BURST_RARE_EVERY, self._decides)
        return plan(BURST_MESSAGES, self._seed, setting)

    def begin(self, now_us: int) -> None:
        """Begin one more message, or two in one call."""
        account = self._accounts[self._begun % len(self._accounts)]
        for story in stories_from_now(self._begun, self._seed, now_us=now_us, account=account, decides=self._decides):
            self._begun += 1
            for fact in story.facts:
                self._add(self._facts, fact.at_us, Delivery(fact.kind, fact.at_us, fact.key, fact.value))
            for telling in story.tellings:
                for at_us in (telling.at_us, telling.at_us + 5 * SECOND)[: 2 if self._number % 32 == 0 else 1]:
                    self._tell(story.provider, at_us, telling.value, telling.query)

    def due_facts(self, now_us: int) -> Iterator[Delivery]:
        """Yield the records whose time has come."""
        while self._facts and self._facts[0][0] <= now_us:
            yield heapq.heappop(self._facts)[2]

    def due_posts(self, now_us: int) -> Iterator[Delivery]:
        """Yield the posts whose time has come; a few elements are kept back until they fill one."""
        while self._posts and self._posts[0][0] <= now_us:
            yield heapq.heappop(self._posts)[2]
        while self._elements and self._elements[0][0] <= now_us:
            due = sum(at_us <= now_us for at_us, _, _ in self._elements)
            if due < EVENTS_IN_A_POST and self._elements[0][0] > now_us - KEPT_BACK_US:
                return
            taken = [heapq.heappop(self._elements)[2] for _ in range(min(due, EVENTS_IN_A_POST))]
            yield Delivery("post", now_us, "", body_of(taken), len(taken))

    def _tell(self, provider: str, at_us: int, value: bytes, query: str) -> None:
        if PROVIDERS[provider].posts_lists:
            self._add(self._elements, at_us, value)
        else:
            self._add(self._posts, at_us, Delivery("post", at_us, "", value, provider=provider, query=query))

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
                        await asyncio.gather(*[await send(kafka, delivery) for delivery in taken])
                    for _ in taken:
                        facts.task_done()
                    taken = []
                    pause = 0.5
        except (BrokerError, TimeoutError, OSError) as error:
            log.warning("demo.kafka_missed", error=type(error).__name__, pause_seconds=pause)
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)


async def _post(poster: Poster, posts: asyncio.Queue[Delivery]) -> None:
    """Send what is in the queue; the poster tries until the gateway takes it."""
    while True:
        delivery = await posts.get()
        try:
            await poster.post(delivery)
        except RequestError as error:
            # A person is needed, and a stack trace would tell them nothing.
            log.error("demo.post_refused", error=error.what, mend=error.mend)  # noqa: TRY400
            await asyncio.sleep(LONGEST_PAUSE_SECONDS)
        posts.task_done()


def _now_us() -> int:
    return time.time_ns() // 1000
