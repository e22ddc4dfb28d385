"""Checks of Kafka: reachable, topics and their settings, workers, and lag."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from application.checks.check import CONFIGURATION, DOWN, Check, fail, ok, unknown, warn
from processors.kafka.cluster import Cluster, GroupDescription, TopicDescription, describe_cluster
from processors.kafka.lag import Lag, PartitionLag, lag
from schemas.consumer_groups import consumer_groups
from schemas.errors import BrokerError, BrokerSettingsError
from schemas.kafka_connection import KafkaAddress, KafkaConnection
from schemas.settings import PREFIX, TopicSettings
from schemas.topics import ALL_TOPICS, Topic

__all__ = ["KafkaState", "check", "check_topics", "check_unread", "checks_of", "read_state", "unreachable"]

_MUST_EQUAL: Final = ("cleanup.policy", "retention.ms", "retention.bytes", "message.timestamp.type")
_KAFKA_CHECKS: Final = (
    "topics.exist",
    "topics.settings",
    "topics.partitions",
    "topics.copies",
    "workers",
    "lag",
    "unread",
)

_MAX_SHOWN: Final = 5

Topics = Mapping[str, TopicDescription]


@dataclass(frozen=True, slots=True)
class KafkaState:
    """What was read from Kafka at one time."""

    cluster: Cluster
    lag: Lag | BrokerError
    """The error, if the lag can't be read."""


async def check(bootstrap: KafkaAddress, groups: tuple[str, str], settings: TopicSettings | None) -> list[Check]:
    """Return the checks of the cluster. Without `settings`, nothing is compared with them.

    `groups` are the consumer groups of the ledger's workers and of the gate's.
    """
    try:
        state = await read_state(bootstrap, groups)
    except BrokerError as error:
        return unreachable(error, bootstrap)
    days = None if settings is None else settings.content_retention_days
    return checks_of(state, bootstrap, groups, settings, content_days=days)


async def read_state(bootstrap: KafkaAddress, groups: tuple[str, str]) -> KafkaState:
    """Return the cluster, and the lag of both groups. Raises BrokerError if Kafka does not answer."""
    cluster, behind = await asyncio.gather(
        describe_cluster(bootstrap, [topic.name for topic in ALL_TOPICS], groups), _lag(bootstrap, groups)
    )
    return KafkaState(cluster, behind)


async def _lag(bootstrap: KafkaAddress, groups: tuple[str, str]) -> Lag | BrokerError:
    try:
        return await lag(bootstrap, consumer_groups(*groups))
    except BrokerError as error:
        return error


def unreachable(error: BrokerError, bootstrap: KafkaAddress) -> list[Check]:
    """Return the checks of a cluster that does not answer."""
    if isinstance(error, BrokerSettingsError):
        away = fail("kafka", f"{error.what} (at {error.where})", error.mend, CONFIGURATION)
        return [away, *(unknown(name, "Kafka can't be connected to") for name in _KAFKA_CHECKS)]
    away = fail("kafka", f"{error.what} (at {bootstrap})", error.mend, DOWN)
    return [away, *(unknown(name, "Kafka does not answer") for name in _KAFKA_CHECKS)]


def checks_of(
    state: KafkaState,
    bootstrap: KafkaAddress,
    groups: tuple[str, str],
    settings: TopicSettings | None = None,
    *,
    content_days: int | None,
) -> list[Check]:
    """Return the checks of what was read. See `check_topics` for what is not compared."""
    return [
        _cluster(state.cluster, bootstrap),
        *check_topics(state.cluster.topics, settings, content_days=content_days),
        *_readers(state, groups),
    ]


def check_topics(found: Topics, settings: TopicSettings | None, *, content_days: int | None) -> list[Check]:
    """Return the checks of the topics against the catalogue and the settings.

    Without `settings`, partitions and replicas are not compared; without `content_days`, the retention of contents is
    not: a wrong one would advise to delete contents.
    """
    existing = [(topic, found[topic.name]) for topic in ALL_TOPICS if topic.name in found]
    missing = [topic.name for topic in ALL_TOPICS if topic.name not in found]
    return [
        fail("topics.exist", f"missing: {', '.join(missing)}", "run `sendledger topics`")
        if missing
        else ok("topics.exist", f"all {len(ALL_TOPICS)} are there"),
        _settings(existing, content_days),
        _partitions(existing, settings),
        _replicas(existing, settings),
    ]


def _cluster(cluster: Cluster, kafka: KafkaAddress) -> Check:
    summary = f"{cluster.brokers} broker{'s' if cluster.brokers > 1 else ''} of cluster {cluster.id}, at {kafka}"
    if not cluster.supports_static_members:
        return fail("kafka", f"older than 2.3: {summary}", "run a newer Kafka; 4.3 is what sendledger is tested with")
    if _password_in_the_clear(kafka):
        what = f"our password is sent without encryption: {summary}"
        mend = f"use a listener with TLS ({PREFIX}KAFKA_SECURITY_PROTOCOL=SASL_SSL), or the mechanism SCRAM-SHA-512"
        return warn("kafka", what, mend)
    return ok("kafka", summary)


def _password_in_the_clear(kafka: KafkaAddress) -> bool:
    return (
        isinstance(kafka, KafkaConnection)
        and kafka.tls is None
        and kafka.sasl is not None
        and (kafka.sasl.mechanism == "PLAIN")
    )


