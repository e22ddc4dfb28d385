"""Runs queries in threads, so that a slow ClickHouse delays only reads.

In:  a blocking function, and the principal that it runs for.
Out: its result or exception, within the request's deadline.
Promises: reads have their own threads, so nothing else waits for one; each token has a limited share of them, so its
slow queries do not delay other tokens; a hanging thread counts as busy until it ends, so there are never more.

    too-many-reads   429   the token's share was in use until the deadline
    overloaded       503   all threads were in use until the deadline
    StoreError       503   the function did not end in time; its thread goes on until the socket's timeout
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from contextvars import copy_context
from dataclasses import dataclass, field
from functools import partial
from typing import Final, TypeVar

from application import deadlines
from application.lookups import RunBlocking
from application.principals import Principal
from gateway.problems import RETRY_SECONDS, Problem
from schemas.errors import StoreError

__all__ = ["READ_SECONDS", "ReadPool"]

T = TypeVar("T")

READ_SECONDS: Final = 8.0
"""How long a read may take, unless the request's deadline is shorter."""


@dataclass(slots=True)
class _Share:
    """The concurrent reads of one token, and how many of its reads run or wait."""

    free: asyncio.Semaphore
    users: int = field(default=0)


class ReadPool:
    """A pool of threads for reads, shared fairly between tokens. Belongs to one event loop."""

    def __init__(self, *, at_once: int, per_token: int) -> None:
        self._threads = ThreadPoolExecutor(at_once, thread_name_prefix="read")
        self._free = asyncio.Semaphore(at_once)
        self._at_once, self._per_token = at_once, per_token
        self._shares: dict[Principal, _Share] = {}

    async def run(self, principal: Principal, function: Callable[..., T], *args: object) -> T:
        """Run the blocking `function(*args)` for `principal`; return its result.

        Raises Problem, or StoreError at the deadline.
        """
        async with self._joined(principal) as share:
            await _taken(share.free, "too-many-reads", f"The token has {self._per_token} concurrent reads already")
            try:
                await _taken(self._free, "overloaded", f"{self._at_once} concurrent reads are running already")
            except BaseException:
                share.free.release()
                raise
            share.users += 1  # until the thread ends, which may be after the response
            future = self._threads.submit(partial(copy_context().run, function, *args))
            future.add_done_callback(partial(self._ended, asyncio.get_running_loop(), principal))
            return await _answered(future)

    def runner_for(self, principal: Principal) -> RunBlocking:
        """Return `run` for `principal` as a RunBlocking: it raises StoreError also if no thread was free."""

        async def run(function: Callable[..., T], *args: object) -> T:
            try:
                return await self.run(principal, function, *args)
            except Problem as problem:
                raise StoreError(problem.detail, "a read", problem.kind.mend) from problem

        return run

    async def stream(self, principal: Principal, items: Iterator[T]) -> AsyncGenerator[T, None]:
        """Yield the items of a blocking iterator, reading the next one while the last one is used.

        Each gets the full deadline: the client spent the time in between.
        """
        reading = self._next(principal, items)
        try:
            while (item := await reading) is not None:
                reading = self._next(principal, items)
                yield item
        finally:
            if not reading.cancel() and not reading.cancelled():
                reading.exception()  # or asyncio would report an error that the consumer no longer waits for

    def _next(self, principal: Principal, items: Iterator[T]) -> asyncio.Task[T | None]:
        deadlines.restart()
        return asyncio.create_task(self.run(principal, next, items, None))

    def close(self) -> None:
        """Start no further reads; running ones end by themselves."""
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
        """Called in the thread of a read that has ended."""
        if not loop.is_closed():
            loop.call_soon_threadsafe(self._give_back, principal)

    def _give_back(self, principal: Principal) -> None:
        self._free.release()
        self._shares[principal].free.release()
        self._left(principal)


async def _taken(free: asyncio.Semaphore, code: str, detail: str) -> None:
    """Acquire the semaphore, or raise Problem at the request's deadline."""
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
