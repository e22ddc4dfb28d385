"""Describe a Kafka cluster: brokers, topics and their configuration, consumer groups.

In:  the bootstrap servers. Out: a `Cluster`. The doctor decides whether it is as it should be.
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.client import AIOKafkaClient
from aiokafka.coordinator.protocol import ConsumerProtocol
from aiokafka.errors import KafkaError
from aiokafka.protocol.admin import ApiVersionRequest

from processors.engine.failures import retrying
from processors.kafka.diagnosis import connection_error
from processors.kafka.lag import COORDINATOR_LOADING
from schemas.kafka_connection import KafkaAddress, client_arguments

__all__ = ["Cluster", "GroupDescription", "TopicDescription", "describe_cluster"]

_WITHIN_SECONDS: Final = 15.0
_REQUEST_TIMEOUT_MS: Final = 10_000
_STABLE: Final = "Stable"
_JOIN_GROUP: Final = 11
_JOIN_GROUP_WITH_INSTANCE_ID: Final = 5


@dataclass(frozen=True, slots=True)
class TopicDescription:
    """A topic of the cluster."""

    partitions: int
    replicas: int
    """Of the partition that has the fewest replicas."""
    in_sync: int
    """In-sync replicas of the partition that has the fewest."""
    leaderless: int
    """Partitions without a leader, which can't be written or read now."""
    configuration: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class GroupDescription:
    """A consumer group of the cluster."""

    members: int = 0
    assigned: frozenset[tuple[str, int]] | None = None
    """The topics and partitions assigned to its members; None while it has no members or is rebalancing."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """A Kafka cluster."""

    id: str
    brokers: int
    supports_static_members: bool
    """Whether a restarted worker can keep its partitions: Kafka 2.3 and newer. Kafka does not report its version."""
    topics: Mapping[str, TopicDescription]
    groups: Mapping[str, GroupDescription]
    """The requested groups."""


async def describe_cluster(bootstrap: KafkaAddress, topics: Iterable[str], groups: Sequence[str]) -> Cluster:
    """Return the cluster with those of `topics` that exist, and `groups`. Raises BrokerError."""
    try:
        async with asyncio.timeout(_WITHIN_SECONDS):
            return await retrying(lambda: _describe(bootstrap, set(topics), groups), transient=COORDINATOR_LOADING)
    except (KafkaError, TimeoutError) as error:
        raise await connection_error(
            f"Kafka does not answer: {_reason(error)}",
            bootstrap,
            "Start it, or set SENDLEDGER_KAFKA_BOOTSTRAP",
            error,
        ) from error


def _reason(error: Exception) -> str:
    return f"no answer in {_WITHIN_SECONDS:.0f} s" if isinstance(error, TimeoutError) else type(error).__name__


async def _describe(bootstrap: KafkaAddress, topics: set[str], groups: Sequence[str]) -> Cluster:
    versions = await _request_versions(bootstrap)
    admin = AIOKafkaAdminClient(**client_arguments(bootstrap), request_timeout_ms=_REQUEST_TIMEOUT_MS)
    try:
        await admin.start()
        cluster = await admin.describe_cluster()
        existing = [topic for topic in await admin.describe_topics() if topic["topic"] in topics]
        configurations = await _configurations(admin, [topic["topic"] for topic in existing])
        return Cluster(
            id=str(cluster["cluster_id"]),
            brokers=len(cluster["brokers"]),
            supports_static_members=versions.get(_JOIN_GROUP, 0) >= _JOIN_GROUP_WITH_INSTANCE_ID,
            topics={t["topic"]: _topic(t["partitions"], configurations.get(t["topic"], {})) for t in existing},
            groups={group: await _group(admin, group) for group in groups},
        )
    finally:
        await admin.close()


def _topic(partitions: Sequence[Mapping[str, Any]], configuration: Mapping[str, str]) -> TopicDescription:
    return TopicDescription(
        partitions=len(partitions),
        replicas=min((len(p["replicas"]) for p in partitions), default=0),
        in_sync=min((len(p["isr"]) for p in partitions), default=0),
        leaderless=sum(p["leader"] < 0 for p in partitions),
        configuration=configuration,
    )


async def _request_versions(bootstrap: KafkaAddress) -> dict[int, int]:
    """Return the newest version that a broker supports of each kind of request."""
    client = AIOKafkaClient(**client_arguments(bootstrap), request_timeout_ms=_REQUEST_TIMEOUT_MS)
    try:
        await client.bootstrap()
        answer = await client.send(client.get_random_node(), ApiVersionRequest())
        return {key: newest for key, _, newest in answer.api_versions}
    finally:
        await client.close()


async def _configurations(admin: AIOKafkaAdminClient, topics: Sequence[str]) -> dict[str, dict[str, str]]:
    if not topics:
        return {}
    resources = [ConfigResource(ConfigResourceType.TOPIC, topic) for topic in topics]
    found: dict[str, dict[str, str]] = {}
    for answer in await admin.describe_configs(resources):
        for _code, _message, _type, name, entries in answer.resources:
            found[name] = {key: value for key, value, *_ in entries if value is not None}
    return found


async def _group(admin: AIOKafkaAdminClient, group: str) -> GroupDescription:
    # One at a time: the client misparses a response with several groups.
    (answer,) = await admin.describe_consumer_groups([group])
    ((_code, _name, state, _protocol_type, _protocol, members, *_),) = answer.groups
    if state != _STABLE:
        return GroupDescription(len(members))
    return GroupDescription(len(members), frozenset(tp for *_, assignment in members for tp in _assigned(assignment)))


def _assigned(assignment: bytes) -> Iterator[tuple[str, int]]:
    """Yield the partitions of a member, from the encoded assignment of its group."""
    if assignment:
        yield from (tuple(tp) for tp in ConsumerProtocol.ASSIGNMENT.decode(assignment).partitions())
