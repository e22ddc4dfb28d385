"""How often one token may ask, and one source may fail.

In:  who asks. Out: nothing, or the seconds after which it may ask again.
A rightly signed webhook and a good token are never held up by what others at the same address do: of a source only
failures are counted, and only a further failure is told so. Counts are this process's own, in memory.
"""

import math
import time
from hashlib import blake2b
from typing import Final

from limits import RateLimitItem, RateLimitItemPerMinute, RateLimitItemPerSecond
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter

from application.principals import Principal
from gateway.problems import Problem

__all__ = ["Throttle"]

_SOURCES: Final = 4096
"""Sources are counted in so many slots: whoever has a whole network of addresses does not fill our memory."""


class Throttle:
    """The counters of one process. A limit of 0 is none."""

    def __init__(self, *, writes_per_second: int, reads_per_second: int, failures_per_minute: int) -> None:
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._writes = RateLimitItemPerSecond(writes_per_second) if writes_per_second else None
        self._reads = RateLimitItemPerSecond(reads_per_second) if reads_per_second else None
        self._failures = RateLimitItemPerMinute(failures_per_minute) if failures_per_minute else None

    async def of_token(self, principal: Principal, method: str) -> None:
        """Count a request of a good token. Raises Problem 429 where it is over the token's limit."""
        limit, what = (self._reads, "reads") if method in ("GET", "HEAD") else (self._writes, "writes")
        who = f"{principal.role} {principal.subject} {' '.join(sorted(principal.accounts))}"
        if (seconds := await self._over(limit, what, _slot(who))) is not None and limit is not None:
            raise Problem(
                "rate-limited",
                f"The token may ask for {limit.amount} {what} a second",
                headers={"Retry-After": str(seconds)},
            )

    async def of_failure(self, source: str) -> int | None:
        """Count a bad token or signature. Return the seconds to wait where the source is over its limit."""
        return await self._over(self._failures, "failures", str(int(_slot(source), 16) % _SOURCES))

    async def _over(self, limit: RateLimitItem | None, *who: str) -> int | None:
        if limit is None or await self._limiter.hit(limit, *who):
            return None
        window = await self._limiter.get_window_stats(limit, *who)
        return max(1, math.ceil(window.reset_time - time.time()))


def _slot(text: str) -> str:
    return blake2b(text.encode("utf-8", "replace"), digest_size=8).hexdigest()
