"""What was fetched and is not yet acknowledged, and how far a commit may go.

In:  runs of records of one partition, in fetch order; acknowledgements, in any order.
Out: for each partition, the offset that is safe to commit.
Law: a committed offset never passes the first record that is not acknowledged.

Nothing here knows Kafka or Faust, so that the law can be tested by itself.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from time import monotonic
from typing import NamedTuple, Protocol

from processors.engine.errors import BatchLost

SMALL_BYTES = 256 * 1024
"""Values of one partition that may be out however many batches they came in."""
MANY_BYTES = 64 * 2**20
"""Values of all partitions together; while more are out, a partition gets no batch beside the one that it has."""


class TP(NamedTuple):
    """A topic and partition. Equal to Faust's and to aiokafka's, which are tuples too."""

    topic: str
    partition: int


class Record(Protocol):
    """What the engine promises about a record. Real ones are aiokafka's `ConsumerRecord`, untouched."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int:
        """Milliseconds since 1970, by the topic's timestamp type."""

    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None:
        """None is a tombstone."""

    @property
    def headers(self) -> Sequence[tuple[str, bytes]]: ...


class Owner(Protocol):
    """Whoever fetched a batch, and keeps account of it."""

    def acknowledge(self, batch: RecordBatch) -> bool: ...
    def abandon(self, batch: RecordBatch) -> None: ...
    def holds(self, batch: RecordBatch) -> bool: ...
    def upto(self, batch: RecordBatch) -> int: ...


class RecordBatch:
    """Consecutive records of one partition, as fetched: offsets in [first, next), maybe with holes.

    Without an owner it is a batch for tests: it keeps its own acknowledgement.
    """

    __slots__ = ("_bytes", "_owner", "acked", "begun", "first", "next", "records", "since", "tp")

    def __init__(self, tp: TP, records: Sequence[Record], owner: Owner | None = None) -> None:
        self.tp = tp
        self.records = records
        self.first = records[0].offset
        self.next = records[-1].offset + 1
        self.begun = False
        self.acked = False
        self.since = monotonic()  # fetched, begun or written at: whatever came last
        self._owner = owner
        self._bytes: int | None = None

    def ack(self) -> bool:
        """Say that every record is safely processed. False where it no longer matters: the partition went away."""
        if self._owner is not None:
            return self._owner.acknowledge(self)
        self.acked = True
        return True

    def abandon(self) -> None:
        """Say that no acknowledgement will come in this assignment, so that a stop needs not wait for it."""
        if self._owner is not None:
            self._owner.abandon(self)

    @property
    def live(self) -> bool:
        """Whether an acknowledgement would still count. What isn't live is some other worker's to process."""
        return not self.acked and (self._owner is None or self._owner.holds(self))

    @property
    def upto(self) -> int:
        """The offset to commit once this batch and all before it are processed: past markers and holes behind it."""
        return self.next if self._owner is None else self._owner.upto(self)

    @property
    def body_bytes(self) -> int:
        """Bytes of all values."""
        if self._bytes is None:
            self._bytes = sum(len(record.value) for record in self.records if record.value is not None)
        return self._bytes

    def __iter__(self) -> Iterator[Record]:
        return iter(self.records)

    def __len__(self) -> int:
        return len(self.records)

    def __repr__(self) -> str:
        return f"<RecordBatch {self.tp.topic}-{self.tp.partition} [{self.first}, {self.next})>"


class _Partition:
    """One partition's account: batches in fetch order, the reading position, what was committed."""

    __slots__ = ("committed", "position", "queue")

    def __init__(self) -> None:
        self.queue: deque[RecordBatch] = deque()
        self.position: int | None = None
        self.committed: int | None = None

    @property
    def safe(self) -> int | None:
        # Below the head nothing is unacknowledged; what lies between batches is no record (compaction,
        # transaction markers), so the head's own first offset is safe, and with no head the position is.
        return self.queue[0].first if self.queue else self.position


