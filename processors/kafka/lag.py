"""Measure consumer lag by group, topic and partition.

In:  the groups of `schemas.consumer_groups`, and the broker's data about them.
Out: a `Lag`. The end of a partition is its last stable offset, as its readers see it: records of open transactions
don't count. If a group has committed nothing, its lag counts from the first record that still exists.

The broker's answers are not from one instant: a partition that is written and read meanwhile may show a lag of a few
records. Zero is exact: every record that existed before the call has been read.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import (
    GroupCoordinatorNotAvailableError,
    GroupLoadInProgressError,
    KafkaError,
    NotCoordinatorForGroupError,
)

from processors.engine import MicroBatchApp
from processors.engine.consumer import new_consumer
from processors.engine.failures import retrying
from processors.kafka.diagnosis import connection_error
from schemas.consumer_groups import ConsumerGroup
from schemas.errors import BrokerError
from schemas.kafka_connection import KafkaAddress, client_arguments
from schemas.telemetry import LAG_RECORDS, UNREAD_PARTITIONS, Reading, Telemetry

__all__ = ["COORDINATOR_LOADING", "Lag", "PartitionLag", "export_lag", "lag", "wait_until_caught_up"]

_WITHIN_SECONDS = 20.0
_POLL_SECONDS = 0.2
_CHAIN_LENGTH = 4
"""The length of the longest chain of readers in which each reads what the previous one wrote: the gate's intake, its
agents by address and by account, and the ledger."""
_REQUEST_TIMEOUT_MS = 10_000
COORDINATOR_LOADING = (GroupCoordinatorNotAvailableError, GroupLoadInProgressError, NotCoordinatorForGroupError)
"""Errors that a broker returns for a moment after its start, and when its first group is created."""

OffsetRanges = Mapping[TopicPartition, tuple[int, int]]
OffsetRequest = Callable[[Sequence[TopicPartition]], Awaitable[Mapping[TopicPartition, int]]]


@dataclass(frozen=True, slots=True)
class PartitionLag:
    """One group in one partition. `committed` is None if the group has committed nothing."""

    group: str
    topic: str
    partition: int
    committed: int | None
    end: int
    lag: int


@dataclass(frozen=True, slots=True)
class Lag:
    """All groups with all their partitions, sorted by name."""

    partitions: tuple[PartitionLag, ...]

    @property
    def total(self) -> int:
        """Unread records of all groups together."""
        return sum(partition.lag for partition in self.partitions)

    def as_json(self) -> dict[str, Any]:
        """Return what `sendledger lag --json` prints."""
        return {"total": self.total, "partitions": [asdict(partition) for partition in self.partitions]}


async def lag(bootstrap: KafkaAddress, groups: Sequence[ConsumerGroup]) -> Lag:
    """Return the lag of `groups`. A topic that does not exist has no lag. Raises BrokerError."""
    return (await _measure(bootstrap, groups)).lag


def _reason(error: Exception) -> str:
    return f"no answer in {_WITHIN_SECONDS:.0f} s" if isinstance(error, TimeoutError) else type(error).__name__


async def wait_until_caught_up(
    bootstrap: KafkaAddress,
    groups: Sequence[ConsumerGroup],
    *,
    within_seconds: float,
    say: Callable[[int], None] = lambda _behind: None,
) -> int:
    """Wait until `groups` have read everything that existed at the call, and what they wrote as a result.

    Records that are written meanwhile are not waited for. The targets are the current end offsets of all partitions.
    Once they are reached, the results are in topics that the same groups read, so the end offsets are taken again, once
    per reader in the chain. Records of open transactions count, because records after them can't be read yet.

    Returns how many records up to the current targets are unread: 0, or the rest after `within_seconds`. Raises
    BrokerError.
    """
    clock = asyncio.get_running_loop().time
    until = clock() + within_seconds
    for _reader in range(_CHAIN_LENGTH):
        measurement = await _measure(bootstrap, groups)
        targets = measurement.written
        while behind := measurement.unread_before(targets):
            say(behind)
            if clock() > until:
                return behind
            await asyncio.sleep(_POLL_SECONDS)
            measurement = await _measure(bootstrap, groups)
    return 0


def export_lag(app: MicroBatchApp, group: str, telemetry: Telemetry) -> None:
    """Export the worker's lag and unread partitions as metrics, from what it knows without a request to Kafka."""

    def behind() -> Iterable[Reading]:
        for tp, records in app.lag().items():
            yield Reading(records, {"group": group, "topic": tp.topic, "partition": str(tp.partition)})

    def unread() -> Iterable[Reading]:
        for topic, partitions in app.unread().items():
            yield Reading(partitions, {"group": group, "topic": topic})

    telemetry.watch(LAG_RECORDS, behind)
    telemetry.watch(UNREAD_PARTITIONS, unread)


@dataclass(frozen=True, slots=True)
class _Measurement:
    """One measurement: the lag of each group, and the end of each partition including open transactions."""

    lag: Lag
    written: Mapping[TopicPartition, int]

    def unread_before(self, targets: Mapping[TopicPartition, int]) -> int:
        """Return how many records up to `targets` are unread. New partitions have no target."""
        return sum(
            max(0, targets.get(TopicPartition(p.topic, p.partition), 0) - (p.end - p.lag)) for p in self.lag.partitions
        )


