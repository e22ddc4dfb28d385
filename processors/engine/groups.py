"""Groups worth one write, and the one writer that several agents feed.

In:  `RecordBatch`es of any topics, as agents take them.
Out: `write(group)` for lists of batches; each batch is acknowledged after its group's write returned, only then.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable
from time import monotonic
from typing import Protocol

from processors.engine.batch import RecordBatch
from processors.engine.errors import WorldFault
from processors.engine.faults import Backoff, Faults, GivenUp, Retry, retrying

Group = list[RecordBatch]
Write = Callable[[Group], Awaitable[None]]


async def grouped(
    batches: AsyncIterable[RecordBatch],
    records: int = 20_000,
    within: float = 0.25,
    body_bytes: int = 64 * 2**20,
    first_bytes: int | None = None,
) -> AsyncGenerator[Group, None]:
    """Merge batches into groups, to be written as one and acknowledged after that.

    A group is closed at `records` records, at `body_bytes` bytes of values, or `within` seconds after its first
    batch. A last group that was never closed is not given out: it is unacknowledged, hence read again.

    With `first_bytes` the first group is closed there already, so that somebody has work at once. Each full group lets
    the next be twice as large, up to `body_bytes`; one that time has closed means that nothing waits, and starts over.
    """
    limit = first_bytes = min(first_bytes or body_bytes, body_bytes)
    source = aiter(batches)
    coming: asyncio.Future[RecordBatch] | None = None
    try:
        while True:
            group: Group = []
            size = weight = 0
            closes_at: float | None = None
            while size < records and weight < limit:
                coming = coming or asyncio.ensure_future(_next(source))
                wait = None if closes_at is None else max(closes_at - monotonic(), 0)
                done, _ = await asyncio.wait({coming}, timeout=wait)
                if not done:
                    break  # not cancelled: the batch that is coming opens the next group
                try:
                    batch = coming.result()
                except StopAsyncIteration:
                    return
                finally:
                    coming = None
                group.append(batch)
                size += len(batch)
                weight += batch.body_bytes
                closes_at = closes_at or monotonic() + within
            full = size >= records or weight >= limit
            limit = min(2 * limit, body_bytes) if full else first_bytes
            yield group
    finally:
        if coming is not None:
            coming.cancel()


async def _next(source: AsyncIterator[RecordBatch]) -> RecordBatch:
    return await anext(source)


class Host(Protocol):
    """What the writer needs of the app."""

    stopping: asyncio.Event

    def excuse(self) -> None:
        """Nothing is acknowledged for a known reason: no stall."""

    async def crash(self, reason: BaseException) -> None: ...
    def adopt(self, writer: GroupWriter) -> None: ...


class GroupWriter:
    """The one writer of an app: groups span topics, and up to `depth` of them are under way at once.

    So group n+1 can be decoded while group n is being inserted; a `write` that must not overlap with itself in some
    stage takes a lock there. Agents wait in `put` when the writer is busy: that is the back-pressure.

    `write` may raise a fault of the `world`: the same group is tried again, for ever, with back-off. Those of them that
    are `lasting` (waiting does not mend them) are tried again too, but excuse no stall: where nothing else is
    acknowledged meanwhile, the app ends. Anything else that it raises ends the app at once, with nothing of that group
    acknowledged.
    """

    def __init__(
        self,
        app: Host,
        write: Write,
        *,
        records: int = 20_000,
        body_bytes: int = 64 * 2**20,
        first_bytes: int | None = None,
        within: float = 0.25,
        depth: int = 2,
        world: Faults = (WorldFault,),
        lasting: Faults = (),
        backoff: Backoff | None = None,
        on_retry: Callable[[Retry], None] | None = None,
    ) -> None:
        self._app = app
        self._write = write
        self._bounds = (records, within, body_bytes, first_bytes)
        self._world, self._lasting, self._backoff, self._on_retry = world, lasting, backoff, on_retry
        self._inbox: asyncio.Queue[RecordBatch] = asyncio.Queue(maxsize=1)
        self._slots = asyncio.Semaphore(depth)
        self._tasks: set[asyncio.Task[None]] = set()
        self._grouping: asyncio.Task[None] | None = None
        app.adopt(self)

    async def put(self, batch: RecordBatch) -> None:
        """Hand over a batch; returns when the writer has taken it in, long before it is written."""
        if self._grouping is None:
            self._grouping = asyncio.create_task(self._group(), name="group-writer")
        await self._inbox.put(batch)

    async def close(self) -> None:
        """Stop; what is under way is cut off, unacknowledged."""
        tasks = [task for task in (self._grouping, *self._tasks) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _group(self) -> None:
        try:
            async for group in grouped(self._arrivals(), *self._bounds):
                await self._slots.acquire()
                task = asyncio.create_task(self._carry(group), name="group-write")
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
        except Exception as reason:
            await self._app.crash(reason)

    async def _arrivals(self) -> AsyncIterator[RecordBatch]:
        while True:
            yield await self._inbox.get()

    async def _carry(self, group: Group) -> None:
        lasting = False

        def retried(retry: Retry) -> None:
            nonlocal lasting
            lasting = isinstance(retry.fault, self._lasting)
            if not lasting:
                self._app.excuse()
            if self._on_retry is not None:
                self._on_retry(retry)

        try:
            await retrying(
                lambda: self._attempt(group, alive=not lasting),
                world=self._world,
                backoff=self._backoff,
                stopping=self._app.stopping,
                on_retry=retried,
            )
        except GivenUp:
            for batch in group:
                batch.abandon()
        except Exception as reason:
            await self._app.crash(reason)
        else:
            for batch in group:
                batch.ack()
        finally:
            self._slots.release()

    async def _attempt(self, group: Group, *, alive: bool) -> None:
        # Partitions may have gone to another worker meanwhile: it writes those records, we need not.
        live = [batch for batch in group if batch.live]
        now = monotonic()
        for batch in live if alive else ():
            batch.since = now
        if live:
            await self._write(live)
