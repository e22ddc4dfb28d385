"""Process one partition of a keyed topic: its state, and its records in one transaction after another.

In:  batches of the partition, in order; a pure step function.
Out: for each group of batches one transaction of outputs, changelog rows and the source's offset. The state in memory
     changes only after the commit. A failure before the commit leaves memory, topics and offset unchanged.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from math import inf
from types import MappingProxyType
from typing import Generic, Protocol, TypeVar

from processors.engine.batch import TP, Record, RecordBatch
from processors.engine.changelog import POSITION_KEY, StateCodec, Table, rows_of
from processors.engine.clock import Clock
from processors.engine.errors import SetupError, TransientDependencyError
from processors.engine.failures import GivenUp, Retry, RetryBackoff, retrying
from processors.engine.transactions import Output, Transactions

S = TypeVar("S")


@dataclass(frozen=True, slots=True)
class StepResult(Generic[S]):
    """The result of a run of records: what to write, and the keys whose state has changed."""

    outputs: Sequence[Output] = ()
    changed: Mapping[bytes, S | None] = field(default_factory=dict)
    """None: delete the key."""


StepFunction = Callable[[Mapping[bytes, S], Sequence[Record]], StepResult[S]]
"""Takes the states of a partition and its next records. It must be pure and must not change the states it is given,
since the transaction may fail. It handles malformed records itself (a dead letter is an output like any other); an
exception ends the worker."""


class Phase(StrEnum):
    """The phases of a partition, in order."""

    FENCED = "fenced"
    RESTORING = "restoring"
    RESTORED = "restored"
    STEPPED = "stepped"
    WRITTEN = "written"
    COMMITTED = "committed"
    APPLIED = "applied"


@dataclass(frozen=True, slots=True)
class PhaseEvent:
    """A phase was reached: for metrics, and for tests that kill the worker at that point."""

    phase: Phase
    tp: TP
    count: int
    """Rows read (restoring), keys (restored, applied), records (stepped, committed), outputs and rows (written)."""


@dataclass(frozen=True, slots=True)
class TransactionLimits:
    """Limits of one transaction: whole batches are added until one of these is reached."""

    records: int = 2_000
    body_bytes: int = 8 * 2**20
    within_seconds: float = 0.0
    """How long to wait for more after the first batch. Batches that arrive during a transaction wait anyway."""
    min_interval_seconds: float = 0.03
    """Minimum time between the starts of two transactions, unless a limit is reached: small transactions cost the
    broker as much as large ones. A single record after a pause does not wait."""


class ProcessorHost(Protocol):
    """What a partition processor needs of the app."""

    stopping: asyncio.Event

    @property
    def clock(self) -> Clock: ...

    def pause_stall_timer(self) -> None:
        """Note that nothing is acknowledged for a known reason, so that it is not a stall."""

    def recorded(self, tp: TP, offset: int) -> None:
        """Note that a transaction has committed this offset."""

    async def crash(self, reason: BaseException) -> None: ...


@dataclass(frozen=True, slots=True)
class ProcessorConfig(Generic[S]):
    """What all partition processors of an agent share."""

    step: StepFunction[S]
    codec: StateCodec[S]
    changelog: str
    outputs: frozenset[str]
    partitions: int
    limits: TransactionLimits = TransactionLimits()
    backoff: RetryBackoff | None = None
    on_retry: Callable[[Retry], None] = lambda _retry: None
    on_phase: Callable[[PhaseEvent], None] = lambda _event: None


class PartitionProcessor(Generic[S]):
    """Processes the batches of one partition, one transaction at a time."""

    def __init__(
        self, app: ProcessorHost, table: Table[S], transactions: Transactions, config: ProcessorConfig[S]
    ) -> None:
        self._app, self._table, self._transactions, self._config = app, table, transactions, config
        self._clock = app.clock
        self._states = MappingProxyType(table.rows)
        self._inbox: deque[RecordBatch] = deque()
        self._idle_position: int | None = None
        self._begun_at = -inf
        self._arrived = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def keys(self) -> int:
        """How many keys have a state."""
        return len(self._table.rows)

    @property
    def position(self) -> int | None:
        """Every record of the source below this offset is in the state; None before the first transaction."""
        return self._table.position

    def put(self, batch: RecordBatch) -> None:
        """Queue a batch. The engine limits how many are in flight."""
        self._inbox.append(batch)
        self._wake()

    def commit_idle_position(self, offset: int) -> None:
        """Commit this offset although there is no batch to process: only markers and gaps precede it."""
        self._idle_position = offset
        self._wake()

    async def close(self) -> None:
        """Stop. The current transaction is aborted and its batches stay unacknowledged."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        for batch in self._inbox:
            batch.abandon()
        await self._transactions.close()

    def _wake(self) -> None:
        self._arrived.set()
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name=f"partition processor {self._table.tp}")

    async def _run(self) -> None:
        group: list[RecordBatch] = []
        try:
            while True:
                await self._arrived.wait()
                group = await self._group()
                await self._process(group)
        except GivenUp:  # later batches must not be processed either, to keep the order
            for batch in group:
                batch.abandon()
        except Exception as reason:
            await self._app.crash(reason)

    async def _group(self) -> list[RecordBatch]:
        """Take the waiting batches, up to the limits."""
        limits, group = self._config.limits, list[RecordBatch]()
        records = size_bytes = 0
        closes_at = max(self._clock() + limits.within_seconds, self._begun_at + limits.min_interval_seconds)
        while records < limits.records and size_bytes < limits.body_bytes:
            if self._inbox:
                batch = self._inbox.popleft()
                group.append(batch)
                records += len(batch)
                size_bytes += batch.body_bytes
            elif not await self._arrives_before(closes_at):
                break
        if not self._inbox:
            self._arrived.clear()
        self._begun_at = self._clock()
        return group

    async def _arrives_before(self, closes_at: float) -> bool:
        left = closes_at - self._clock()
        if left <= 0:
            return False
        self._arrived.clear()
        try:
            async with asyncio.timeout(left):
                await self._arrived.wait()
        except TimeoutError:
            return False
        return True

    async def _process(self, group: Sequence[RecordBatch]) -> None:
        """Write one transaction for the group, or for an idle position, and acknowledge the group."""
        live = [batch for batch in group if batch.live]  # the rest was fetched in a previous assignment
        idle_position, self._idle_position = self._idle_position, None
        offset = live[-1].commit_offset if live else idle_position
        if offset is not None and (self._table.position is None or offset >= self._table.position):
            await self._transact(live, offset)
        for batch in live:
            batch.ack()

    async def _transact(self, live: Sequence[RecordBatch], offset: int) -> None:
        config, tp = self._config, self._table.tp
        # Records that are already in the state, according to its position, were read twice and are dropped.
        records = [
            r for batch in live for r in batch if self._table.position is None or r.offset >= self._table.position
        ]
        step = config.step(self._states, records) if records else StepResult()
        self._check(step)
        self._reached(Phase.STEPPED, len(records))
        rows = rows_of(
            step.changed,
            config.codec,
            changelog=config.changelog,
            source=tp,
            position=offset,
            partitions=config.partitions,
        )
        await retrying(
            lambda: self._attempt(live, [*step.outputs, *rows], offset),
            transient=(TransientDependencyError,),
            backoff=config.backoff,
            stopping=self._app.stopping,
            on_retry=self._retrying,
        )
        self._reached(Phase.COMMITTED, len(records))
        self._table.apply(step.changed, offset)
        self._app.recorded(tp, offset)
        self._reached(Phase.APPLIED, self.keys)

    async def _attempt(self, live: Sequence[RecordBatch], writes: Sequence[Output], offset: int) -> None:
        now = self._clock()
        for batch in live:
            batch.since = now
        await self._transactions.write(writes, self._table.tp, offset)
        self._reached(Phase.WRITTEN, len(writes))
        await self._transactions.commit()

    def _check(self, step: StepResult[S]) -> None:
        undeclared = sorted({output.topic for output in step.outputs} - self._config.outputs)
        if undeclared:
            raise SetupError(
                f"the step writes to {', '.join(undeclared)}, which is not among its outputs",
                where=f"topic {self._table.tp.topic}",
                mend="Name it in outputs=: those topics are checked before the worker starts.",
            )
        if POSITION_KEY in step.changed:
            raise SetupError(
                f"the step has a state under the key {POSITION_KEY!r}, which is reserved by the engine",
                where=f"topic {self._table.tp.topic}",
                mend="Choose another key.",
            )

    def _reached(self, phase: Phase, count: int) -> None:
        self._config.on_phase(PhaseEvent(phase, self._table.tp, count))

    def _retrying(self, retry: Retry) -> None:
        self._app.pause_stall_timer()
        self._config.on_retry(retry)
