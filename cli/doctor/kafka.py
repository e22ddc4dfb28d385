"""Kafka: does it answer, are the topics as the contract says, who reads, and how far."""

from collections.abc import Mapping, Sequence
from typing import Final

from cli.doctor.checks import DOWN, Check, fail, ok, unknown, warn
from processors.broker import Cluster, FoundGroup, FoundTopic, survey
from processors.lag import PartitionLag, lag
from schemas.errors import BrokerError
from schemas.groups import groups_of
from schemas.settings import PREFIX, TopicSettings
from schemas.topics import ALL, Topic

__all__ = ["judge_topics", "judge_unread", "look"]

_MUST_EQUAL: Final = ("cleanup.policy", "retention.ms", "retention.bytes", "message.timestamp.type")
_BEHIND_KAFKA: Final = (
    "topics.exist",
    "topics.settings",
    "topics.partitions",
    "topics.copies",
    "workers",
    "lag",
    "unread",
)

_SHOWN: Final = 5

Topics = Mapping[str, FoundTopic]


async def look(bootstrap: str, groups: tuple[str, str], wanted: TopicSettings | None) -> list[Check]:
    """Return how the cluster is. Without `wanted`, partitions and copies are compared with nothing.

    `groups` are those of the ledger's workers and of the gate's.
    """
    try:
        cluster = await survey(bootstrap, [topic.name for topic in ALL], groups)
    except BrokerError as error:
        away = fail("kafka", f"{error.what} (at {bootstrap})", error.mend, DOWN)
        return [away, *(unknown(name, "Kafka does not answer") for name in _BEHIND_KAFKA)]
    return [
        _cluster(cluster, bootstrap),
        *judge_topics(cluster.topics, wanted),
        *await _readers(bootstrap, groups, cluster),
    ]


def judge_topics(found: Topics, wanted: TopicSettings | None) -> list[Check]:
    """Return whether the topics are as the contract and the settings say."""
    here = [(topic, found[topic.name]) for topic in ALL if topic.name in found]
    missing = [topic.name for topic in ALL if topic.name not in found]
    return [
        fail("topics.exist", f"missing: {', '.join(missing)}", "run `sendledger topics`")
        if missing
        else ok("topics.exist", f"all {len(ALL)} are there"),
        _settings(here, wanted),
        _partitions(here, wanted),
        _copies(here, wanted),
    ]


def _cluster(cluster: Cluster, bootstrap: str) -> Check:
    said = f"{cluster.brokers} broker{'s' if cluster.brokers > 1 else ''} of cluster {cluster.id}, at {bootstrap}"
    if not cluster.knows_static_members:
        return fail("kafka", f"older than 2.3: {said}", "run a newer Kafka; 4.3 is what sendledger is tested with")
    return ok("kafka", said)


def _settings(here: Sequence[tuple[Topic, FoundTopic]], wanted: TopicSettings | None) -> Check:
    days = 30 if wanted is None else wanted.content_retention_days
    wrong = [
        f"{topic.name}: {key} is {topic_has}, not {must}"
        for topic, found in here
        for key, must in topic.configuration(days).items()
        if not _as_it_must(key, topic_has := found.configuration.get(key, "unknown"), must)
    ]
    if not wrong:
        return ok("topics.settings", "kept as long as they must be, with the log's own times")
    mend = (
        "set them, for each such topic: kafka-configs.sh --alter --entity-type topics --entity-name TOPIC --add-config "
        "KEY=VALUE. Until then facts may be deleted, refused or misdated"
    )
    return fail("topics.settings", "; ".join(wrong), mend)


def _as_it_must(key: str, found: str, must: str) -> bool:
    if key in _MUST_EQUAL:
        return found == must
    return found.isdecimal() and int(found) >= int(must)


def _partitions(here: Sequence[tuple[Topic, FoundTopic]], wanted: TopicSettings | None) -> Check:
    said = ", ".join(sorted({str(found.partitions) for _, found in here}, key=int)) or "no topics"
    odd = [
        f"{topic.name} has {found.partitions}"
        for topic, found in here
        if wanted is not None and found.partitions != wanted.partitions
    ]
    if not odd:
        return ok("topics.partitions", f"{said} each")
    what = f"{'; '.join(odd)}; {PREFIX}PARTITIONS is {wanted.partitions if wanted else ''}"
    mend = (
        f"none if it is meant: then set {PREFIX}PARTITIONS to what is there. Partitions can be added and never taken"
        " away, and keys move when some are added"
    )
    return warn("topics.partitions", what, mend)


