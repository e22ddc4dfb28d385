"""The state of one partition of a keyed topic, and its changelog: how it is written and restored.

In:  rows of a compacted topic: the latest state of each key, or a tombstone; one row with the position in the source.
Out: a `Table`, equal to the one that the committed transactions left in memory.
The rows of a batch and its position are one transaction, so state and position always agree. If the committed offset of
the group differs (it expired, or somebody reset it), the position decides.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from processors.engine.batch import MAX_MESSAGE_BYTES, TP, Record
from processors.engine.clock import Clock
from processors.engine.consumer import new_consumer
from processors.engine.errors import KafkaRefused, RestoreStalled, SetupError, StateUnreadable, TransientDependencyError
from processors.engine.transactions import Output

S = TypeVar("S")

POSITION_KEY: Final = b"\x00position"
"""The key of the row with the position. No state may use it."""

_HOUR_MS: Final = 3_600_000


@dataclass(frozen=True, slots=True)
class StateCodec(Generic[S]):
    """Encodes a state to bytes and decodes it: `decode(encode(state))` equals `state`. Both are pure."""

    encode: Callable[[S], bytes]
    decode: Callable[[bytes], S]


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """A topic that must exist before a worker starts, with its partition count and Kafka configuration."""

    name: str
    partitions: int
    config: Mapping[str, str]


def changelog_config() -> dict[str, str]:
    """Return the configuration of a changelog: only the latest row of each key is kept, and tombstones for a day.

    A tombstone must outlive the longest restore, which could otherwise read a row and miss its deletion. A restore
    reads rows that are not compacted yet in vain: hence small segments, and compaction after an hour at most.
    """
    return {
        "cleanup.policy": "compact",
        "delete.retention.ms": str(24 * _HOUR_MS),
        "max.compaction.lag.ms": str(_HOUR_MS),
        "max.message.bytes": str(MAX_MESSAGE_BYTES),
        "min.cleanable.dirty.ratio": "0.2",
        "segment.bytes": str(64 * 2**20),
        "segment.ms": str(_HOUR_MS),
    }


def keyed_topics(
    source: str, changelog: str, partitions: int, *, source_config: Mapping[str, str] | None = None
) -> tuple[TopicSpec, TopicSpec]:
    """Return the two topics of a keyed agent, for the command that creates topics.

    `partitions` never changes: with another count, keys would be processed with the state of another partition, so a
    worker refuses to start. The retention of the source is up to the caller; it must exceed the longest outage.
    """
    return (
        TopicSpec(source, partitions, dict(source_config or {})),
        TopicSpec(changelog, partitions, changelog_config()),
    )


@dataclass(slots=True)
class Table(Generic[S]):
    """The state of one partition, as its committed transactions left it."""

    tp: TP
    """The partition of the source. The partition of the changelog has the same number."""
    rows: dict[bytes, S] = field(default_factory=dict)
    position: int | None = None
    """Every record of the source below this offset is in the state. None: nothing was committed yet."""
    initial_partitions: int | None = None
    """The source's partition count when its first transaction was committed."""

    def reset(self) -> None:
        """Clear the table before a restore."""
        self.rows.clear()
        self.position = self.initial_partitions = None

    def take(self, row: Record, codec: StateCodec[S]) -> None:
        """Apply a row of the changelog, in order. Raises StateUnreadable."""
        if row.key == POSITION_KEY:
            if row.value is not None:
                position_row = json.loads(row.value)
                self.position, self.initial_partitions = position_row["offset"], position_row["partitions"]
        elif row.key is not None:
            self._set(row.key, None if row.value is None else _decoded(row, codec))

    def apply(self, changed: Mapping[bytes, S | None], position: int) -> None:
        """Apply what a transaction has committed."""
        for key, state in changed.items():
            self._set(key, state)
        self.position = position

    def _set(self, key: bytes, state: S | None) -> None:
        if state is None:
            self.rows.pop(key, None)
        else:
            self.rows[key] = state


def _decoded(row: Record, codec: StateCodec[S]) -> S:
    try:
        return codec.decode(row.value or b"")
    except Exception as error:
        raise StateUnreadable(
            f"the state of a key can't be decoded: {error!r}",
            where=f"topic {row.topic}, partition {row.partition}, offset {row.offset}",
            mend="Start a version of the code that can read it. Continuing would use a wrong state.",
        ) from error


def rows_of(
    changed: Mapping[bytes, S | None],
    codec: StateCodec[S],
    *,
    changelog: str,
    source: TP,
    position: int,
    partitions: int,
) -> list[Output]:
    """Return the changelog rows of a transaction: the changed keys, then the position."""
    rows = [
        Output(changelog, key, None if state is None else codec.encode(state), (), source.partition)
        for key, state in changed.items()
    ]
    position_row = json.dumps({"offset": position, "partitions": partitions}).encode()
    rows.append(Output(changelog, POSITION_KEY, position_row, (), source.partition))
    return rows


