"""The state of one partition of a keyed topic, and its changelog: what is written, and how it is read back.

In:  rows of a compacted topic: a key's latest state, or a tombstone; and one row that says how far the source was read.
Out: a `Table`, equal to what the transactions before it left in memory.
The rows of a batch and its position are one transaction, so that state and position can't disagree: where the group's
committed offset is another one (it expired, or somebody moved it back), the position is what counts.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, Final, Generic, TypeVar

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from processors.engine.batch import TP, Record
from processors.engine.errors import KafkaRefused, RestoreStalled, SetupError, StateUnreadable, WorldFault
from processors.engine.reading import new_consumer
from processors.engine.transactions import Output

S = TypeVar("S")

POSITION_KEY: Final = b"\x00position"
"""The key of the row that holds the position. No state may have it."""

_HOUR_MS: Final = 3_600_000


@dataclass(frozen=True, slots=True)
class Codec(Generic[S]):
    """How a state becomes bytes and comes back: `decode(encode(state))` equals `state`. Both are pure."""

    encode: Callable[[S], bytes]
    decode: Callable[[bytes], S]


@dataclass(frozen=True, slots=True)
class TopicNeed:
    """A topic that must exist before a worker starts, with its partition count and configuration in Kafka's words."""

    name: str
    partitions: int
    config: Mapping[str, str]


def changelog_config(max_record_bytes: int = 8 * 2**20) -> dict[str, str]:
    """Return how a changelog is configured: only the latest row of a key is kept, and tombstones for a day.

    A tombstone must outlive the longest restore, which else could read a row and miss that it was forgotten. What was
    not compacted yet is what a restore reads for nothing: hence the small segments, and an hour at most.
    """
    return {
        "cleanup.policy": "compact",
        "delete.retention.ms": str(24 * _HOUR_MS),
        "max.compaction.lag.ms": str(_HOUR_MS),
        "max.message.bytes": str(max_record_bytes + 64 * 1024),
        "min.cleanable.dirty.ratio": "0.2",
        "segment.bytes": str(64 * 2**20),
        "segment.ms": str(_HOUR_MS),
    }


def keyed_topics(
    source: str, changelog: str, partitions: int, *, source_config: Mapping[str, str] | None = None
) -> tuple[TopicNeed, TopicNeed]:
    """Return the two topics of a keyed agent, for the command that makes topics.

    `partitions` is fixed at birth: with another count keys would meet another partition's state, and a worker refuses
    to start. How long the source is kept is the caller's to say; it must outlast the longest standstill.
    """
    return (
        TopicNeed(source, partitions, dict(source_config or {})),
        TopicNeed(changelog, partitions, changelog_config()),
    )


@dataclass(slots=True)
class Table(Generic[S]):
    """The state of one partition, as its committed transactions left it."""

    tp: TP
    """The source's partition; the changelog's has the same number."""
    rows: dict[bytes, S] = field(default_factory=dict)
    position: int | None = None
    """Every record below this offset of the source is in. None: nothing was ever committed here."""
    born_with: int | None = None
    """The source's partition count when its first transaction was committed."""

    def reset(self) -> None:
        """Forget everything, to be read back again."""
        self.rows.clear()
        self.position = self.born_with = None

    def take(self, row: Record, codec: Codec[S]) -> None:
        """Take in a row that is read back, in the order of the changelog. Raises StateUnreadable."""
        if row.key == POSITION_KEY:
            if row.value is not None:
                said = json.loads(row.value)
                self.position, self.born_with = said["offset"], said["partitions"]
        elif row.key is not None:
            self._set(row.key, None if row.value is None else _decoded(row, codec))

    def apply(self, changed: Mapping[bytes, S | None], position: int) -> None:
        """Take in what a transaction has committed."""
        for key, state in changed.items():
            self._set(key, state)
        self.position = position

    def _set(self, key: bytes, state: S | None) -> None:
        if state is None:
            self.rows.pop(key, None)
        else:
            self.rows[key] = state


def _decoded(row: Record, codec: Codec[S]) -> S:
    try:
        return codec.decode(row.value or b"")
    except Exception as error:
        raise StateUnreadable(
            f"the state of a key can't be decoded: {error!r}",
            where=f"topic {row.topic}, partition {row.partition}, offset {row.offset}",
            mend="Start a version of the code that can read it; going on would decide from a wrong state.",
        ) from error


def rows_of(
    changed: Mapping[bytes, S | None], codec: Codec[S], *, changelog: str, source: TP, position: int, partitions: int
) -> list[Output]:
    """Return the changelog's rows for a transaction: the changed keys, then the position."""
    rows = [
        Output(changelog, key, None if state is None else codec.encode(state), (), source.partition)
        for key, state in changed.items()
    ]
    said = json.dumps({"offset": position, "partitions": partitions}).encode()
    rows.append(Output(changelog, POSITION_KEY, said, (), source.partition))
    return rows


