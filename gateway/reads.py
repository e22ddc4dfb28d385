"""Reading the tables, so that a slow ClickHouse delays reads alone.

In:  a blocking function, and the token that it runs for. Out: what it returns or raises, within the request's time.
Promises: reads have threads of their own, so nothing else waits for one; no token has more than its share of them, so
its slow queries are not another's; a thread that hangs is counted as taken until it ends, so there are never more.

    too-many-reads   429   the token's own share was taken all the time
    overloaded       503   all threads were taken all the time
    StoreError       503   the function was not done in time; its thread goes on until the socket's own timeout
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from contextvars import copy_context
from dataclasses import dataclass, field
from functools import partial
from typing import Final, TypeVar

from application import deadlines
from application.lookups import Run
from application.principals import Principal
from gateway.problems import RETRY_SECONDS, Problem
from schemas.errors import StoreError

__all__ = ["READ_SECONDS", "Reads"]

T = TypeVar("T")

READ_SECONDS: Final = 8.0
"""How long a read may take where no request's deadline is shorter."""


@dataclass(slots=True)
class _Share:
    """What one token may have at once, and how many of its reads hold it or wait for it."""

    free: asyncio.Semaphore
    users: int = field(default=0)


class Reads:
    """The threads of reads, and who may have them. Belongs to one event loop."""

    def __init__(self, *, at_once: int, per_token: int) -> None:
        self._threads = ThreadPoolExecutor(at_once, thread_name_prefix="read")
        self._free = asyncio.Semaphore(at_once)
        self._at_once, self._per_token = at_once, per_token
        self._shares: dict[Principal, _Share] = {}

    async def run(self, principal: Principal, function: Callable[..., T], *args: object) -> T:
        """Return `function(*args)`, which blocks, run for `principal`. Raises Problem, or StoreError in time."""
        async with self._joined(principal) as share:
            await _taken(share.free, "too-many-reads", f"The token has {self._per_token} reads under way already")
            try:
                await _taken(self._free, "overloaded", f"{self._at_once} reads are under way already")
            except BaseException:
                share.free.release()
                raise
            share.users += 1  # until the thread ends, which may be after the answer
            future = self._threads.submit(partial(copy_context().run, function, *args))
            future.add_done_callback(partial(self._ended, asyncio.get_running_loop(), principal))
            return await _answered(future)

    def of(self, principal: Principal) -> Run:
        """Return `run` for `principal`, as the application takes it: StoreError also where no thread was free."""

        async def run(function: Callable[..., T], *args: object) -> T:
            try:
                return await self.run(principal, function, *args)
            except Problem as problem:
                raise StoreError(problem.detail, "a read", problem.kind.mend) from problem

        return run

    async def through(self, principal: Principal, items: Iterator[T]) -> AsyncIterator[T]:
        """Yield what an iterator that blocks yields. Each item has the whole time: the client took what was before."""
        while True:
            deadlines.restart()
            item = await self.run(principal, next, items, None)
            if item is None:
                return
            yield item

    def close(self) -> None:
        """Take no further reads; those under way end by themselves."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    @asynccontextmanager
    async def _joined(self, principal: Principal) -> AsyncIterator[_Share]:
        share = self._shares.setdefault(principal, _Share(asyncio.Semaphore(self._per_token)))
        share.users += 1
        try:
            yield share
        finally:
            self._left(principal)

    def _left(self, principal: Principal) -> None:
        share = self._shares[principal]
        share.users -= 1
        if not share.users:
            del self._shares[principal]

    def _ended(self, loop: asyncio.AbstractEventLoop, principal: Principal, _: Future[object]) -> None:
        """Called in the thread that has ended."""
        if not loop.is_closed():
            loop.call_soon_threadsafe(self._give_back, principal)

    def _give_back(self, principal: Principal) -> None:
        self._free.release()
        self._shares[principal].free.release()
        self._left(principal)


async def _taken(free: asyncio.Semaphore, code: str, detail: str) -> None:
    """Take one of what is free, or raise Problem once the request's time is up."""
    try:
        async with asyncio.timeout(deadlines.within(READ_SECONDS)):
            await free.acquire()
    except TimeoutError as error:
        raise Problem(code, f"{detail}, and none ended in time", headers={"Retry-After": RETRY_SECONDS}) from error


async def _answered(future: Future[T]) -> T:
    try:
        async with asyncio.timeout(deadlines.within(READ_SECONDS)) as timeout:
            return await asyncio.wrap_future(future)
    except TimeoutError as error:
        if not timeout.expired():
            raise
        raise StoreError("ClickHouse did not answer in time", "a read", "See what it is busy with") from error