async def _measure(bootstrap: KafkaAddress, groups: Sequence[ConsumerGroup]) -> _Measurement:
    try:
        async with asyncio.timeout(_WITHIN_SECONDS):
            return await retrying(lambda: _measured(bootstrap, groups), transient=COORDINATOR_LOADING)
    except (KafkaError, TimeoutError) as error:
        raise await connection_error(
            f"The consumer lag can't be read: {_reason(error)}",
            bootstrap,
            "Check that Kafka runs, and try again",
            error,
        ) from error


async def _measured(bootstrap: KafkaAddress, groups: Sequence[ConsumerGroup]) -> _Measurement:
    async with _admin(bootstrap) as admin:
        partitions = {
            topic["topic"]: [TopicPartition(topic["topic"], p["partition"]) for p in topic["partitions"]]
            for topic in await admin.describe_topics()
        }
        read = await _read_by(admin, groups)
    names = {topic for topics in read.values() for topic in topics if topic in partitions}
    by_topic = [partitions[name] for name in sorted(names)]
    ranges, written = await asyncio.gather(_offset_ranges(bootstrap, by_topic), _written(bootstrap, by_topic))
    measured: list[PartitionLag] = []
    for group, topics in sorted(read.items()):
        tps = [tp for topic in sorted(topics) for tp in sorted(partitions.get(topic, ()))]
        committed = await _committed(bootstrap, group, tps)
        measured += (_of_partition(group, tp, committed[tp], *ranges[tp]) for tp in tps)
    return _Measurement(Lag(tuple(measured)), written)


def _of_partition(group: str, tp: TopicPartition, committed: int | None, first: int, end: int) -> PartitionLag:
    # Records that retention has deleted can't be read any more, so they are not lag.
    reached = first if committed is None else max(committed, first)
    return PartitionLag(group, tp.topic, tp.partition, committed, end, max(0, end - reached))


async def _read_by(admin: AIOKafkaAdminClient, groups: Iterable[ConsumerGroup]) -> dict[str, set[str]]:
    """Return the topics of each group; if they are not configured, those that it has committed offsets for."""
    read: dict[str, set[str]] = {}
    known: set[str] | None = None
    for group in groups:
        if group.topics is not None:
            read[group.name] = set(group.topics)
            continue
        if known is None:
            known = {name for name, *_ in await admin.list_consumer_groups()}
        if group.name in known:
            read[group.name] = {tp.topic for tp in await admin.list_consumer_group_offsets(group.name)}
    return read


async def _offset_ranges(bootstrap: KafkaAddress, topics: Sequence[Sequence[TopicPartition]]) -> OffsetRanges:
    """Return the first offset and the end of each partition."""
    if not topics:  # also, a consumer that is stopped right after its start raises CancelledError
        return {}
    async with _consumer(bootstrap) as consumer:
        # Concurrently: the client first has to fetch the metadata of each topic.
        firsts = await asyncio.gather(*(_offsets(bootstrap, consumer.beginning_offsets, tps) for tps in topics))
        ends = await asyncio.gather(*(_offsets(bootstrap, consumer.end_offsets, tps) for tps in topics))
    return {tp: (first[tp], end[tp]) for first, end in zip(firsts, ends, strict=True) for tp in first}


async def _offsets(
    bootstrap: KafkaAddress, request: OffsetRequest, tps: Sequence[TopicPartition]
) -> Mapping[TopicPartition, int]:
    """Return the offsets of the partitions of one topic. Raises BrokerError with the name of the topic."""
    try:
        return await request(tps)
    except COORDINATOR_LOADING:
        raise
    except KafkaError as error:
        raise BrokerError(
            f"The offsets of topic {tps[0].topic} can't be read: {type(error).__name__}",
            str(bootstrap),
            "Check with `sendledger doctor` whether each of its partitions has a leader",
        ) from error


async def _written(bootstrap: KafkaAddress, topics: Sequence[Sequence[TopicPartition]]) -> dict[TopicPartition, int]:
    """Return the end of each partition including open transactions, which its readers can't see yet."""
    if not topics:
        return {}
    async with _consumer(bootstrap, isolation_level="read_uncommitted") as consumer:
        ends = await asyncio.gather(*(consumer.end_offsets(tps) for tps in topics))
    return {tp: offset for end in ends for tp, offset in end.items()}


async def _committed(
    bootstrap: KafkaAddress, group: str, tps: Sequence[TopicPartition]
) -> Mapping[TopicPartition, int | None]:
    if not tps:
        return {}
    async with _consumer(bootstrap, group) as consumer:
        return dict(zip(tps, await asyncio.gather(*map(consumer.committed, tps)), strict=True))


@asynccontextmanager
async def _admin(bootstrap: KafkaAddress) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(**client_arguments(bootstrap), request_timeout_ms=_REQUEST_TIMEOUT_MS)
    try:
        await admin.start()
        yield admin
    finally:
        await admin.close()


@asynccontextmanager
async def _consumer(
    bootstrap: KafkaAddress, group: str | None = None, *, isolation_level: str = "read_committed"
) -> AsyncIterator[AIOKafkaConsumer]:
    """Return a consumer for requests only: without a subscription it joins no group and fetches nothing."""
    consumer = new_consumer(
        **client_arguments(bootstrap),
        group_id=group,
        enable_auto_commit=False,
        isolation_level=isolation_level,
        request_timeout_ms=_REQUEST_TIMEOUT_MS,
    )
    try:
        await consumer.start()
        yield consumer
    finally:
        await consumer.stop()
