"""What to do when an attempt fails: retry, or find the record that causes it.

`retrying` retries transient errors in place, forever. `bisect` finds the items that an attempt fails on and processes
all others. `PoisonRecordDetector` distinguishes bad records from a sink that accepts nothing, and `FailureLimit` a few
bad records from a bad deploy. Any other error ends the worker, and the records are read again.
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

from processors.engine.clock import Clock
from processors.engine.errors import EveryRecordFails, RecordError, TooManyFailures, TransientDependencyError

T = TypeVar("T")
Item = TypeVar("Item")
ErrorTypes = tuple[type[Exception], ...]


class GivenUp(Exception):
    """The worker stops while it is still retrying a transient error. `__cause__` is the last error."""


@dataclass(frozen=True, slots=True)
class RetryBackoff:
    """Waits that grow from `first_seconds` by `factor` up to `most_seconds`, each shortened by up to half at random.

    The random part keeps workers that failed together from retrying together.
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
    """One retry: for a metric, a log line, and to pause the stall timer."""

    error: Exception
    attempts: int
    wait_seconds: float


async def retrying(
    attempt: Callable[[], Awaitable[T]],
    *,
    transient: ErrorTypes = (TransientDependencyError,),
    unclear: ErrorTypes = (),
    tries: int = 3,
    backoff: RetryBackoff | None = None,
    stopping: asyncio.Event | None = None,
    on_retry: Callable[[Retry], None] | None = None,
) -> T:
    """Repeat the attempt until it succeeds, or fails with an error that a retry does not fix.

    Errors in `transient` are retried forever. Errors in `unclear` (errors of a store that are not classified) get
    `tries` attempts in a row and are then raised, to be bisected. Raises GivenUp if `stopping` is set during a wait.
    """
    waits = (backoff or RetryBackoff()).waits()
    attempts = unclear_in_a_row = 0
    while True:
        attempts += 1
        try:
            return await attempt()
        except transient as error:
            unclear_in_a_row, last = 0, error
        except unclear as error:
            unclear_in_a_row, last = unclear_in_a_row + 1, error
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
class FailedItem(Generic[Item]):
    """An item that an attempt failed on, even alone, and the error."""

    item: Item
    error: Exception

    @property
    def ours(self) -> bool:
        """Whether our own code failed. Malformed input is a RecordError, which says nothing about our code."""
        return not isinstance(self.error, RecordError)


async def bisect(
    items: Sequence[Item],
    attempt: Callable[[Sequence[Item]], Awaitable[object]],
    *,
    passing: ErrorTypes = (TransientDependencyError, GivenUp),
    most: int | None = None,
) -> list[FailedItem[Item]]:
    """Attempt all items, and return those that fail by themselves, in order.

    The attempt must be idempotent: items that fail together are attempted again in halves. With k failing items among
    n it takes at most 1 + 2k·⌈log2 n⌉ attempts. Exceptions in `passing` are no item's fault and are raised. It stops
    after finding more than `most` failing items; some items may not have been attempted then.
    """
    if not items:
        return []
    try:
        await attempt(items)
    except passing:
        raise
    except Exception as error:
        if len(items) == 1:
            return [FailedItem(items[0], error)]
    else:
        return []
    middle = (len(items) + 1) // 2
    left = await bisect(items[:middle], attempt, passing=passing, most=most)
    if most is not None and len(left) > most:
        return left
    rest = None if most is None else most - len(left)
    return left + await bisect(items[middle:], attempt, passing=passing, most=rest)


class FailureLimit:
    """Counts the records on which our own code failed, and ends the worker when there are too many."""

    def __init__(self, most: int = 100, within_seconds: float = 300.0, clock: Clock = monotonic) -> None:
        self.most, self.within_seconds, self.clock = most, within_seconds, clock
        self._times: deque[float] = deque()

    def remember(self, seconds_ago: Iterable[float]) -> None:
        """Count records that were dead-lettered before this process started: a crash loop must not reset the limit."""
        now = self.clock()
        self._times = deque(sorted([*self._times, *(now - seconds for seconds in seconds_ago)]))

    def count(self, failures: Sequence[FailedItem[Item]]) -> None:
        """Count these failures. Raises TooManyFailures. Call it before they are dead-lettered and acknowledged."""
        now = self.clock()
        ours = [failed for failed in failures if failed.ours]
        self._times.extend(now for _ in ours)
        while self._times and now - self._times[0] > self.within_seconds:
            self._times.popleft()
        if ours and len(self._times) > self.most:
            last = ours[-1]
            raise TooManyFailures(
                f"our own code failed on {len(self._times)} records in {self.within_seconds:.0f} s, over the limit "
                f"of {self.most}; the last time with {describe_error(last.error)}",
                where=describe_position(last.item),
                mend="Roll back or fix the code. Nothing of this group is acknowledged, so it is read again. Dead "
                "letters of the last minutes are also counted after a restart.",
            ) from last.error


ProvingAttempt = Callable[[Sequence[Item]], Awaitable[Iterable[Item]]]
"""Attempts items, and returns those that were processed completely: they prove that their kind can be processed. It
must be idempotent."""


