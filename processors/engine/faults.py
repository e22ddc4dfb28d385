"""What to do when an attempt fails: wait for the world, or find the record at fault.

`retrying` waits in place, for ever, for faults of the world. `bisect` finds the items that an attempt can't take and
lets all others through. `Blame` tells records at fault from a sink that takes nothing, and `FaultLimit` a few odd
records from a bad deploy. Whatever is neither of the world nor of a record is nobody's to handle: it ends the worker,
and the records are read again.
"""

from __future__ import annotations

import asyncio
import random
import traceback
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Generic, TypeVar

from processors.engine.errors import EveryRecordFails, RecordFault, TooManyFaults, WorldFault

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
    most: int | None = None,
) -> list[Fault[Item]]:
    """Attempt all items but those at fault, and return these, in order.

    The attempt must be idempotent: what failed as a whole is attempted again in halves. With k items at fault among
    n it takes at most 1 + 2k·⌈log2 n⌉ attempts. Exceptions in `passing` blame no item and are raised. Once more than
    `most` items are found it stops: that many say all that is to say, and some items are not attempted then.
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
    left = await bisect(items[:middle], attempt, passing=passing, most=most)
    if most is not None and len(left) > most:
        return left
    rest = None if most is None else most - len(left)
    return left + await bisect(items[middle:], attempt, passing=passing, most=rest)


class FaultLimit:
    """Counts the records on which our own code failed, and ends the worker when they are too many for chance."""

    def __init__(self, most: int = 100, within_seconds: float = 300.0, clock: Callable[[], float] = monotonic) -> None:
        self.most, self.within_seconds, self._clock = most, within_seconds, clock
        self._times: deque[float] = deque()

    def remember(self, seconds_ago: Iterable[float]) -> None:
        """Count what was dead-lettered before this process began, so that a crash loop does not start from nothing."""
        now = self._clock()
        self._times = deque(sorted([*self._times, *(now - seconds for seconds in seconds_ago)]))

    def count(self, faults: Sequence[Fault[Item]]) -> None:
        """Take in these faults. Raises TooManyFaults; call it before they are dead-lettered and acknowledged."""
        now = self._clock()
        ours = [fault for fault in faults if fault.ours]
        self._times.extend(now for _ in ours)
        while self._times and now - self._times[0] > self.within_seconds:
            self._times.popleft()
        if ours and len(self._times) > self.most:
            last = ours[-1]
            raise TooManyFaults(
                f"our own code failed on {len(self._times)} records in {self.within_seconds:.0f} s, over the limit "
                f"of {self.most}; the last time with {described(last.error)}",
                where=where_is(last.item),
                mend="Roll back or mend the code; nothing of this group is acknowledged, so it is read again. Dead "
                "letters of the last minutes are counted at a restart, too.",
            ) from last.error


Proving = Callable[[Sequence[Item]], Awaitable[Iterable[Item]]]
"""Attempts items, and returns those that went all the way: what proves that their kind can be taken. It must be
idempotent."""


class Blame(Generic[Item]):
    """Finds the items that an attempt can't take, and says whether they are at fault or what should take them.

    An item is blamed only where another of its kind goes through: one beside it, or the last that did so earlier, which
    is attempted once more for this. Where nothing of a kind goes through, the items may be as good as any (a store that
    refuses all, a deploy that reads none): EveryRecordFails is raised, and they wait. An item that nothing can speak
    against, since a process has seen no other of its kind yet, waits for `hold_seconds` and is blamed then: a first
    record must not stop a worker for ever. Several such, beside which nothing else goes through, go on waiting.
    """

    def __init__(
        self,
        kind: Callable[[Item], Hashable],
        limit: FaultLimit,
        *,
        passing: Faults = (WorldFault, GivenUp),
        hold_seconds: float = 120.0,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._kind, self._limit, self._passing = kind, limit, passing
        self._hold_seconds, self._clock = hold_seconds, clock
        self._proofs: dict[Hashable, Item] = {}
        self._held_since: dict[Hashable, float] = {}

    def went_through(self, items: Iterable[Item]) -> None:
        """Remember one item of each kind. It is kept in memory, so give small ones."""
        for item in items:
            kind = self._kind(item)
            self._proofs[kind] = item
            self._held_since.pop(kind, None)

    async def find(self, items: Sequence[Item], attempt: Proving[Item]) -> list[Fault[Item]]:
        """Attempt all items but those at fault, and return these. Raises EveryRecordFails and TooManyFaults."""
        passed: list[Item] = []

        async def noting(some: Sequence[Item]) -> None:
            passed.extend(await attempt(some))

        for kind in {self._kind(item) for item in items}:  # first: where it fails, there is no need to look further
            if (fault := await self._proof_fault(kind, attempt)) is not None:
                raise self._every_record_fails(kind, fault)
        faults = await bisect(items, noting, passing=self._passing, most=self._limit.most)
        await self.judge(faults, passed, attempt)
        return faults

    async def judge(self, faults: Sequence[Fault[Item]], passed: Iterable[Item], attempt: Proving[Item]) -> None:
        """Return if these faults are their items' own. Raises EveryRecordFails and TooManyFaults.

        `passed` are items that went through beside them.
        """
        suspects = {self._kind(fault.item): fault for fault in faults if fault.ours}
        several = {kind for kind, count in Counter(self._kind(f.item) for f in faults if f.ours).items() if count > 1}
        passed = list(passed)
        for kind in {self._kind(item) for item in passed} & suspects.keys():
            self._held_since.pop(kind, None)
            del suspects[kind]
        for kind, fault in suspects.items():
            if kind in self._proofs:
                if (failed := await self._proof_fault(kind, attempt)) is not None:
                    raise self._every_record_fails(kind, failed)
            elif self._clock() - self._held_since.setdefault(kind, self._clock()) < self._hold_seconds or (
                kind in several and not passed
            ):
                raise self._every_record_fails(kind, fault)
            self._held_since.pop(kind, None)
        self._limit.count(faults)

    async def _proof_fault(self, kind: Hashable, attempt: Proving[Item]) -> Fault[Item] | None:
        """Return how the item fails that went through before, or None where it still goes through, or there is none."""
        if kind not in self._proofs:
            return None
        try:
            await attempt([self._proofs[kind]])
        except self._passing:
            raise
        except Exception as error:
            return Fault(self._proofs[kind], error)
        return None

    def _every_record_fails(self, kind: Hashable, fault: Fault[Item]) -> EveryRecordFails:
        again = "one that went through before fails now" if kind in self._proofs else "none has gone through yet"
        raised = EveryRecordFails(
            f"nothing of {kind} goes through ({again}), so no record is blamed: {described(fault.error)}",
            where=where_is(fault.item),
            mend="Look at what the error names: the store's rights and tables, or a new release of ours. The records "
            "wait where they are, and are tried again.",
        )
        raised.__cause__ = fault.error
        return raised


def described(error: BaseException) -> str:
    """Say which error it is, and where it was raised. Its text is left out unless it is made for people: it may hold a
    piece of a record."""
    if hasattr(error, "mend"):
        return str(error)[:500]
    frames = traceback.extract_tb(error.__traceback__)
    where = f", raised at {'/'.join(Path(frames[-1].filename).parts[-3:])}:{frames[-1].lineno}" if frames else ""
    return type(error).__name__ + where


def where_is(item: object) -> str:
    """Say where a record stands, and never what it holds."""
    if hasattr(item, "topic") and hasattr(item, "partition") and hasattr(item, "offset"):
        return f"{item.topic} partition {item.partition} offset {item.offset}"
    return repr(item)[:200]
