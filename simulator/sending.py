"""What both ways of sending a plan share: the pace, the progress, and what they did."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from simulator.posts import Delivery

__all__ = ["Meter", "Progress", "Sent", "Settled", "at_once"]

Progress = Callable[[int, int], None]
"""Called with what is sent and what there is in all, in records and elements."""
Settled = Callable[[], Awaitable[None]]
"""Returns when the gate has read all that was sent, and all that followed from it."""


async def at_once() -> None:
    """Wait for nobody: nothing depends on what was read before."""


@dataclass(slots=True)
class Sent:
    """What was acknowledged."""

    records: Counter[str] = field(default_factory=Counter)
    """Of our own topics, by kind."""
    posts: Counter[str] = field(default_factory=Counter)
    """By provider."""
    events: int = 0
    """Elements of the posts."""
    retries: int = 0
    """Posts that had to be sent again, because the gateway or the way to it failed."""
    seconds: float = 0.0

    def as_json(self) -> dict[str, Any]:
        """Return the numbers by name."""
        return asdict(self)

    def count(self, delivery: Delivery) -> None:
        """Take in one acknowledged delivery."""
        if delivery.kind == "post":
            self.posts[delivery.provider] += 1
            self.events += delivery.events
        else:
            self.records[delivery.kind] += 1


class Meter:
    """Keeps a sender to `rate` records and elements a second (None: as fast as it goes)."""

    def __init__(self, rate: float | None, total: int, progress: Progress | None) -> None:
        self._rate = rate
        self._total = total
        self._progress = progress
        self._sent = 0
        self._started = time.monotonic()

    @property
    def seconds(self) -> float:
        """How long it has been."""
        return time.monotonic() - self._started

    async def pace(self, delivery: Delivery) -> None:
        """Wait until it is time for this delivery."""
        if self._rate:
            ahead = self._sent / self._rate - self.seconds
            if ahead > 0.002:
                await asyncio.sleep(ahead)
        self._sent += delivery.events

    def report(self) -> None:
        """Tell the progress."""
        if self._progress:
            self._progress(self._sent, self._total)