class PoisonRecordDetector(Generic[Item]):
    """Finds the items that an attempt fails on, and decides whether they or the sink are at fault.

    An item is blamed only if another of its kind succeeds: one in the same call, or the last one that succeeded
    earlier, which is attempted once more as a check. If no item of a kind succeeds, the items may be fine (a store
    refuses everything, a release can't read the topic): EveryRecordFails is raised, and the items wait. If the process
    has not seen another item of the kind yet, the item waits for `suspect_seconds` and is blamed then, because a bad
    first record must not stop a worker forever. Several such items, with no success beside them, keep waiting.
    """

    def __init__(
        self,
        kind: Callable[[Item], Hashable],
        limit: FailureLimit,
        *,
        passing: ErrorTypes = (TransientDependencyError, GivenUp),
        suspect_seconds: float = 120.0,
    ) -> None:
        self._kind, self._limit, self._passing = kind, limit, passing
        self._suspect_seconds, self._clock = suspect_seconds, limit.clock
        self._known_good: dict[Hashable, Item] = {}
        self._suspected_since: dict[Hashable, float] = {}

    def mark_good(self, items: Iterable[Item]) -> None:
        """Remember one successful item of each kind. It is kept in memory, so pass small ones."""
        for item in items:
            kind = self._kind(item)
            self._known_good[kind] = item
            self._suspected_since.pop(kind, None)

    async def find(self, items: Sequence[Item], attempt: ProvingAttempt[Item]) -> list[FailedItem[Item]]:
        """Attempt all items, and return those at fault. Raises EveryRecordFails and TooManyFailures."""
        passed: list[Item] = []

        async def attempt_and_note(some: Sequence[Item]) -> None:
            passed.extend(await attempt(some))

        for kind in {self._kind(item) for item in items}:  # first: if it fails, the rest need not be attempted
            if (failed := await self._known_good_failure(kind, attempt)) is not None:
                raise self._every_record_fails(kind, failed)
        failures = await bisect(items, attempt_and_note, passing=self._passing, most=self._limit.most)
        await self.confirm(failures, passed, attempt)
        return failures

    async def confirm(
        self, failures: Sequence[FailedItem[Item]], passed: Iterable[Item], attempt: ProvingAttempt[Item]
    ) -> None:
        """Return if the items themselves are at fault. Raises EveryRecordFails and TooManyFailures.

        `passed` are items that succeeded in the same call.
        """
        suspects = {self._kind(failed.item): failed for failed in failures if failed.ours}
        several = {kind for kind, count in Counter(self._kind(f.item) for f in failures if f.ours).items() if count > 1}
        passed = list(passed)
        for kind in {self._kind(item) for item in passed} & suspects.keys():
            self._suspected_since.pop(kind, None)
            del suspects[kind]
        for kind, failed in suspects.items():
            if kind in self._known_good:
                if (good_failed := await self._known_good_failure(kind, attempt)) is not None:
                    raise self._every_record_fails(kind, good_failed)
            elif self._clock() - self._suspected_since.setdefault(kind, self._clock()) < self._suspect_seconds or (
                kind in several and not passed
            ):
                raise self._every_record_fails(kind, failed)
            self._suspected_since.pop(kind, None)
        self._limit.count(failures)

    async def _known_good_failure(self, kind: Hashable, attempt: ProvingAttempt[Item]) -> FailedItem[Item] | None:
        """Attempt the known good item of this kind again. Return its failure; None if it succeeds or does not exist."""
        if kind not in self._known_good:
            return None
        try:
            await attempt([self._known_good[kind]])
        except self._passing:
            raise
        except Exception as error:
            return FailedItem(self._known_good[kind], error)
        return None

    def _every_record_fails(self, kind: Hashable, failed: FailedItem[Item]) -> EveryRecordFails:
        again = "one that succeeded before fails now" if kind in self._known_good else "none has succeeded yet"
        raised = EveryRecordFails(
            f"every record of {kind} fails ({again}), so no record is blamed: {describe_error(failed.error)}",
            where=describe_position(failed.item),
            mend="Check what the error names: permissions and tables of the store, or our last release. The records "
            "stay unacknowledged and are retried.",
        )
        raised.__cause__ = failed.error
        return raised


def describe_error(error: BaseException) -> str:
    """Return the type of an error and where it was raised. Its text is omitted unless it is one of our own errors: it
    may contain a part of a record."""
    if hasattr(error, "mend"):
        return str(error)[:500]
    frames = traceback.extract_tb(error.__traceback__)
    where = f", raised at {'/'.join(Path(frames[-1].filename).parts[-3:])}:{frames[-1].lineno}" if frames else ""
    return type(error).__name__ + where


def describe_position(item: object) -> str:
    """Return topic, partition and offset of a record, never its content."""
    if hasattr(item, "topic") and hasattr(item, "partition") and hasattr(item, "offset"):
        return f"{item.topic} partition {item.partition} offset {item.offset}"
    return repr(item)[:200]