def _settings(existing: Sequence[tuple[Topic, TopicDescription]], content_days: int | None) -> Check:
    wrong = [
        f"{topic.name}: {key} is {actual}, not {required}"
        for topic, found in existing
        for key, required in topic.configuration(content_days).items()
        if not _is_as_required(key, actual := found.configuration.get(key, "unknown"), required)
    ]
    if not wrong:
        return ok("topics.settings", "retention, cleanup policy and timestamps are as required")
    mend = (
        "set them for each topic: kafka-configs.sh --alter --entity-type topics --entity-name TOPIC --add-config "
        "KEY=VALUE. Until then records may be deleted, refused, or have wrong timestamps"
    )
    return fail("topics.settings", "; ".join(wrong), mend)


def _is_as_required(key: str, actual: str, required: str) -> bool:
    if key in _MUST_EQUAL:
        return actual == required
    return actual.isdecimal() and int(actual) >= int(required)


def _partitions(existing: Sequence[tuple[Topic, TopicDescription]], settings: TopicSettings | None) -> Check:
    summary = ", ".join(sorted({str(found.partitions) for _, found in existing}, key=int)) or "no topics"
    odd = [
        f"{topic.name} has {found.partitions}"
        for topic, found in existing
        if settings is not None and found.partitions != settings.partitions
    ]
    if not odd:
        return ok("topics.partitions", f"{summary} each")
    what = f"{'; '.join(odd)}; {PREFIX}PARTITIONS is {settings.partitions if settings else ''}"
    mend = (
        f"none if it is intended: then set {PREFIX}PARTITIONS to the actual number. Partitions can be added but never"
        " removed, and keys move when some are added"
    )
    return warn("topics.partitions", what, mend)


def _replicas(existing: Sequence[tuple[Topic, TopicDescription]], settings: TopicSettings | None) -> Check:
    name = "topics.copies"
    dead = [topic.name for topic, found in existing if found.leaderless]
    if dead:
        return fail(name, f"partitions without a leader: {', '.join(dead)}", "restart the brokers that have them", DOWN)
    refusing = [topic.name for topic, found in existing if found.in_sync < (_min_in_sync(found) or 1)]
    if refusing:
        what = f"fewer replicas in sync than min.insync.replicas, so writes are refused: {', '.join(refusing)}"
        return fail(name, what, "restart the brokers that have the other replicas", DOWN)
    behind = [topic.name for topic, found in existing if found.in_sync < found.replicas]
    if behind:
        return warn(name, f"replicas out of sync: {', '.join(behind)}", "check whether a broker is down or slow")
    few = [topic.name for topic, found in existing if settings is not None and found.replicas < settings.replication]
    if few:
        what = f"fewer than {PREFIX}REPLICATION says: {', '.join(few)}"
        return warn(name, what, "add replicas with kafka-reassign-partitions.sh, or set it to the actual number")
    weak = [topic.name for topic, found in existing if found.replicas > 1 == _min_in_sync(found)]
    if weak:
        what = f"min.insync.replicas is 1, so a write may be acknowledged by a single replica: {', '.join(weak)}"
        return warn(name, what, "set min.insync.replicas=2 on the brokers or the topics")
    return ok(name, "as many as required, all in sync")


def _min_in_sync(found: TopicDescription) -> int | None:
    value = found.configuration.get("min.insync.replicas", "")
    return int(value) if value.isdecimal() else None


def _readers(state: KafkaState, groups: tuple[str, str]) -> list[Check]:
    members = {group: state.cluster.groups.get(group, GroupDescription()) for group in groups}
    workers = _workers({group: found.members for group, found in members.items()}, groups)
    found = state.lag
    if isinstance(found, BrokerError):
        return [workers, fail("lag", found.what, found.mend, DOWN), unknown("unread", "Kafka does not answer")]
    names = sorted({partition.group for partition in found.partitions})
    behind = {name: sum(p.lag for p in found.partitions if p.group == name) for name in names}
    summary = "; ".join(f"group {name} has {count:,} records to read" for name, count in behind.items())
    return [workers, ok("lag", summary or "there is nothing to read yet"), check_unread(members, found.partitions)]


def check_unread(groups: Mapping[str, GroupDescription], partitions: Sequence[PartitionLag]) -> Check:
    """Return whether records wait in partitions that are assigned to no worker of a running group."""
    waiting = [
        f"{p.topic}-{p.partition} ({p.lag:,} records, group {p.group})"
        for p in partitions
        if p.lag and (assigned := groups[p.group].assigned) is not None and (p.topic, p.partition) not in assigned
    ]
    if not waiting:
        return ok("unread", "each partition with records is assigned to a worker, if its group has any")
    more = f" and {len(waiting) - _MAX_SHOWN} more" if len(waiting) > _MAX_SHOWN else ""
    mend = (
        "workers notice new topics and partitions within a minute; if it persists, check that all of them run this "
        "version, and read their logs"
    )
    return warn("unread", f"no worker reads {', '.join(waiting[:_MAX_SHOWN])}{more}", mend)


def _workers(members: Mapping[str, int], groups: tuple[str, str]) -> Check:
    """Return whether both kinds of workers run."""
    summary = "; ".join(f"{members[group] or 'none'} in group {group}" for group in groups)
    mends = (
        "start `sendledger worker ledger`: without it the tables are not updated",
        "start `sendledger worker gate`: without it nothing is decided",
    )
    missing = [mend for group, mend in zip(groups, mends, strict=True) if not members[group]]
    return warn("workers", summary, ", ".join(missing)) if missing else ok("workers", summary)
