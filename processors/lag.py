"""How far the readers are behind: for each consumer group, topic and partition.

In:  the groups of `schemas.groups`, and what the broker knows of them.
Out: a `Lag`. The end of a partition is its last stable offset, as its readers see it: records of a transaction that is
still open don't count. What was never committed counts from the partition's first record that is still there.

The answers of the broker are not of one instant: a partition that is written and read meanwhile may show a few records
of lag. Zero is certain: nothing that was there before the call is unread.
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

from processors.engine import MicroBatchApp, new_consumer, retrying
from schemas.errors import BrokerError
from schemas.groups import Group
from schemas.telemetry import Readings, Telemetry

__all__ = ["SETTLING", "Lag", "PartitionLag", "catch_up", "lag", "show_lag"]

_WITHIN_SECONDS = 20.0
_POLL_SECONDS = 0.2
_LINKS = 4
"""What is read here is written on there, and read again: the gate's intake, its agents by address and by account, and
the ledger, which reads what they publish."""
_REQUEST_TIMEOUT_MS = 10_000
SETTLING = (GroupCoordinatorNotAvailableError, GroupLoadInProgressError, NotCoordinatorForGroupError)
"""A broker that has just started, or that has never had a group before, says these for a moment."""

Bounds = Mapping[TopicPartition, tuple[int, int]]
Ask = Callable[[Sequence[TopicPartition]], Awaitable[Mapping[TopicPartition, int]]]


@dataclass(frozen=True, slots=True)
class PartitionLag:
    """One group in one partition. `committed` is None where the group has committed nothing."""

    group: str
    topic: str
    partition: int
    committed: int | None
    end: int
    lag: int


@dataclass(frozen=True, slots=True)
class Lag:
    """All groups in all their partitions, in order of their names."""

    partitions: tuple[PartitionLag, ...]

    @property
    def total(self) -> int:
        """Records that some group has still to read."""
        return sum(partition.lag for partition in self.partitions)

    def as_json(self) -> dict[str, Any]:
        """Return what `sendledger lag --json` prints."""
        return {"total": self.total, "partitions": [asdict(partition) for partition in self.partitions]}


async def lag(bootstrap: str, groups: Sequence[Group]) -> Lag:
    """Return the lag of `groups`. A topic that does not exist has none. Raises BrokerError."""
    return (await _answered(bootstrap, groups)).lag


def _said(error: Exception) -> str:
    return f"no answer in {_WITHIN_SECONDS:.0f} s" if isinstance(error, TimeoutError) else type(error).__name__


async def catch_up(
    bootstrap: str,
    groups: Sequence[Group],
    *,
    within_seconds: float,
    say: Callable[[int], None] = lambda _behind: None,
) -> int:
    """Wait until `groups` have read all that there was at the time of the call, and what they wrote of it themselves.

    Traffic that goes on meanwhile is not waited for. The targets are the ends of all partitions as they are now; once
    they are reached, what was written of it lies in topics that the same groups read, so the ends are taken again, once
    for each link of that chain. Records of a transaction that is still open count: what lies behind them can't be read.

    Returns how many records of the present targets are unread: 0, or what is left after `within_seconds`. Raises
    BrokerError.
    """
    clock = asyncio.get_running_loop().time
    until = clock() + within_seconds
    for _link in range(_LINKS):
        reading = await _answered(bootstrap, groups)
        targets = reading.written
        while behind := reading.before(targets):
            say(behind)
            if clock() > until:
                return behind
            await asyncio.sleep(_POLL_SECONDS)
            reading = await _answered(bootstrap, groups)
    return 0


def show_lag(app: MicroBatchApp, group: str, telemetry: Telemetry) -> None:
    """Have the worker's metrics show how far it is behind, and what has no reader, as far as it knows unasked."""

    def read() -> Readings:
        return {(group, tp.topic, str(tp.partition)): float(behind) for tp, behind in app.lag().items()}

    telemetry.watch("lag_records", read)
    telemetry.watch("unread_partitions", lambda: {(group, topic): float(n) for topic, n in app.unread().items()})


@dataclass(frozen=True, slots=True)
class _Reading:
    """What the broker said: how far each group is, and where each partition really ends, open transactions included."""

    lag: Lag
    written: Mapping[TopicPartition, int]

    def before(self, targets: Mapping[TopicPartition, int]) -> int:
        """Return how many records the groups have still to read up to `targets`. New partitions have no target."""
        return sum(
            max(0, targets.get(TopicPartition(p.topic, p.partition), 0) - (p.end - p.lag)) for p in self.lag.partitions
        )