class Inflight:
    """The batches that are out, per partition, first in first out."""

    def __init__(
        self,
        limit: int,
        clock: Callable[[], float] = monotonic,
        *,
        small_bytes: int = SMALL_BYTES,
        many_bytes: int = MANY_BYTES,
        self_committing: Collection[str] = (),
    ) -> None:
        """Make an empty account; `self_committing` are topics whose offsets an agent's own transactions commit."""
        self._limit, self._small_bytes, self._many_bytes = limit, small_bytes, many_bytes
        self._bytes = 0
        self._self_committing = self_committing
        self._clock = clock
        self._partitions: dict[TP, _Partition] = {}
        self._last_ack: dict[str, float] = {}  # by topic
        self._excused_at = clock()

    # -- a batch's way

    def opened(self, batch: RecordBatch) -> None:
        """Take in a batch that was just fetched."""
        batch.since = self._clock()
        partition = self._partitions.setdefault(batch.tp, _Partition())
        partition.queue.append(batch)
        partition.position = batch.next
        self._bytes += batch.body_bytes

    def reached(self, tp: TP, position: int) -> None:
        """Take in that every record below `position` was opened. Moves past markers and holes at the end."""
        self._partitions.setdefault(tp, _Partition()).position = position

    def begun(self, batch: RecordBatch) -> None:
        """Take in that an agent has this batch in hand. Raises BatchLost where it should have had another first."""
        batch.begun, batch.since = True, self._clock()
        if not self.holds(batch):
            return  # of an assignment that is over
        for earlier in self._queue(batch.tp):
            if earlier is batch:
                return
            if not (earlier.begun or earlier.acked):
                raise BatchLost(
                    f"{earlier!r} was skipped: {batch!r} of the same partition was begun before it",
                    where=f"topic {batch.tp.topic}, partition {batch.tp.partition}",
                    mend="Nothing is lost, both are read again; report it, it is a defect of the engine.",
                )

    def acked(self, batch: RecordBatch) -> bool:
        """Take in an acknowledgement. False where the batch is not, or no longer, out."""
        if not self.holds(batch):
            return False
        batch.acked = True
        self._last_ack[batch.tp.topic] = self._clock()
        queue = self._queue(batch.tp)
        while queue and queue[0].acked:
            self._bytes -= queue.popleft().body_bytes
        return True

    def abandoned(self, batch: RecordBatch) -> None:
        """Take in that nobody works on this batch any more."""
        batch.begun = False

    def holds(self, batch: RecordBatch) -> bool:
        return not batch.acked and any(batch is other for other in self._queue(batch.tp))

    def upto(self, batch: RecordBatch) -> int:
        """Where the partition may be committed once `batch` and all before it are processed."""
        if not self.holds(batch):
            return batch.next
        partition = self._partitions[batch.tp]
        later = [other.first for other in partition.queue if other.first > batch.first]
        return later[0] if later else partition.position or batch.next

    def has_room(self, tp: TP) -> bool:
        """Whether another batch of the partition may be fetched: back-pressure is that it may not.

        Batches that are small together are no reason for it: what aiokafka has fetched and can't hand over keeps it
        from fetching any other partition for a tenth of a second.

        Nor is what is out elsewhere, to a partition that has nothing out: an agent that is stuck stops no other.
        """
        queue = self._queue(tp)
        if len(queue) < self._limit and (not queue or self._bytes < self._many_bytes):
            return True
        return sum(batch.body_bytes for batch in queue) < self._small_bytes

    def worth_waiting(self) -> bool:
        """Whether an agent has something in hand that it may still acknowledge."""
        return any(b.begun and not b.acked for p in self._partitions.values() for b in p.queue)

    # -- commits

    def committable(self) -> dict[TP, int]:
        """What to commit now: only partitions whose safe offset has moved, and none that commits itself."""
        return {tp: safe for tp, safe in self._moved() if tp.topic not in self._self_committing}

    def owed(self) -> dict[TP, int]:
        """What the partitions that commit themselves should commit beside batches: nothing is out, but they moved.

        Transaction markers at a partition's end take offsets; without this, lag would never reach 0.
        """
        return {tp: safe for tp, safe in self._moved() if tp.topic in self._self_committing and not self._queue(tp)}

    def _moved(self) -> Iterator[tuple[TP, int]]:
        for tp, partition in self._partitions.items():
            if partition.safe is not None and partition.safe != partition.committed:
                yield tp, partition.safe

    def committed(self, offsets: Mapping[TP, int]) -> None:
        """Take in that these offsets are stored."""
        for tp, offset in offsets.items():
            if tp in self._partitions:
                self._partitions[tp].committed = offset

    def reached_safely(self) -> dict[TP, int]:
        """What is acknowledged without a gap, by partition; of one that nothing was fetched of yet, what is committed.

        May be called by any thread.
        """
        found = {}
        for tp, partition in list(self._partitions.items()):
            try:
                safe = partition.safe
            except IndexError:  # the last batch was acknowledged between two steps of another thread
                safe = partition.position
            offset = partition.committed if safe is None else safe
            if offset is not None:
                found[tp] = offset
        return found

    def forget(self) -> None:
        """Drop everything: the records are read again from the committed offsets, here or elsewhere."""
        self._partitions.clear()
        self._bytes = 0

    def resumed(self, committed: Mapping[TP, int | None]) -> None:
        """Start over from these committed offsets."""
        self.forget()
        for tp, offset in committed.items():
            self._partitions.setdefault(tp, _Partition()).committed = offset

    # -- stalls

    def excuse(self) -> None:
        """Take in that the wait is known about: somebody retries in place while the world is at fault."""
        self._excused_at = self._clock()

    def stalled(self, seconds: float) -> RecordBatch | None:
        """Return a batch for which nothing has happened for so long, if any.

        An acknowledgement in its topic counts as something: a slow sink is no stall. That one batch went
        missing while its topic goes on shows when the next one of its partition is begun (`begun`).
        """
        now = self._clock()
        for partition in self._partitions.values():
            for batch in partition.queue:
                alive = max(batch.since, self._excused_at, self._last_ack.get(batch.tp.topic, 0.0))
                if not batch.acked and now - alive > seconds:
                    return batch
        return None

    def _queue(self, tp: TP) -> deque[RecordBatch]:
        partition = self._partitions.get(tp)
        return partition.queue if partition is not None else deque()
