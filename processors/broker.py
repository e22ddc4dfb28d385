"""What a Kafka cluster says of itself: its brokers, its topics and their configuration, who reads.

In:  the bootstrap servers. Out: a `Cluster`, as found. Whether that is right is for the doctor to judge.
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

from processors.engine import retrying
from processors.lag import SETTLING
from schemas.errors import BrokerError

__all__ = ["Cluster", "FoundGroup", "FoundTopic", "survey"]

_WITHIN_SECONDS: Final = 15.0
_REQUEST_TIMEOUT_MS: Final = 10_000
_STABLE: Final = "Stable"
_JOIN_GROUP: Final = 11
_STATIC_MEMBERS: Final = 5


@dataclass(frozen=True, slots=True)
class FoundTopic:
    """A topic as the cluster has it."""

    partitions: int
    copies: int
    """Of the partition that has the fewest."""
    in_sync: int
    """Likewise."""
    leaderless: int
    """Partitions that nobody can write or read now."""
    configuration: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class FoundGroup:
    """A consumer group as the cluster has it."""

    members: int = 0
    assigned: frozenset[tuple[str, int]] | None = None
    """The topics and partitions that its members have; None while it has no members, or is assigning."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster as it was found."""

    id: str
    brokers: int
    knows_static_members: bool
    """Whether a worker's restart can keep its partitions: Kafka 2.3 and newer. Kafka never tells its release."""
    topics: Mapping[str, FoundTopic]
    groups: Mapping[str, FoundGroup]
    """The groups that were asked for."""


async def survey(bootstrap: str, topics: Iterable[str], groups: Sequence[str]) -> Cluster:
    """Return what the cluster has of `topics` and `groups`. Raises BrokerError."""
    try:
        async with asyncio.timeout(_WITHIN_SECONDS):
            return await retrying(lambda: _surveyed(bootstrap, set(topics), groups), world=SETTLING)
    except (KafkaError, TimeoutError) as error:
        raise BrokerError(
            f"Kafka does not answer: {_said(error)}", bootstrap, "Start it, or set SENDLEDGER_KAFKA_BOOTSTRAP"
        ) from error


def _said(error: Exception) -> str:
    return f"no answer in {_WITHIN_SECONDS:.0f} s" if isinstance(error, TimeoutError) else type(error).__name__


async def _surveyed(bootstrap: str, topics: set[str], groups: Sequence[str]) -> Cluster:
    versions = await _request_versions(bootstrap)
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap, request_timeout_ms=_REQUEST_TIMEOUT_MS)
    try:
        await admin.start()
        cluster = await admin.describe_cluster()
        described = [topic for topic in await admin.describe_topics() if topic["topic"] in topics]
        configurations = await _configurations(admin, [topic["topic"] for topic in described])
        return Cluster(
            id=str(cluster["cluster_id"]),
            brokers=len(cluster["brokers"]),
            knows_static_members=versions.get(_JOIN_GROUP, 0) >= _STATIC_MEMBERS,
            topics={t["topic"]: _found(t["partitions"], configurations.get(t["topic"], {})) for t in described},
            groups={group: await _group(admin, group) for group in groups},
        )
    finally:
        await admin.close()


def _found(partitions: Sequence[Mapping[str, Any]], configuration: Mapping[str, str]) -> FoundTopic:
    return FoundTopic(
        partitions=len(partitions),
        copies=min((len(p["replicas"]) for p in partitions), default=0),
        in_sync=min((len(p["isr"]) for p in partitions), default=0),
        leaderless=sum(p["leader"] < 0 for p in partitions),
        configuration=configuration,
    )


async def _request_versions(bootstrap: str) -> dict[int, int]:
    """Return the newest version of each kind of request that a broker knows."""
    client = AIOKafkaClient(bootstrap_servers=bootstrap, request_timeout_ms=_REQUEST_TIMEOUT_MS)
    try:
        await client.bootstrap()
        answer = await client.send(client.get_random_node(), ApiVersionRequest())
        return {key: newest for key, _, newest in answer.api_versions}
    finally:
        await client.close()


async def _configurations(admin: AIOKafkaAdminClient, topics: Sequence[str]) -> dict[str, dict[str, str]]:
    if not topics:
        return {}
    asked = [ConfigResource(ConfigResourceType.TOPIC, topic) for topic in topics]
    found: dict[str, dict[str, str]] = {}
    for answer in await admin.describe_configs(asked):
        for _code, _message, _type, name, entries in answer.resources:
            found[name] = {key: value for key, value, *_ in entries if value is not None}
    return found


async def _group(admin: AIOKafkaAdminClient, group: str) -> FoundGroup:
    # One by one: the client misreads an answer about several.
    (answer,) = await admin.describe_consumer_groups([group])
    ((_code, _name, state, _protocol_type, _protocol, members, *_),) = answer.groups
    if state != _STABLE:
        return FoundGroup(len(members))
    return FoundGroup(len(members), frozenset(tp for *_, assignment in members for tp in _assigned(assignment)))


def _assigned(assignment: bytes) -> Iterator[tuple[str, int]]:
    """Yield what a member has, from the bytes that its group keeps for it."""
    if assignment:
        yield from (tuple(tp) for tp in ConsumerProtocol.ASSIGNMENT.decode(assignment).partitions())
