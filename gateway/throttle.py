"""Rate limits: requests of a token, and failures of a source address.

In:  a principal or a source address. Out: nothing, or the seconds until the next request is allowed.
A correctly signed webhook and a valid token are never limited by others at the same address: per source only failures
are counted, and only further failures are refused. Counts are per process, in memory.
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
"""Number of counters for sources, by hash: a whole network of addresses can't fill the memory."""


class Throttle:
    """The counters of one process. 0 means no limit."""

    def __init__(self, *, writes_per_second: int, reads_per_second: int, failures_per_minute: int) -> None:
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._writes = RateLimitItemPerSecond(writes_per_second) if writes_per_second else None
        self._reads = RateLimitItemPerSecond(reads_per_second) if reads_per_second else None
        self._failures = RateLimitItemPerMinute(failures_per_minute) if failures_per_minute else None

    async def count_request(self, principal: Principal, method: str) -> None:
        """Count a request of a valid token. Raises Problem 429 if the token is over its limit."""
        limit, what = (self._reads, "reads") if method in ("GET", "HEAD") else (self._writes, "writes")
        who = f"{principal.role} {principal.subject} {' '.join(sorted(principal.accounts))}"
        if (seconds := await self._over(limit, what, _slot(who))) is not None and limit is not None:
            raise Problem(
                "rate-limited",
                f"The token may make {limit.amount} {what} a second",
                headers={"Retry-After": str(seconds)},
            )

    async def count_failure(self, source: str) -> int | None:
        """Count a bad token or signature. Return the seconds to wait if the source is over its limit."""
        return await self._over(self._failures, "failures", str(int(_slot(source), 16) % _SOURCES))

    async def _over(self, limit: RateLimitItem | None, *who: str) -> int | None:
        if limit is None or await self._limiter.hit(limit, *who):
            return None
        window = await self._limiter.get_window_stats(limit, *who)
        return max(1, math.ceil(window.reset_time - time.time()))


def _slot(text: str) -> str:
    return blake2b(text.encode("utf-8", "replace"), digest_size=8).hexdigest()
