"""How far the readers are behind: for each consumer group, topic and partition.

In:  the groups of `schemas.groups`, and what the broker knows of them.
Out: a `Lag`. The end of a partition is its last stable offset, as its readers see it: records of a transaction that is
still open don't count. What was never committed counts from the partition's first record that is still there.

The answers of the broker are not of one instant: a partition that is written and read meanwhile may show a few records
of lag. Zero is certain: nothing that was there before the call is unread.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
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

from processors.engine import MicroBatchApp, retrying
from schemas.errors import BrokerError
from schemas.groups import Group
from schemas.telemetry import Readings, Telemetry

__all__ = ["SETTLING", "Lag", "PartitionLag", "catch_up", "lag", "show_lag"]

_WITHIN_SECONDS = 30.0
_POLL_SECONDS = 0.2
_IN_A_ROW = 4
"""What is read here is written on there: of a chain of topics (requests, by address, by account, decisions) each
reading is certain of one link more."""
_REQUEST_TIMEOUT_MS = 10_000
SETTLING = (GroupCoordinatorNotAvailableError, GroupLoadInProgressError, NotCoordinatorForGroupError)
"""A broker that has just started, or that has never had a group before, says these for a moment."""

Bounds = Mapping[TopicPartition, tuple[int, int]]


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
    try:
        async with asyncio.timeout(_WITHIN_SECONDS):
            return await retrying(lambda: _measured(bootstrap, groups), world=SETTLING)
    except (KafkaError, TimeoutError) as error:
        raise BrokerError(
            f"Kafka does not tell how far its readers are: {type(error).__name__}",
            bootstrap,
            "Start it, and try again",
        ) from error


async def catch_up(
    bootstrap: str,
    groups: Sequence[Group],
    *,
    within_seconds: float,
    say: Callable[[int], None] = lambda _behind: None,
) -> int:
    """Wait until `groups` have read all that there is, and all that they wrote of it for each other.

    Returns how many records they are behind: 0, or what is left after `within_seconds`. Raises BrokerError.
    """
    clock = asyncio.get_running_loop().time
    until, zeros = clock() + within_seconds, 0
    while True:
        behind = (await lag(bootstrap, groups)).total
        zeros = zeros + 1 if behind == 0 else 0
        if zeros == _IN_A_ROW:
            return 0
        if behind:
            say(behind)
            if clock() > until:
                return behind
            await asyncio.sleep(_POLL_SECONDS)


def show_lag(app: MicroBatchApp, group: str, telemetry: Telemetry) -> None:
    """Have the worker's metrics show how far it is behind, as far as it knows without asking."""

    def read() -> Readings:
        return {(group, tp.topic, str(tp.partition)): float(behind) for tp, behind in app.lag().items()}

    telemetry.watch("lag_records", read)


async def _measured(bootstrap: str, groups: Sequence[Group]) -> Lag:
    async with _admin(bootstrap) as admin:
        partitions = {
            topic["topic"]: [TopicPartition(topic["topic"], p["partition"]) for p in topic["partitions"]]
            for topic in await admin.describe_topics()
        }
        read = await _read_by(admin, groups)
    names = {topic for topics in read.values() for topic in topics if topic in partitions}
    bounds = await _bounds(bootstrap, [partitions[name] for name in sorted(names)])
    found: list[PartitionLag] = []
    for group, topics in sorted(read.items()):
        tps = [tp for topic in sorted(topics) for tp in sorted(partitions.get(topic, ()))]
        committed = await _committed(bootstrap, group, tps)
        found += (_of_partition(group, tp, committed[tp], *bounds[tp]) for tp in tps)
    return Lag(tuple(found))


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
    async with _consumer(bootstrap, None) as consumer:
        # Side by side: the client has to learn of each topic first.
        firsts = await asyncio.gather(*(consumer.beginning_offsets(tps) for tps in topics))
        ends = await asyncio.gather(*(consumer.end_offsets(tps) for tps in topics))
    return {tp: (first[tp], end[tp]) for first, end in zip(firsts, ends, strict=True) for tp in first}


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
async def _consumer(bootstrap: str, group: str | None) -> AsyncIterator[AIOKafkaConsumer]:
    """Return a consumer that only asks: without a subscription it joins no group and fetches nothing."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        group_id=group,
        enable_auto_commit=False,
        isolation_level="read_committed",
        request_timeout_ms=_REQUEST_TIMEOUT_MS,
    )
    try:
        await consumer.start()
        yield consumer
    finally:
        await consumer.stop()
