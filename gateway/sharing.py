"""Shares readings between callers: those at the same time wait for one, and those within a few seconds get its result.

In:  a function that reads. Out: its result. Promise: a page that many have open causes no more reads than one that one
has open.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Final, Generic, TypeVar

from application.principals import Principal

__all__ = ["Shared", "SharedByKey"]

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)

_KEPT_SECONDS: Final = 5.0
_MAX_KEYS: Final = 100


class Shared(Generic[T]):
    """Runs a function once for all callers at the same time, and keeps its result for _KEPT_SECONDS."""

    def __init__(self, run: Callable[[Principal], Awaitable[T]]) -> None:
        self._run = run
        self._task: asyncio.Task[T] | None = None
        self._kept_until = 0.0

    async def get(self, principal: Principal) -> T:
        """Return the result. A read for it counts as one of the first caller."""
        if self._task is None or (self._task.done() and time.monotonic() > self._kept_until):
            self._task = asyncio.create_task(self._call(principal), name="shared-read")
        return await asyncio.shield(self._task)

    async def _call(self, principal: Principal) -> T:
        try:
            return await self._run(principal)
        finally:
            self._kept_until = time.monotonic() + _KEPT_SECONDS


class SharedByKey(Generic[K, T]):
    """The same for each key, of the _MAX_KEYS that were used last."""

    def __init__(self, run: Callable[[Principal, K], Awaitable[T]]) -> None:
        self._run = run
        self._shared: OrderedDict[K, Shared[T]] = OrderedDict()

    async def get(self, principal: Principal, key: K) -> T:
        """Return the result for the key."""
        if key not in self._shared:
            self._shared[key] = Shared(lambda by: self._run(by, key))
        self._shared.move_to_end(key)
        if len(self._shared) > _MAX_KEYS:
            self._shared.popitem(last=False)
        return await self._shared[key].get(principal)
