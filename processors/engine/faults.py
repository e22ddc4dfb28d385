"""What to do when an attempt fails: wait for the world, or find the record at fault.

`retrying` waits in place, for ever, for faults of the world. `bisect` finds the items that an attempt can't take and
lets all others through. `FaultLimit` tells a few odd records from a bad deploy. Whatever is neither of the world nor of
a record is nobody's to handle: it ends the worker, and the records are read again.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Generic, TypeVar

from processors.engine.errors import RecordFault, TooManyFaults, WorldFault

T = TypeVar("T")
Item = TypeVar("Item")
Faults = tuple[type[Exception], ...]


class GivenUp(Exception):
    """The worker stops while the world is still at fault. The cause is the last fault."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """Waits that grow from `first_seconds` by `factor` up to `most_seconds`, each cut by up to half at random.

    The random part keeps workers that failed together from coming back together.
    """

    first_seconds: float = 0.1
    most_seconds: float = 10.0
    factor: float = 2.0

    def waits(self, chance: Callable[[], float] = random.random) -> Iterator[float]:
        seconds = self.first_seconds
        while True:
            yield seconds * (1 - chance() / 2)
            seconds = min(seconds * self.factor, self.most_seconds)


@dataclass(frozen=True, slots=True)
class Retry:
    """One wait: for a metric, a log line, and to excuse a stall."""

    fault: Exception
    attempts: int
    wait_seconds: float


async def retrying(
    attempt: Callable[[], Awaitable[T]],
    *,
    world: Faults = (WorldFault,),
    unclear: Faults = (),
    tries: int = 3,
    backoff: Backoff | None = None,
    stopping: asyncio.Event | None = None,
    on_retry: Callable[[Retry], None] | None = None,
) -> T:
    """Make the attempt until it succeeds, or fails in a way that waiting does not mend.

    Faults in `world` are waited out for ever. Faults in `unclear` (a store's error that is on no list) get `tries`
    attempts in a row and are then raised, to be bisected. Raises GivenUp once `stopping` is set during a wait.
    """
    waits = (backoff or Backoff()).waits()
    attempts = unclear_in_a_row = 0
    while True:
        attempts += 1
        try:
            return await attempt()
        except world as fault:
            unclear_in_a_row, last = 0, fault
        except unclear as fault:
            unclear_in_a_row, last = unclear_in_a_row + 1, fault
            if unclear_in_a_row >= tries:
                raise
        seconds = next(waits)
        if on_retry is not None:
            on_retry(Retry(last, attempts, seconds))
        if await _stopped_within(seconds, stopping):
            raise GivenUp from last


async def _stopped_within(seconds: float, stopping: asyncio.Event | None) -> bool:
    if stopping is None:
        await asyncio.sleep(seconds)
        return False
    try:
        async with asyncio.timeout(seconds):
            await stopping.wait()
    except TimeoutError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Fault(Generic[Item]):
    """An item that could not be taken, even alone, and why."""

    item: Item
    error: Exception

    @property
    def ours(self) -> bool:
        """Whether our own code raised. Malformed input is a RecordFault, and says nothing about our code."""
        return not isinstance(self.error, RecordFault)


async def bisect(
    items: Sequence[Item],
    attempt: Callable[[Sequence[Item]], Awaitable[object]],
    *,
    passing: Faults = (WorldFault, GivenUp),
) -> list[Fault[Item]]:
    """Attempt all items but those at fault, and return these, in order.

    The attempt must be idempotent: what failed as a whole is attempted again in halves. With k items at fault among
    n it takes at most 1 + 2k·⌈log2 n⌉ attempts. Exceptions in `passing` blame no item and are raised.
    """
    if not items:
        return []
    try:
        await attempt(items)
    except passing:
        raise
    except Exception as error:
        if len(items) == 1:
            return [Fault(items[0], error)]
    else:
        return []
    middle = (len(items) + 1) // 2
    left = await bisect(items[:middle], attempt, passing=passing)
    return left + await bisect(items[middle:], attempt, passing=passing)


class FaultLimit:
    """Counts the records on which our own code failed, and ends the worker when they are too many for chance."""

    def __init__(self, most: int = 100, within_seconds: float = 300.0, clock: Callable[[], float] = monotonic) -> None:
        self._most, self._within, self._clock = most, within_seconds, clock
        self._times: deque[float] = deque()

    def count(self, faults: Sequence[Fault[Item]]) -> None:
        """Take in these faults. Raises TooManyFaults; call it before they are dead-lettered and acknowledged."""
        now = self._clock()
        ours = [fault for fault in faults if fault.ours]
        self._times.extend(now for _ in ours)
        while self._times and now - self._times[0] > self._within:
            self._times.popleft()
        if ours and len(self._times) > self._most:
            last = ours[-1]
            raise TooManyFaults(
                f"our own code failed on {len(self._times)} records in {self._within:.0f} s, over the limit of "
                f"{self._most}; the last time with {last.error!r}",
                where=repr(last.item)[:200],
                mend="Roll back or mend the code; nothing of this group is acknowledged, so it is read again.",
            ) from last.error
