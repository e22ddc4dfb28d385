"""Merge batches into groups, and write each group with the one writer that several agents feed.

In:  `RecordBatch`es of any topics, as agents receive them.
Out: `write(group)` for lists of batches. A batch is acknowledged after the write of its group has returned, not before.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable
from time import monotonic
from typing import Protocol

from processors.engine.batch import RecordBatch
from processors.engine.clock import Clock
from processors.engine.errors import TransientDependencyError
from processors.engine.failures import ErrorTypes, GivenUp, Retry, RetryBackoff, retrying

BatchGroup = list[RecordBatch]
Write = Callable[[BatchGroup], Awaitable[None]]


async def grouped(
    batches: AsyncIterable[RecordBatch],
    records: int = 20_000,
    within: float = 0.25,
    body_bytes: int = 64 * 2**20,
    first_bytes: int | None = None,
    clock: Clock = monotonic,
) -> AsyncGenerator[BatchGroup, None]:
    """Merge batches into groups that are written as one and acknowledged afterwards.

    A group is closed at `records` records, at `body_bytes` bytes of values, or `within` seconds after its first batch.
    A last group that was not closed is not yielded: it is unacknowledged, so it is read again.

    With `first_bytes` the first group is closed at that size, so that writing starts early. After each full group the
    next one may be twice as large, up to `body_bytes`. A group closed by time means that there is no backlog, so the
    size starts at `first_bytes` again.
    """
    limit = first_bytes = min(first_bytes or body_bytes, body_bytes)
    source = aiter(batches)
    coming: asyncio.Future[RecordBatch] | None = None
    try:
        while True:
            group: BatchGroup = []
            size = weight = 0
            closes_at: float | None = None
            while size < records and weight < limit:
                coming = coming or asyncio.ensure_future(_next(source))
                wait = None if closes_at is None else max(closes_at - clock(), 0)
                done, _ = await asyncio.wait({coming}, timeout=wait)
                if not done:
                    break  # not cancelled: the pending batch opens the next group
                try:
                    batch = coming.result()
                except StopAsyncIteration:
                    return
                finally:
                    coming = None
                group.append(batch)
                size += len(batch)
                weight += batch.body_bytes
                closes_at = closes_at or clock() + within
            full = size >= records or weight >= limit
            limit = min(2 * limit, body_bytes) if full else first_bytes
            yield group
    finally:
        if coming is not None:
            coming.cancel()


async def _next(source: AsyncIterator[RecordBatch]) -> RecordBatch:
    return await anext(source)


class WriterHost(Protocol):
    """What the writer needs of the app."""

    stopping: asyncio.Event

    @property
    def clock(self) -> Clock: ...

    def pause_stall_timer(self) -> None:
        """Note that nothing is acknowledged for a known reason, so that it is not a stall."""

    async def crash(self, reason: BaseException) -> None: ...
    def register_writer(self, writer: GroupWriter) -> None: ...


class GroupWriter:
    """The one writer of an app: groups span topics, and up to `depth` of them are written concurrently.

    So group n+1 can be decoded while group n is being inserted; a `write` with a stage that must not overlap takes a
    lock there. Agents wait in `put` while the writer is busy: that is the back-pressure.

    If `write` raises one of the `transient` errors, the same group is retried forever, with back-off. Those that
    `needs_operator` (waiting does not fix them) are retried too, but they don't pause the stall timer: if nothing else
    is acknowledged meanwhile, the app ends. Any other error ends the app at once, with nothing of that group
    acknowledged.
    """

    def __init__(
        self,
        app: WriterHost,
        write: Write,
        *,
        records: int = 20_000,
        body_bytes: int = 64 * 2**20,
        first_bytes: int | None = None,
        within: float = 0.25,
        depth: int = 2,
        transient: ErrorTypes = (TransientDependencyError,),
        needs_operator: ErrorTypes = (),
        backoff: RetryBackoff | None = None,
        on_retry: Callable[[Retry], None] | None = None,
    ) -> None:
        self._app = app
        self._write = write
        self._bounds = (records, within, body_bytes, first_bytes)
        self._transient, self._needs_operator, self._backoff, self._on_retry = (
            transient,
            needs_operator,
            backoff,
            on_retry,
        )
        self._inbox: asyncio.Queue[RecordBatch] = asyncio.Queue(maxsize=1)
        self._slots = asyncio.Semaphore(depth)
        self._tasks: set[asyncio.Task[None]] = set()
        self._grouping: asyncio.Task[None] | None = None
        app.register_writer(self)

    async def put(self, batch: RecordBatch) -> None:
        """Queue a batch. Returns when the writer has accepted it, long before it is written."""
        if self._grouping is None:
            self._grouping = asyncio.create_task(self._group(), name="group-writer")
        await self._inbox.put(batch)

    async def close(self) -> None:
        """Stop. Groups that are being written are cancelled and stay unacknowledged."""
        tasks = [task for task in (self._grouping, *self._tasks) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _group(self) -> None:
        try:
            async for group in grouped(self._arrivals(), *self._bounds, clock=self._app.clock):
                await self._slots.acquire()
                task = asyncio.create_task(self._write_group(group), name="group-write")
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
        except Exception as reason:
            await self._app.crash(reason)

    async def _arrivals(self) -> AsyncIterator[RecordBatch]:
        while True:
            yield await self._inbox.get()

    async def _write_group(self, group: BatchGroup) -> None:
        needs_operator = False

        def retried(retry: Retry) -> None:
            nonlocal needs_operator
            needs_operator = isinstance(retry.error, self._needs_operator)
            if not needs_operator:
                self._app.pause_stall_timer()
            if self._on_retry is not None:
                self._on_retry(retry)

        try:
            await retrying(
                lambda: self._attempt(group, alive=not needs_operator),
                transient=self._transient,
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

    async def _attempt(self, group: BatchGroup, *, alive: bool) -> None:
        # Partitions may have moved to another worker meanwhile, which writes those records.
        live = [batch for batch in group if batch.live]
        now = self._app.clock()
        for batch in live if alive else ():
            batch.since = now
        if live:
            await self._write(live)
