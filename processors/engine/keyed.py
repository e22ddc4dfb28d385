"""An agent that owns a state per key: exactly once, with one Kafka transaction per group of batches of a partition.

In:  a topic of keyed records, and a pure step function from states and records to outputs and changed states.
Out: outputs, states (in a compacted changelog) and the source's offset, atomically. README.md says what it costs.
Promise: every record takes effect exactly once for `read_committed` readers, through crashes, pauses and rebalances.
Why it holds: docs/adr/0008-keyed-state-and-transactions.md.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from processors.engine.batch import TP, RecordBatch
from processors.engine.changelog import StateCodec, Table, restore
from processors.engine.errors import SetupError, TransientDependencyError
from processors.engine.failures import GivenUp, Retry, RetryBackoff, retrying
from processors.engine.partition_processor import (
    PartitionProcessor,
    Phase,
    PhaseEvent,
    ProcessorConfig,
    StepFunction,
    TransactionLimits,
)
from processors.engine.transactions import KafkaTransactions

if TYPE_CHECKING:
    from processors.engine.app import MicroBatchApp

S = TypeVar("S")

_RECREATE_TOPICS: Final = (
    "Keys would be processed with the state of another partition. Create both topics again under new names, with the "
    "partition count that you want, and replay the log into them."
)


class KeyedAgent(Generic[S]):
    """Processes one keyed topic of an app. A chain of two is two agents and the topic between them."""

    def __init__(
        self,
        app: MicroBatchApp,
        *,
        source: str,
        changelog: str,
        step: StepFunction[S],
        codec: StateCodec[S],
        outputs: Collection[str] = (),
        limits: TransactionLimits | None = None,
        transaction_seconds: float = 10.0,
        backoff: RetryBackoff | None = None,
        on_retry: Callable[[Retry], None] = lambda _retry: None,
        on_phase: Callable[[PhaseEvent], None] = lambda _event: None,
    ) -> None:
        """Register it with `app`; nothing is opened before the app starts.

        `source`, `changelog` and `outputs` must exist (see `keyed_topics`). Source and changelog have the same number
        of partitions, which never changes. `transaction_seconds` limits one transaction: the broker aborts a longer
        one, which ends the worker. A transaction that a dead worker left open hides later records from readers for at
        most this long. `on_phase` and `on_retry` are for metrics; they must not raise.
        """
        self.source, self.changelog, self.outputs = source, changelog, frozenset(outputs)
        self._app, self._step, self._codec = app, step, codec
        self._limits, self._seconds = limits or TransactionLimits(), transaction_seconds
        self._backoff, self._on_retry, self._on_phase = backoff, on_retry, on_phase
        self._partitions = 0
        self._processors: dict[TP, PartitionProcessor[S]] = {}
        self._take_over_task: asyncio.Task[None] | None = None
        self._restored = self._resumed = False
        self._generation = 0  # changes with every take-over and release
        app.register_agent(self)
        app.agent(app.batch_topic(source), name=f"keyed.{source}")(self._feed)

    # -- state

    @property
    def partitions(self) -> int:
        """How many partitions the source had at the start."""
        return self._partitions

    def keys(self) -> dict[TP, int]:
        """How many keys have a state, by partition of this worker. Memory grows with it."""
        return {tp: processor.keys for tp, processor in self._processors.items()}

    def positions(self) -> dict[TP, int]:
        """The offset below which all records are in the state, by partition. Partitions without state are omitted."""
        return {tp: processor.position for tp, processor in self._processors.items() if processor.position is not None}

    def check(self, partitions: Mapping[str, int], cleanup: Mapping[str, str]) -> None:
        """Check the partition counts and clean-up policies of the topics. Raises SetupError."""
        self._partitions = partitions[self.source]
        if partitions[self.changelog] != self._partitions:
            raise SetupError(
                f"{self.source} has {self._partitions} partitions, {self.changelog} has {partitions[self.changelog]}",
                where=f"app {self._app.conf.id}",
                mend="Both counts must be equal and never change. For more, create both topics again under new names.",
            )
        if cleanup[self.changelog] != "compact":
            raise SetupError(
                f"{self.changelog} has the clean-up policy {cleanup[self.changelog]!r}: states would be lost over time",
                where=f"app {self._app.conf.id}",
                mend="Set cleanup.policy=compact, as keyed_topics() says.",
            )

    def check_count(self, counts: Mapping[str, int]) -> None:
        """Check that the partition count of the source is still that of the start. Raises SetupError."""
        count = counts.get(self.source, self._partitions)
        if count != self._partitions:
            raise SetupError(
                f"{self.source} had {self._partitions} partitions at the start, and has {count} now",
                where=f"app {self._app.conf.id}",
                mend=_RECREATE_TOPICS,
            )

    # -- an assignment

    async def take_over(self, tps: set[TP]) -> bool:
        """Take ownership of these partitions: fence, restore. False if the assignment ended meanwhile."""
        self._generation = generation = self._generation + 1
        await self._close_processors()
        if generation != self._generation:
            return False  # revoked while the old processors were closing: fencing now would fence the next owner
        self._take_over_task = asyncio.create_task(self._take_over(tps), name=f"take over {self.source}")
        await asyncio.wait({self._take_over_task})
        if self._take_over_task.cancelled():
            return False
        try:
            self._take_over_task.result()
        except GivenUp:
            return False
        return True

    def resume(self) -> None:
        """Accept records: from now on they follow the restored positions."""
        self._resumed = self._restored

    def commit_idle_position(self, tp: TP, offset: int) -> None:
        """Commit this position of a partition that has no batch in flight."""
        if self._resumed and tp in self._processors:
            self._processors[tp].commit_idle_position(offset)

    async def release(self) -> None:
        """Release all partitions. Open transactions are aborted; the next owner restores what was committed."""
        self._generation += 1
        await self._close_processors()

    async def _close_processors(self) -> None:
        self._restored = self._resumed = False
        if self._take_over_task is not None:
            self._take_over_task.cancel()
            await asyncio.gather(self._take_over_task, return_exceptions=True)
        processors, self._processors = self._processors, {}
        await asyncio.gather(*(processor.close() for processor in processors.values()))

    async def _take_over(self, tps: set[TP]) -> None:
        config = self._config()
        tables = {tp: Table[S](tp) for tp in sorted(tps) if tp.topic == self.source}
        transactions = {tp: self._transactions(tp) for tp in tables}
        self._processors = {
            tp: PartitionProcessor(self._app, table, transactions[tp], config) for tp, table in tables.items()
        }
        # The order matters: a commit of the previous owner after our restore would be missed, so fence it first. The
        # committed offsets are read after this, when the app seeks.
        await asyncio.gather(*(self._with_retries(one.start) for one in transactions.values()))
        self._report(Phase.FENCED, dict.fromkeys(tables, 0))
        await self._with_retries(lambda: self._restore(tables))
        for table in tables.values():
            self._refuse_changed_partition_count(table)
        self._report(Phase.RESTORED, {tp: len(table.rows) for tp, table in tables.items()})
        self._restored = True

    async def _restore(self, tables: Mapping[TP, Table[S]]) -> None:
        await restore(
            tables,
            self._codec,
            changelog=self.changelog,
            client=self._app.client_settings(),
            fetch_bytes=self._app.engine.fetch_bytes,
            stall_seconds=self._app.engine.stall_seconds,
            on_rows=lambda tp, rows: self._report(Phase.RESTORING, {tp: rows}),
            clock=self._app.clock,
        )

    async def _with_retries(self, attempt: Callable[[], Any]) -> None:
        await retrying(
            attempt,
            transient=(TransientDependencyError,),
            backoff=self._backoff,
            stopping=self._app.stopping,
            on_retry=self._on_retry,
        )

    def _refuse_changed_partition_count(self, table: Table[S]) -> None:
        if table.initial_partitions not in (None, self._partitions):
            raise SetupError(
                f"{self.source} had {table.initial_partitions} partitions when its state was created, "
                f"and has {self._partitions}",
                where=f"topic {self.changelog}, partition {table.tp.partition}",
                mend=_RECREATE_TOPICS,
            )

    def _transactions(self, tp: TP) -> KafkaTransactions:
        group = self._app.conf.id
        # The same for a group, topic and partition, whoever owns it: this fences a previous owner. Topic names contain
        # no colon, so no two partitions share an id.
        return KafkaTransactions(
            f"{group}:{tp.topic}:{tp.partition}",
            group,
            timeout_seconds=self._seconds,
            client=self._app.client_settings(),
            counts=self._app.keyed_counts,
        )

    def _config(self) -> ProcessorConfig[S]:
        return ProcessorConfig(
            step=self._step,
            codec=self._codec,
            changelog=self.changelog,
            outputs=self.outputs,
            partitions=self._partitions,
            limits=self._limits,
            backoff=self._backoff,
            on_retry=self._on_retry,
            on_phase=self._on_phase,
        )

    def _report(self, phase: Phase, counts: Mapping[TP, int]) -> None:
        for tp, count in counts.items():
            self._on_phase(PhaseEvent(phase, tp, count))

    # -- records

    async def _feed(self, batches: Any) -> None:
        async for batch in batches:
            self._put(batch)

    def _put(self, batch: RecordBatch) -> None:
        processor = self._processors.get(batch.tp) if self._resumed else None
        if processor is None:
            # Fetched before the positions were restored: it is read again after the seek.
            batch.abandon()
        else:
            processor.put(batch)
