"""Shared by all ways of sending: the barriers, the waits between attempts, the progress, and the result."""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from simulator.plan import Delivery

__all__ = ["LONGEST_PAUSE_SECONDS", "Barrier", "Progress", "ProgressMeter", "Sent", "no_barrier", "retry_pauses"]

Progress = Callable[[int, int], None]
"""Called with the number of records and elements sent, and their total."""
Barrier = Callable[[], Awaitable[None]]
"""Returns when the gate has read everything sent so far, and everything that followed from it."""

LONGEST_PAUSE_SECONDS: Final = 5.0


async def no_barrier() -> None:
    """Do not wait: the plan contains its decisions."""


def retry_pauses() -> Iterator[float]:
    """Yield the seconds to wait before each further attempt."""
    pause = 0.25
    while True:
        yield pause
        pause = min(pause * 2, LONGEST_PAUSE_SECONDS)


@dataclass(slots=True)
class Sent:
    """What was acknowledged."""

    records: Counter[str] = field(default_factory=Counter)
    """Records of our own topics, by kind."""
    posts: Counter[str] = field(default_factory=Counter)
    """Posts by provider."""
    retries: int = 0
    """Posts sent again because the gateway or the connection failed."""

    def count(self, delivery: Delivery) -> None:
        """Count an acknowledged delivery."""
        if delivery.kind == "post":
            self.posts[delivery.provider] += 1
        else:
            self.records[delivery.kind] += 1


class ProgressMeter:
    """Counts the records and elements that are handed to the sender, and reports them."""

    def __init__(self, total: int, progress: Progress | None) -> None:
        self._total = total
        self._progress = progress
        self._sent = 0

    def count(self, delivery: Delivery) -> None:
        """Count one delivery."""
        self._sent += delivery.events

    def report(self) -> None:
        """Report the progress."""
        if self._progress:
            self._progress(self._sent, self._total)