async def restore(
    tables: Mapping[TP, Table[S]],
    codec: StateCodec[S],
    *,
    changelog: str,
    client: Mapping[str, Any],
    fetch_bytes: int,
    stall_seconds: float,
    on_rows: Callable[[TP, int], None] = lambda _tp, _rows: None,
    clock: Clock,
) -> None:
    """Restore the tables. The previous owner must be fenced before, or rows that it writes later would be missed.

    Reads committed rows up to the end offset at the call, including open transactions: an open transaction of another
    producer in the changelog hides the rows after it, so the restore waits for its end. Raises
    TransientDependencyError, to be called again; KafkaRefused and RecordsUnreadable, which a retry does not fix;
    RestoreStalled without progress for `stall_seconds`; SetupError if the state is of another source.
    """
    for table in tables.values():
        table.reset()
    by_partition = {TopicPartition(changelog, tp.partition): table for tp, table in tables.items()}
    try:
        written = await _written_ends([*by_partition, *(TopicPartition(*tp) for tp in tables)], client)
        ends = {tp: written[tp] for tp in by_partition if written[tp] > 0}
        await _read(by_partition, ends, codec, client, fetch_bytes, stall_seconds, on_rows, clock)
    except KafkaError as error:
        raise _classified(error, changelog) from error
    for tp, table in tables.items():
        _check_source_end(table, written[TopicPartition(*tp)])


def _classified(error: KafkaError, changelog: str) -> Exception:
    if error.retriable:
        return TransientDependencyError(f"{type(error).__name__}: {error}")
    return KafkaRefused(
        f"the changelog can't be read: {type(error).__name__}: {error}",
        where=f"topic {changelog}",
        mend="The worker ends. Fix what the error names, for example a permission, and start it again.",
    )


async def _written_ends(partitions: list[TopicPartition], client: Mapping[str, Any]) -> dict[TopicPartition, int]:
    """Return the end offset of each partition, including open transactions."""
    consumer = new_consumer(enable_auto_commit=False, isolation_level="read_uncommitted", **client)
    try:
        await consumer.start()
        ends: dict[TopicPartition, int] = await consumer.end_offsets(partitions)
        return ends
    finally:
        await consumer.stop()


async def _read(
    tables: Mapping[TopicPartition, Table[S]],
    ends: Mapping[TopicPartition, int],
    codec: StateCodec[S],
    client: Mapping[str, Any],
    fetch_bytes: int,
    stall_seconds: float,
    on_rows: Callable[[TP, int], None],
    clock: Clock,
) -> None:
    if not ends:
        return
    consumer = new_consumer(
        enable_auto_commit=False,
        isolation_level="read_committed",
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=fetch_bytes,
        fetch_max_wait_ms=50,  # there is nothing to wait for at the end
        **client,
    )
    try:
        await consumer.start()
        consumer.assign(list(ends))
        await consumer.seek_to_beginning(*ends)
        reached, moved_at = dict.fromkeys(ends, 0), clock()
        # Compare positions, not the offset of the last row: compaction and markers leave gaps.
        while behind := {tp: end for tp, end in ends.items() if reached[tp] < end}:
            for tp, rows in (await consumer.getmany(*behind, timeout_ms=100, max_records=5_000)).items():
                table = tables[tp]
                for row in rows:
                    table.take(row, codec)
                on_rows(table.tp, len(rows))
            now = {tp: await consumer.position(tp) for tp in ends}
            if now != reached:
                reached, moved_at = now, clock()
            elif clock() - moved_at > stall_seconds:
                raise _stalled(behind, reached, stall_seconds)
    finally:
        await consumer.stop()


def _stalled(
    behind: Mapping[TopicPartition, int], reached: Mapping[TopicPartition, int], seconds: float
) -> RestoreStalled:
    tp = min(behind)
    return RestoreStalled(
        f"the changelog is written up to offset {behind[tp]}, but only readable up to {reached[tp]}, "
        f"since {seconds:.0f} s",
        where=f"topic {tp.topic}, partition {tp.partition}",
        mend="An open transaction of another producer hides the rest, or the broker is unavailable: find it with "
        "kafka-transactions.sh and abort it. The worker ends and tries again.",
    )


def _check_source_end(table: Table[S], end: int) -> None:
    if table.position is not None and table.position > end:
        raise SetupError(
            f"the state contains the source up to offset {table.position}, but the source ends at {end}",
            where=f"topic {table.tp.topic}, partition {table.tp.partition}",
            mend="The source was created again or has lost records: see the documentation of its owner about data "
            "loss. Do not delete the changelog first.",
        )