def _copies(here: Sequence[tuple[Topic, FoundTopic]], wanted: TopicSettings | None) -> Check:
    name = "topics.copies"
    dead = [topic.name for topic, found in here if found.leaderless]
    if dead:
        return fail(
            name, f"partitions without a leader: {', '.join(dead)}", "bring the brokers back that have them", DOWN
        )
    refusing = [topic.name for topic, found in here if found.in_sync < (_least_in_sync(found) or 1)]
    if refusing:
        what = f"fewer copies in sync than min.insync.replicas, so that writes are refused: {', '.join(refusing)}"
        return fail(name, what, "bring the brokers back that have the other copies", DOWN)
    behind = [topic.name for topic, found in here if found.in_sync < found.copies]
    if behind:
        return warn(name, f"copies out of sync: {', '.join(behind)}", "see whether a broker is away or slow")
    few = [topic.name for topic, found in here if wanted is not None and found.copies < wanted.replication]
    if few:
        what = f"fewer than {PREFIX}REPLICATION says: {', '.join(few)}"
        return warn(name, what, "add copies with kafka-reassign-partitions.sh, or set it to what is there")
    weak = [topic.name for topic, found in here if found.copies > 1 == _least_in_sync(found)]
    if weak:
        what = f"min.insync.replicas is 1, so that a write may be acknowledged by one copy: {', '.join(weak)}"
        return warn(name, what, "set min.insync.replicas=2 on the brokers or the topics")
    return ok(name, "as many as are asked for, all in sync")


def _least_in_sync(found: FoundTopic) -> int | None:
    said = found.configuration.get("min.insync.replicas", "")
    return int(said) if said.isdecimal() else None


async def _readers(bootstrap: str, groups: tuple[str, str], cluster: Cluster) -> list[Check]:
    members = {group: cluster.groups.get(group, FoundGroup()) for group in groups}
    workers = _workers({group: found.members for group, found in members.items()}, groups)
    try:
        found = await lag(bootstrap, groups_of(*groups))
    except BrokerError as error:
        return [workers, fail("lag", error.what, error.mend, DOWN), unknown("unread", "Kafka does not tell")]
    names = sorted({partition.group for partition in found.partitions})
    behind = {name: sum(p.lag for p in found.partitions if p.group == name) for name in names}
    said = "; ".join(f"group {name} has {count:,} records to read" for name, count in behind.items())
    return [workers, ok("lag", said or "there is nothing to read yet"), judge_unread(members, found.partitions)]


def judge_unread(groups: Mapping[str, FoundGroup], partitions: Sequence[PartitionLag]) -> Check:
    """Return whether records wait in partitions that no worker of a running group has."""
    waiting = [
        f"{p.topic}-{p.partition} ({p.lag:,} records, group {p.group})"
        for p in partitions
        if p.lag and (has := groups[p.group].assigned) is not None and (p.topic, p.partition) not in has
    ]
    if not waiting:
        return ok("unread", "each partition with records has a worker, where its group has any")
    more = f" and {len(waiting) - _SHOWN} more" if len(waiting) > _SHOWN else ""
    mend = (
        "workers notice new topics and partitions within a minute; if it stays, see whether all of them run this "
        "version, and what their logs say"
    )
    return warn("unread", f"no worker reads {', '.join(waiting[:_SHOWN])}{more}", mend)


def _workers(members: Mapping[str, int], groups: tuple[str, str]) -> Check:
    """Return whether somebody folds, and somebody decides."""
    said = "; ".join(f"{members[group] or 'none'} in group {group}" for group in groups)
    mends = (
        "start `sendledger worker ledger`, or nothing is folded",
        "start `sendledger worker gate`, or nothing is decided",
    )
    missing = [mend for group, mend in zip(groups, mends, strict=True) if not members[group]]
    return warn("workers", said, ", ".join(missing)) if missing else ok("workers", said)
