"""One partition of a keyed topic: its state, and its records as one transaction after another.

In:  batches of the partition, in order; a pure step.
Out: for each group of batches one transaction of outputs, changelog rows and the source's offset. Memory changes only
     after its commit. Whatever fails before it leaves memory, topics and offset as they were.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from math import inf
from time import monotonic
from types import MappingProxyType
from typing import Generic, Protocol, TypeVar

from processors.engine.batch import TP, Record, RecordBatch
from processors.engine.changelog import POSITION_KEY, Codec, Table, rows_of
from processors.engine.errors import SetupError, WorldFault
from processors.engine.faults import Backoff, GivenUp, Retry, retrying
from processors.engine.transactions import Output, Transactions

S = TypeVar("S")


@dataclass(frozen=True, slots=True)
class Step(Generic[S]):
    """What follows from a run of records: what to write, and the keys whose state is another one now."""

    outputs: Sequence[Output] = ()
    changed: Mapping[bytes, S | None] = field(default_factory=dict)
    """None: forget the key."""


StepFunction = Callable[[Mapping[bytes, S], Sequence[Record]], Step[S]]
"""Takes a partition's states and its next records, and must be pure: it changes no state that it was given, since the
transaction may fail. It deals with malformed records itself (a dead letter is an output like any other); what it
raises ends the worker."""


class Phase(StrEnum):
    """The moments in the life of a partition, in their order."""

    FENCED = "fenced"
    RESTORING = "restoring"
    RESTORED = "restored"
    STEPPED = "stepped"
    WRITTEN = "written"
    COMMITTED = "committed"
    APPLIED = "applied"


@dataclass(frozen=True, slots=True)
class Moment:
    """A phase that was reached: for metrics, and for tests that end the worker right there."""

    phase: Phase
    tp: TP
    count: int
    """Rows read (restoring), keys (restored, applied), records (stepped, committed), outputs and rows (written)."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """When a transaction has enough: whole batches are taken until one of these is reached."""

    records: int = 2_000
    body_bytes: int = 8 * 2**20
    within_seconds: float = 0.0
    """How long to wait for more after the first batch. What comes while a transaction is under way waits anyway."""
    apart_seconds: float = 0.03
    """How long after the one before a transaction begins at the earliest, unless it has enough: small ones cost the
    broker as much as large ones. A record that comes alone waits for nothing."""


class Host(Protocol):
    """What a lane needs of the app."""

    stopping: asyncio.Event

    def excuse(self) -> None:
        """Nothing is acknowledged for a known reason: no stall."""

    def recorded(self, tp: TP, offset: int) -> None:
        """A transaction has committed this offset."""

    async def crash(self, reason: BaseException) -> None: ...


@dataclass(frozen=True, slots=True)
class Rules(Generic[S]):
    """What all lanes of an agent have in common."""

    step: StepFunction[S]
    codec: Codec[S]
    changelog: str
    outputs: frozenset[str]
    partitions: int
    bounds: Bounds = Bounds()
    backoff: Backoff | None = None
    on_retry: Callable[[Retry], None] = lambda _retry: None
    on_phase: Callable[[Moment], None] = lambda _moment: None


class Lane(Generic[S]):
    """Carries the batches of one partition, one transaction at a time."""

    def __init__(self, app: Host, table: Table[S], transactions: Transactions, rules: Rules[S]) -> None:
        self._app, self._table, self._transactions, self._rules = app, table, transactions, rules
        self._states = MappingProxyType(table.rows)
        self._inbox: deque[RecordBatch] = deque()
        self._owed: int | None = None
        self._begun_at = -inf
        self._arrived = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def keys(self) -> int:
        """How many keys have a state."""
        return len(self._table.rows)

    @property
    def position(self) -> int | None:
        """Every record of the source below it is in the state; None before the first transaction."""
        return self._table.position

    def put(self, batch: RecordBatch) -> None:
        """Take in a batch. Back-pressure is the engine's: only so many are ever out."""
        self._inbox.append(batch)
        self._awake()

    def owe(self, offset: int) -> None:
        """Commit this offset even though no record leads up to it: what lies before it are markers and holes."""
        self._owed = offset
        self._awake()

    async def close(self) -> None:
        """End; what is under way is aborted, and unacknowledged."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        for batch in self._inbox:
            batch.abandon()
        await self._transactions.close()

    def _awake(self) -> None:
        self._arrived.set()
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name=f"lane {self._table.tp}")

    async def _run(self) -> None:
        group: list[RecordBatch] = []
        try:
            while True:
                await self._arrived.wait()
                group = await self._group()
                await self._carry(group)
        except GivenUp:  # nothing after it may be carried either: order
            for batch in group:
                batch.abandon()
        except Exception as reason:
            await self._app.crash(reason)

    async def _group(self) -> list[RecordBatch]:
        """Take what waits, up to the bounds."""
        bounds, group = self._rules.bounds, list[RecordBatch]()
        records = weight = 0
        closes_at = max(monotonic() + bounds.within_seconds, self._begun_at + bounds.apart_seconds)
        while records < bounds.records and weight < bounds.body_bytes:
            if self._inbox:
                batch = self._inbox.popleft()
                group.append(batch)
                records += len(batch)
                weight += batch.body_bytes
            elif not await self._arrives_before(closes_at):
                break
        if not self._inbox:
            self._arrived.clear()
        self._begun_at = monotonic()
        return group

    async def _arrives_before(self, closes_at: float) -> bool:
        left = closes_at - monotonic()
        if left <= 0:
            return False
        self._arrived.clear()
        try:
            async with asyncio.timeout(left):
                await self._arrived.wait()
        except TimeoutError:
            return False
        return True

    async def _carry(self, group: Sequence[RecordBatch]) -> None:
        """Make one transaction of the group, or of an owed position, and acknowledge the group."""
        live = [batch for batch in group if batch.live]  # the rest was read for an assignment that is over
        owed, self._owed = self._owed, None
        offset = live[-1].upto if live else owed
        if offset is not None and (self._table.position is None or offset >= self._table.position):
            await self._transact(live, offset)
        for batch in live:
            batch.ack()

    async def _transact(self, live: Sequence[RecordBatch], offset: int) -> None:
        rules, tp = self._rules, self._table.tp
        # What was read twice, for whatever reason, is dropped here: the position says what is in.
        records = [
            r for batch in live for r in batch if self._table.position is None or r.offset >= self._table.position
        ]
        step = rules.step(self._states, records) if records else Step()
        self._refuse(step)
        self._reached(Phase.STEPPED, len(records))
        rows = rows_of(
            step.changed,
            rules.codec,
            changelog=rules.changelog,
            source=tp,
            position=offset,
            partitions=rules.partitions,
        )
        await retrying(
            lambda: self._attempt(live, [*step.outputs, *rows], offset),
            world=(WorldFault,),
            backoff=rules.backoff,
            stopping=self._app.stopping,
            on_retry=self._retrying,
        )
        self._reached(Phase.COMMITTED, len(records))
        self._table.apply(step.changed, offset)
        self._app.recorded(tp, offset)
        self._reached(Phase.APPLIED, self.keys)

    async def _attempt(self, live: Sequence[RecordBatch], writes: Sequence[Output], offset: int) -> None:
        now = monotonic()
        for batch in live:
            batch.since = now
        await self._transactions.write(writes, self._table.tp, offset)
        self._reached(Phase.WRITTEN, len(writes))
        await self._transactions.commit()

    def _refuse(self, step: Step[S]) -> None:
        undeclared = sorted({output.topic for output in step.outputs} - self._rules.outputs)
        if undeclared:
            raise SetupError(
                f"the step writes to {', '.join(undeclared)}, which is not among its outputs",
                where=f"topic {self._table.tp.topic}",
                mend="Name it in outputs=: those topics are checked before the worker starts.",
            )
        if POSITION_KEY in step.changed:
            raise SetupError(
                f"the step has a state under the key {POSITION_KEY!r}, which is the engine's",
                where=f"topic {self._table.tp.topic}",
                mend="Choose another key.",
            )

    def _reached(self, phase: Phase, count: int) -> None:
        self._rules.on_phase(Moment(phase, self._table.tp, count))

    def _retrying(self, retry: Retry) -> None:
        self._app.excuse()
        self._rules.on_retry(retry)
