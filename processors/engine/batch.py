"""Track fetched batches that are not yet acknowledged, and which offsets can be committed.

In:  runs of records of one partition, in fetch order; acknowledgements, in any order.
Out: for each partition, the offset that is safe to commit.
Invariant: a committed offset never passes the first record that is not acknowledged.

This module does not use Kafka or Faust, so that the invariant can be tested on its own.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from time import monotonic
from typing import NamedTuple, Protocol

from processors.engine.clock import Clock
from processors.engine.errors import BatchLost

MAX_MESSAGE_BYTES = 8 * 2**20 + 64 * 1024
"""The largest record that is expected, with its headers and the overhead of a batch."""
SMALL_BYTES = 256 * 1024
"""Bytes of values of one partition that may be in flight regardless of the number of batches."""
MANY_BYTES = 64 * 2**20
"""Bytes of values of all partitions together. While more are in flight, a partition gets no second batch."""


class TP(NamedTuple):
    """A topic and partition. Equal to those of Faust and aiokafka, which are tuples too."""

    topic: str
    partition: int


class Record(Protocol):
    """The interface of a record. At run time it is an unmodified `ConsumerRecord` of aiokafka."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int:
        """Milliseconds since 1970; the topic's timestamp type says of which event."""

    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None:
        """None is a tombstone."""

    @property
    def headers(self) -> Sequence[tuple[str, bytes]]: ...


class Owner(Protocol):
    """The consumer that fetched a batch and tracks it."""

    def acknowledge(self, batch: RecordBatch) -> bool: ...
    def abandon(self, batch: RecordBatch) -> None: ...
    def holds(self, batch: RecordBatch) -> bool: ...
    def commit_offset(self, batch: RecordBatch) -> int: ...


class RecordBatch:
    """Consecutive records of one partition, as fetched: offsets in [first, next), possibly with gaps.

    A batch without an owner is for tests: it stores its own acknowledgement.
    """

    __slots__ = ("_bytes", "_owner", "acked", "begun", "first", "next", "records", "since", "tp")

    def __init__(self, tp: TP, records: Sequence[Record], owner: Owner | None = None) -> None:
        self.tp = tp
        self.records = records
        self.first = records[0].offset
        self.next = records[-1].offset + 1
        self.begun = False
        self.acked = False
        self.since = 0.0  # time of the fetch, the begin or the last write attempt, whichever is latest
        self._owner = owner
        self._bytes: int | None = None

    def ack(self) -> bool:
        """Acknowledge: every record is processed. False, without effect, if the partition was revoked."""
        if self._owner is not None:
            return self._owner.acknowledge(self)
        self.acked = True
        return True

    def abandon(self) -> None:
        """Note that no acknowledgement will come in this assignment, so that a stop need not wait for it."""
        if self._owner is not None:
            self._owner.abandon(self)

    @property
    def live(self) -> bool:
        """Whether an acknowledgement still counts. If not, another worker processes these records."""
        return not self.acked and (self._owner is None or self._owner.holds(self))

    @property
    def commit_offset(self) -> int:
        """The offset to commit once this batch and all before it are processed: after following markers and gaps."""
        return self.next if self._owner is None else self._owner.commit_offset(self)

    @property
    def body_bytes(self) -> int:
        """Size of all values together."""
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
    """The batches of one partition in fetch order, its fetch position and its committed offset."""

    __slots__ = ("committed", "position", "queue")

    def __init__(self) -> None:
        self.queue: deque[RecordBatch] = deque()
        self.position: int | None = None
        self.committed: int | None = None

    @property
    def low_watermark(self) -> int | None:
        """The offset below which every record is acknowledged."""
        # Offsets between batches are not records (compaction, transaction markers). So it is the first offset of the
        # oldest batch in flight, or the fetch position if there is none.
        return self.queue[0].first if self.queue else self.position


