"""An agent that owns a state per key: exactly once, by one Kafka transaction for each group of batches of a partition.

In:  a topic whose records are keyed, and a pure step from states and records to outputs and changed states.
Out: outputs, states (in a compacted changelog) and the source's offset, all or nothing. README.md says what it costs.
Promised: the effect of every record is there once, whatever dies, pauses or is rebalanced, for readers that are
`read_committed`. Why it holds: docs/adr/0008-keyed-state-and-transactions.md.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from processors.engine.batch import TP, RecordBatch
from processors.engine.changelog import Codec, Table, restore
from processors.engine.errors import SetupError, WorldFault
from processors.engine.faults import Backoff, GivenUp, Retry, retrying
from processors.engine.lane import Bounds, Lane, Moment, Phase, Rules, StepFunction
from processors.engine.transactions import KafkaTransactions

if TYPE_CHECKING:
    from processors.engine.app import MicroBatchApp

S = TypeVar("S")

_OTHER_NAMES: Final = (
    "Keys would meet another partition's state. Make both topics anew under other names, with the partitions that you "
    "want, and fold the log again into them."
)


class KeyedAgent(Generic[S]):
    """Carries one keyed topic of an app; a chain of two is two agents, and the topic between them."""

    def __init__(
        self,
        app: MicroBatchApp,
        *,
        source: str,
        changelog: str,
        step: StepFunction[S],
        codec: Codec[S],
        outputs: Collection[str] = (),
        bounds: Bounds | None = None,
        transaction_seconds: float = 10.0,
        backoff: Backoff | None = None,
        on_retry: Callable[[Retry], None] = lambda _retry: None,
        on_phase: Callable[[Moment], None] = lambda _moment: None,
    ) -> None:
        """Wire it into `app`; nothing is opened before the app starts.

        `source`, `changelog` and `outputs` must exist (`keyed_topics` says how), source and changelog with the same
        number of partitions, for ever. `transaction_seconds` bounds one transaction: a longer one is aborted by the
        broker and ends the worker, and what a dead worker left open is hidden from readers for so long at most.
        `on_phase` and `on_retry` are for metrics; they must not raise.
        """
        self.source, self.changelog, self.outputs = source, changelog, frozenset(outputs)
        self._app, self._step, self._codec = app, step, codec
        self._bounds, self._seconds = bounds or Bounds(), transaction_seconds
        self._backoff, self._on_retry, self._on_phase = backoff, on_retry, on_phase
        self._partitions = 0
        self._lanes: dict[TP, Lane[S]] = {}
        self._opening: asyncio.Task[None] | None = None
        self._open = self._flowing = False
        self._turn = 0  # changes with every take-over and release
        app.own(self)
        app.agent(app.batch_topic(source), name=f"keyed.{source}")(self._feed)

    # -- what it is asked

    @property
    def partitions(self) -> int:
        """How many partitions the source had at the start."""
        return self._partitions

    def keys(self) -> dict[TP, int]:
        """How many keys have a state, by partition of this worker: what memory grows with."""
        return {tp: lane.keys for tp, lane in self._lanes.items()}

    def positions(self) -> dict[TP, int]:
        """Below which offset each partition's records are in the state, where any ever were."""
        return {tp: lane.position for tp, lane in self._lanes.items() if lane.position is not None}

    def check(self, partitions: Mapping[str, int], cleanup: Mapping[str, str]) -> None:
        """Refuse topics that don't fit, by their partition counts and clean-up policies. Raises SetupError."""
        self._partitions = partitions[self.source]
        if partitions[self.changelog] != self._partitions:
            raise SetupError(
                f"{self.source} has {self._partitions} partitions, {self.changelog} has {partitions[self.changelog]}",
                where=f"app {self._app.conf.id}",
                mend="Both counts are fixed at birth and equal. To have more, make both topics anew under other names.",
            )
        if cleanup[self.changelog] != "compact":
            raise SetupError(
                f"{self.changelog} has the clean-up policy {cleanup[self.changelog]!r}: it would lose states in time",
                where=f"app {self._app.conf.id}",
                mend="Set cleanup.policy=compact, as keyed_topics() says.",
            )

    def check_count(self, counts: Mapping[str, int]) -> None:
        """Refuse a source whose partition count is no longer that of the start. Raises SetupError."""
        count = counts.get(self.source, self._partitions)
        if count != self._partitions:
            raise SetupError(
                f"{self.source} had {self._partitions} partitions at the start, and has {count} now",
                where=f"app {self._app.conf.id}",
                mend=_OTHER_NAMES,
            )

    # -- an assignment

    async def take_over(self, tps: set[TP]) -> bool:
        """Make these partitions this worker's: fence, restore. False where the assignment ended meanwhile."""
        self._turn = turn = self._turn + 1
        await self._let_go()
        if turn != self._turn:
            return False  # revoked while the lanes of before were closing: to fence now would put out the next owner
        self._opening = asyncio.create_task(self._take_over(tps), name=f"take over {self.source}")
        await asyncio.wait({self._opening})
        if self._opening.cancelled():
            return False
        try:
            self._opening.result()
        except GivenUp:
            return False
        return True

    def flow(self) -> None:
        """Let records in: from here on they are those that follow the restored positions."""
        self._flowing = self._open

    def owe(self, tp: TP, offset: int) -> None:
        """Commit this position of a partition of which nothing is out."""
        if self._flowing and tp in self._lanes:
            self._lanes[tp].owe(offset)

    async def release(self) -> None:
        """Let go of all partitions; what is under way is aborted. Their next owner restores what was committed."""
        self._turn += 1
        await self._let_go()

    async def _let_go(self) -> None:
        self._open = self._flowing = False
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.gather(self._opening, return_exceptions=True)
        lanes, self._lanes = self._lanes, {}
        await asyncio.gather(*(lane.close() for lane in lanes.values()))

    async def _take_over(self, tps: set[TP]) -> None:
        rules = self._rules()
        tables = {tp: Table[S](tp) for tp in sorted(tps) if tp.topic == self.source}
        transactions = {tp: self._transactions(tp) for tp in tables}
        self._lanes = {tp: Lane(self._app, table, transactions[tp], rules) for tp, table in tables.items()}
        # This order is the whole point: what the former owner commits after our restore would be missed, so fence it
        # first. The offsets are read after this, when the app seeks.
        await asyncio.gather(*(self._patiently(one.start) for one in transactions.values()))
        self._tell(Phase.FENCED, dict.fromkeys(tables, 0))
        await self._patiently(lambda: self._restore(tables))
        for table in tables.values():
            self._refuse_another_birth(table)
        self._tell(Phase.RESTORED, {tp: len(table.rows) for tp, table in tables.items()})
        self._open = True

    async def _restore(self, tables: Mapping[TP, Table[S]]) -> None:
        await restore(
            tables,
            self._codec,
            changelog=self.changelog,
            client=self._app.client_settings(),
            fetch_bytes=self._app.engine.fetch_bytes,
            stall_seconds=self._app.engine.stall_seconds,
            on_rows=lambda tp, rows: self._tell(Phase.RESTORING, {tp: rows}),
        )

    async def _patiently(self, attempt: Callable[[], Any]) -> None:
        await retrying(
            attempt, world=(WorldFault,), backoff=self._backoff, stopping=self._app.stopping, on_retry=self._on_retry
        )

    def _refuse_another_birth(self, table: Table[S]) -> None:
        if table.born_with not in (None, self._partitions):
            raise SetupError(
                f"{self.source} had {table.born_with} partitions when its state was born, and has {self._partitions}",
                where=f"topic {self.changelog}, partition {table.tp.partition}",
                mend=_OTHER_NAMES,
            )

    def _transactions(self, tp: TP) -> KafkaTransactions:
        group = self._app.conf.id
        # Fixed for a group, topic and partition, whoever owns it: this is what fences a former owner. A topic's name
        # has no colon in it, so that no two partitions share an id.
        return KafkaTransactions(
            f"{group}:{tp.topic}:{tp.partition}",
            group,
            timeout_seconds=self._seconds,
            client=self._app.client_settings(),
            counts=self._app.keyed_counts,
        )

    def _rules(self) -> Rules[S]:
        return Rules(
            step=self._step,
            codec=self._codec,
            changelog=self.changelog,
            outputs=self.outputs,
            partitions=self._partitions,
            bounds=self._bounds,
            backoff=self._backoff,
            on_retry=self._on_retry,
            on_phase=self._on_phase,
        )

    def _tell(self, phase: Phase, counts: Mapping[TP, int]) -> None:
        for tp, count in counts.items():
            self._on_phase(Moment(phase, tp, count))

    # -- records

    async def _feed(self, batches: Any) -> None:
        async for batch in batches:
            self._put(batch)

    def _put(self, batch: RecordBatch) -> None:
        lane = self._lanes.get(batch.tp) if self._flowing else None
        if lane is None:
            # Fetched before the positions were restored and sought: it is read again after that.
            batch.abandon()
        else:
            lane.put(batch)