async def restore(
    tables: Mapping[TP, Table[S]],
    codec: Codec[S],
    *,
    changelog: str,
    client: Mapping[str, Any],
    fetch_bytes: int,
    stall_seconds: float,
    on_rows: Callable[[TP, int], None] = lambda _tp, _rows: None,
) -> None:
    """Read the tables back. Only who has fenced the former owner may call it: what is written later would be missed.

    Reads what is committed, up to what was *written* when it begins: an open transaction of a stranger in the changelog
    hides rows behind it, so that its end is waited for. Raises WorldFault, to be called again; KafkaRefused and
    RecordsUnreadable, which no retry mends; RestoreStalled where nothing comes in `stall_seconds`; SetupError where the
    source is not the one that the state was made of.
    """
    for table in tables.values():
        table.reset()
    places = {TopicPartition(changelog, tp.partition): table for tp, table in tables.items()}
    try:
        written = await _written_ends([*places, *(TopicPartition(*tp) for tp in tables)], client)
        ends = {place: written[place] for place in places if written[place] > 0}
        await _read(places, ends, codec, client, fetch_bytes, stall_seconds, on_rows)
    except KafkaError as error:
        raise _judged(error, changelog) from error
    for tp, table in tables.items():
        _refuse_a_shorter_source(table, written[TopicPartition(*tp)])


def _judged(error: KafkaError, changelog: str) -> Exception:
    if error.retriable:
        return WorldFault(f"{type(error).__name__}: {error}")
    return KafkaRefused(
        f"Kafka does not give the changelog: {type(error).__name__}: {error}",
        where=f"topic {changelog}",
        mend="The worker ends. Mend what the error names, a permission for example, and start it again.",
    )


async def _written_ends(places: list[TopicPartition], client: Mapping[str, Any]) -> dict[TopicPartition, int]:
    """Return the end of each partition, open transactions and all."""
    consumer = new_consumer(enable_auto_commit=False, isolation_level="read_uncommitted", **client)
    try:
        await consumer.start()
        ends: dict[TopicPartition, int] = await consumer.end_offsets(places)
        return ends
    finally:
        await consumer.stop()


async def _read(
    tables: Mapping[TopicPartition, Table[S]],
    ends: Mapping[TopicPartition, int],
    codec: Codec[S],
    client: Mapping[str, Any],
    fetch_bytes: int,
    stall_seconds: float,
    on_rows: Callable[[TP, int], None],
) -> None:
    if not ends:
        return
    consumer = new_consumer(
        enable_auto_commit=False,
        isolation_level="read_committed",
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=fetch_bytes,
        fetch_max_wait_ms=50,  # at the end there is nothing more to wait for
        **client,
    )
    try:
        await consumer.start()
        consumer.assign(list(ends))
        await consumer.seek_to_beginning(*ends)
        reached, moved_at = dict.fromkeys(ends, 0), monotonic()
        # By position, not by the last row's offset: compaction and markers leave holes.
        while behind := {tp: end for tp, end in ends.items() if reached[tp] < end}:
            for tp, rows in (await consumer.getmany(*behind, timeout_ms=100, max_records=5_000)).items():
                table = tables[tp]
                for row in rows:
                    table.take(row, codec)
                on_rows(table.tp, len(rows))
            now = {tp: await consumer.position(tp) for tp in ends}
            if now != reached:
                reached, moved_at = now, monotonic()
            elif monotonic() - moved_at > stall_seconds:
                raise _stalled(behind, reached, stall_seconds)
    finally:
        await consumer.stop()


def _stalled(
    behind: Mapping[TopicPartition, int], reached: Mapping[TopicPartition, int], seconds: float
) -> RestoreStalled:
    tp = min(behind)
    return RestoreStalled(
        f"the changelog is written up to offset {behind[tp]} and readable up to {reached[tp]}, for {seconds:.0f} s",
        where=f"topic {tp.topic}, partition {tp.partition}",
        mend="Somebody else's open transaction hides the rest, or the broker is away: find it with "
        "kafka-transactions.sh, and end it. The worker ends and tries again.",
    )


def _refuse_a_shorter_source(table: Table[S], end: int) -> None:
    if table.position is not None and table.position > end:
        raise SetupError(
            f"the state has seen the source up to offset {table.position}, but the source ends at {end}",
            where=f"topic {table.tp.topic}, partition {table.tp.partition}",
            mend="The source was made anew or has lost records: see what its owner's documentation says about a loss; "
            "do not delete the changelog first.",
        )