class Inflight:
    """The batches in flight, per partition, first in first out."""

    def __init__(
        self,
        limit: int,
        clock: Clock = monotonic,
        *,
        small_bytes: int = SMALL_BYTES,
        many_bytes: int = MANY_BYTES,
        self_committing: Collection[str] = (),
    ) -> None:
        """Create an empty tracker. Offsets of `self_committing` topics are committed by an agent's transactions."""
        self._limit, self._small_bytes, self._many_bytes = limit, small_bytes, many_bytes
        self._bytes = 0
        self._self_committing = self_committing
        self._clock = clock
        self._partitions: dict[TP, _Partition] = {}
        self._last_ack: dict[str, float] = {}  # by topic
        self._stall_timer_paused_at = clock()

    # -- life of a batch

    def opened(self, batch: RecordBatch) -> None:
        """Track a batch that was just fetched."""
        batch.since = self._clock()
        partition = self._partitions.setdefault(batch.tp, _Partition())
        partition.queue.append(batch)
        partition.position = batch.next
        self._bytes += batch.body_bytes

    def reached(self, tp: TP, position: int) -> None:
        """Note that every record below `position` was fetched. Moves past markers and gaps at the end."""
        self._partitions.setdefault(tp, _Partition()).position = position

    def begun(self, batch: RecordBatch) -> None:
        """Note that an agent has received this batch. Raises BatchLost if it skipped an earlier one."""
        batch.begun, batch.since = True, self._clock()
        if not self.holds(batch):
            return  # from a previous assignment
        for earlier in self._queue(batch.tp):
            if earlier is batch:
                return
            if not (earlier.begun or earlier.acked):
                raise BatchLost(
                    f"{earlier!r} was skipped: {batch!r} of the same partition was begun before it",
                    where=f"topic {batch.tp.topic}, partition {batch.tp.partition}",
                    mend="Nothing is lost: both are read again. Report it, it is a bug of the engine.",
                )

    def acked(self, batch: RecordBatch) -> bool:
        """Note an acknowledgement. False if the batch is not, or no longer, in flight."""
        if not self.holds(batch):
            return False
        batch.acked = True
        self._last_ack[batch.tp.topic] = self._clock()
        queue = self._queue(batch.tp)
        while queue and queue[0].acked:
            self._bytes -= queue.popleft().body_bytes
        return True

    def abandoned(self, batch: RecordBatch) -> None:
        """Note that nobody works on this batch any more."""
        batch.begun = False

    def holds(self, batch: RecordBatch) -> bool:
        return not batch.acked and any(batch is other for other in self._queue(batch.tp))

    def commit_offset(self, batch: RecordBatch) -> int:
        """Return the offset to commit once `batch` and all before it are processed."""
        if not self.holds(batch):
            return batch.next
        partition = self._partitions[batch.tp]
        later = [other.first for other in partition.queue if other.first > batch.first]
        return later[0] if later else partition.position or batch.next

    def has_room(self, tp: TP) -> bool:
        """Whether another batch of the partition may be fetched. This is the back-pressure.

        Batches that are small in total don't count: records that aiokafka has fetched and can't deliver keep it from
        fetching any other partition for a tenth of a second.

        A partition with nothing in flight always has room, so that one stuck agent does not stop the others.
        """
        queue = self._queue(tp)
        if len(queue) < self._limit and (not queue or self._bytes < self._many_bytes):
            return True
        return sum(batch.body_bytes for batch in queue) < self._small_bytes

    def worth_waiting(self) -> bool:
        """Whether an agent has a batch that it may still acknowledge."""
        return any(b.begun and not b.acked for p in self._partitions.values() for b in p.queue)

    # -- commits

    def committable(self) -> dict[TP, int]:
        """What to commit now: partitions whose low watermark has moved, without the self-committing ones."""
        return {tp: offset for tp, offset in self._moved() if tp.topic not in self._self_committing}

    def idle_positions(self) -> dict[TP, int]:
        """What self-committing partitions should commit while idle: nothing is in flight, but the position has moved.

        Transaction markers at the end of a partition take offsets. Without this, lag would never reach 0.
        """
        return {tp: offset for tp, offset in self._moved() if tp.topic in self._self_committing and not self._queue(tp)}

    def _moved(self) -> Iterator[tuple[TP, int]]:
        for tp, partition in self._partitions.items():
            if partition.low_watermark is not None and partition.low_watermark != partition.committed:
                yield tp, partition.low_watermark

    def committed(self, offsets: Mapping[TP, int]) -> None:
        """Note that these offsets are committed."""
        for tp, offset in offsets.items():
            if tp in self._partitions:
                self._partitions[tp].committed = offset

    def low_watermarks(self) -> dict[TP, int]:
        """The low watermark by partition: every record below it is acknowledged.

        If nothing of a partition was fetched yet, it is the committed offset. May be called by any thread.
        """
        found = {}
        for tp, partition in list(self._partitions.items()):
            try:
                offset = partition.low_watermark
            except IndexError:  # another thread acknowledged the last batch between the two reads
                offset = partition.position
            offset = partition.committed if offset is None else offset
            if offset is not None:
                found[tp] = offset
        return found

    def forget(self) -> None:
        """Drop everything: the records are read again from the committed offsets, here or elsewhere."""
        self._partitions.clear()
        self._bytes = 0

    def resumed(self, committed: Mapping[TP, int | None]) -> None:
        """Restart from these committed offsets."""
        self.forget()
        for tp, offset in committed.items():
            self._partitions.setdefault(tp, _Partition()).committed = offset

    # -- stalls

    def pause_stall_timer(self) -> None:
        """Restart the stall timer: a writer is retrying because a dependency is unavailable, which is not a stall."""
        self._stall_timer_paused_at = self._clock()

    def stalled(self, seconds: float) -> RecordBatch | None:
        """Return a batch without any progress for this long, if there is one.

        Any acknowledgement in its topic counts as progress: a slow sink is not a stall. If one batch gets lost while
        its topic continues, `begun` of the next batch of its partition finds out.
        """
        now = self._clock()
        for partition in self._partitions.values():
            for batch in partition.queue:
                alive = max(batch.since, self._stall_timer_paused_at, self._last_ack.get(batch.tp.topic, 0.0))
                if not batch.acked and now - alive > seconds:
                    return batch
        return None

    def _queue(self, tp: TP) -> deque[RecordBatch]:
        partition = self._partitions.get(tp)
        return partition.queue if partition is not None else deque()