async def _answered(bootstrap: str, groups: Sequence[Group]) -> _Reading:
    try:
        async with asyncio.timeout(_WITHIN_SECONDS):
            return await retrying(lambda: _measured(bootstrap, groups), world=SETTLING)
    except (KafkaError, TimeoutError) as error:
        raise BrokerError(
            f"Kafka does not tell how far its readers are: {_said(error)}",
            bootstrap,
            "Start it, and try again",
        ) from error


async def _measured(bootstrap: str, groups: Sequence[Group]) -> _Reading:
    async with _admin(bootstrap) as admin:
        partitions = {
            topic["topic"]: [TopicPartition(topic["topic"], p["partition"]) for p in topic["partitions"]]
            for topic in await admin.describe_topics()
        }
        read = await _read_by(admin, groups)
    names = {topic for topics in read.values() for topic in topics if topic in partitions}
    by_topic = [partitions[name] for name in sorted(names)]
    bounds, written = await asyncio.gather(_bounds(bootstrap, by_topic), _written(bootstrap, by_topic))
    found: list[PartitionLag] = []
    for group, topics in sorted(read.items()):
        tps = [tp for topic in sorted(topics) for tp in sorted(partitions.get(topic, ()))]
        committed = await _committed(bootstrap, group, tps)
        found += (_of_partition(group, tp, committed[tp], *bounds[tp]) for tp in tps)
    return _Reading(Lag(tuple(found)), written)


def _of_partition(group: str, tp: TopicPartition, committed: int | None, first: int, end: int) -> PartitionLag:
    # What retention has deleted can't be read any more, and so is no lag.
    reached = first if committed is None else max(committed, first)
    return PartitionLag(group, tp.topic, tp.partition, committed, end, max(0, end - reached))


async def _read_by(admin: AIOKafkaAdminClient, groups: Iterable[Group]) -> dict[str, set[str]]:
    """Return the topics of each group; where they are its own business, those that it has committed something in."""
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


async def _bounds(bootstrap: str, topics: Sequence[Sequence[TopicPartition]]) -> Bounds:
    """Return the first offset and the end of each partition."""
    if not topics:  # and a consumer that is stopped right after its start raises CancelledError
        return {}
    async with _consumer(bootstrap) as consumer:
        # Side by side: the client has to learn of each topic first.
        firsts = await asyncio.gather(*(_told(bootstrap, consumer.beginning_offsets, tps) for tps in topics))
        ends = await asyncio.gather(*(_told(bootstrap, consumer.end_offsets, tps) for tps in topics))
    return {tp: (first[tp], end[tp]) for first, end in zip(firsts, ends, strict=True) for tp in first}


async def _told(bootstrap: str, ask: Ask, tps: Sequence[TopicPartition]) -> Mapping[TopicPartition, int]:
    """Return what is asked of one topic's partitions. Raises BrokerError, which names the topic."""
    try:
        return await ask(tps)
    except SETTLING:
        raise
    except KafkaError as error:
        raise BrokerError(
            f"Kafka does not tell where {tps[0].topic} begins and ends: {type(error).__name__}",
            bootstrap,
            "See whether each of its partitions has a leader: `sendledger doctor` tells",
        ) from error


async def _written(bootstrap: str, topics: Sequence[Sequence[TopicPartition]]) -> dict[TopicPartition, int]:
    """Return the end of each partition with the records of open transactions, which its readers can't see yet."""
    if not topics:
        return {}
    async with _consumer(bootstrap, isolation_level="read_uncommitted") as consumer:
        ends = await asyncio.gather(*(consumer.end_offsets(tps) for tps in topics))
    return {tp: offset for end in ends for tp, offset in end.items()}


async def _committed(bootstrap: str, group: str, tps: Sequence[TopicPartition]) -> Mapping[TopicPartition, int | None]:
    if not tps:
        return {}
    async with _consumer(bootstrap, group) as consumer:
        return dict(zip(tps, await asyncio.gather(*map(consumer.committed, tps)), strict=True))


@asynccontextmanager
async def _admin(bootstrap: str) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap, request_timeout_ms=_REQUEST_TIMEOUT_MS)
    try:
        await admin.start()
        yield admin
    finally:
        await admin.close()


@asynccontextmanager
async def _consumer(
    bootstrap: str, group: str | None = None, *, isolation_level: str = "read_committed"
) -> AsyncIterator[AIOKafkaConsumer]:
    """Return a consumer that only asks: without a subscription it joins no group and fetches nothing."""
    consumer = new_consumer(
        bootstrap_servers=bootstrap,
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
