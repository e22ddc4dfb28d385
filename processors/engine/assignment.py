"""Which worker reads which partition; and noticing that an assignment no longer fits the topics.

In:  the topics that the workers of a group are subscribed to, and how many partitions each of them has now.
Out: Kafka's round robin over all of it, and whether a worker has to ask for another assignment.

A member with a `group.instance.id` that comes back within its session is given its former assignment, whatever it
subscribes to now: Kafka compares the names of its protocols, and nothing else. So an assignment says which partitions
it was made of, and a member that sees others asks its group for a new one. docs/adr/0010-assignments-that-fit.md says
why it is done so.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from aiokafka import TopicPartition
from aiokafka.cluster import ClusterMetadata
from aiokafka.consumer.subscription_state import SubscriptionState
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment, ConsumerProtocolMemberMetadata

Counts = Mapping[str, int]
"""How many partitions each topic has. A topic of which nothing is known just now is left out."""


def counts_in(cluster: ClusterMetadata, topics: Iterable[str]) -> dict[str, int]:
    """Return the partition counts of these topics, as a client's metadata has them."""
    found = {topic: cluster.partitions_for_topic(topic) for topic in topics}
    return {topic: len(partitions) for topic, partitions in found.items() if partitions}


class Assignor(RoundRobinPartitionAssignor):  # type: ignore[misc]  # aiokafka is untyped
    """Round robin whose assignments say what they were made of. Members that use the plain one may be in the group."""

    def __init__(self, counts: Callable[[Iterable[str]], Counts]) -> None:
        """Make the assignor of one member; `counts` says what that member knows of topics now."""
        self._counts = counts
        self._requests = 0
        self.made_of: Counts | None = None
        """What the present assignment was made of; None where a worker of an older version made it."""

    def request(self) -> None:
        """Have the next join make the group assign anew.

        Kafka does so for a member whose metadata is another one, and gives the present assignment otherwise.
        """
        self._requests += 1

    # -- for aiokafka, which calls these on whatever object it is given

    def metadata(self, topics: Iterable[str]) -> ConsumerProtocolMemberMetadata:
        plain = super().metadata(topics)
        said = {"counts": dict(self._counts(plain.subscription)), "requests": self._requests}
        return ConsumerProtocolMemberMetadata(plain.version, plain.subscription, _encoded(said))

    def assign(
        self, cluster: ClusterMetadata, members: Mapping[str, ConsumerProtocolMemberMetadata]
    ) -> dict[str, ConsumerProtocolMemberAssignment]:
        topics = {topic for member in members.values() for topic in member.subscription}
        # Whoever assigns may know less than who asked: metadata is a minute old at the most.
        made_of = _most([counts_in(cluster, topics), *(_told_by(member) for member in members.values())], topics)
        assigned = super().assign(_Known(made_of), members)
        return {
            member: ConsumerProtocolMemberAssignment(one.version, one.assignment, _encoded({"counts": made_of}))
            for member, one in assigned.items()
        }

    def on_assignment(self, assignment: ConsumerProtocolMemberAssignment) -> None:
        self.made_of = _counts_of(assignment.user_data)


class _Known:
    """Partition counts in the place of a cluster's metadata, as far as round robin asks for it."""

    def __init__(self, counts: Counts) -> None:
        self._counts = counts

    def partitions_for_topic(self, topic: str) -> set[int] | None:
        return set(range(self._counts[topic])) if topic in self._counts else None


def _most(told: Iterable[Counts], topics: Iterable[str]) -> dict[str, int]:
    counts = list(told)
    most = {topic: max((one.get(topic, 0) for one in counts), default=0) for topic in sorted(topics)}
    return {topic: count for topic, count in most.items() if count}


def _told_by(member: ConsumerProtocolMemberMetadata) -> Counts:
    return _counts_of(member.user_data) or {}


def _encoded(said: Mapping[str, Any]) -> bytes:
    return json.dumps(said, sort_keys=True).encode()


def _counts_of(user_data: bytes | None) -> dict[str, int] | None:
    """Return the partition counts in it; None where there are none, as in what another assignor wrote."""
    try:
        counts = json.loads(user_data or b"")["counts"]
        return {str(topic): int(count) for topic, count in counts.items()}
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


class OwnTopics(SubscriptionState):  # type: ignore[misc]  # aiokafka is untyped
    """aiokafka's subscription, which takes of an assignment only what it is subscribed to.

    aiokafka's own raises on the rest, which ends its coordination: so would a worker end that reads a topic less than
    before its restart.
    """

    foreign = False
    """Whether the present assignment has partitions of other topics, which nobody reads."""

    def assign_from_subscribed(self, assignment: Iterable[TopicPartition]) -> None:
        own = [tp for tp in assignment if tp.topic in self.topics]
        self.foreign = len(own) < len(list(assignment))
        super().assign_from_subscribed(own)


def misfits(counts: Counts, made_of: Counts | None, *, foreign: bool) -> bool:
    """Whether an assignment should be another one, going by these counts of the member's own topics."""
    return foreign or made_of is None or any(made_of.get(topic) != count for topic, count in counts.items())


class Fit:
    """How often to ask for another assignment."""

    def __init__(self, again_after_seconds: float, clock: Callable[[], float]) -> None:
        self._again_after, self._clock = again_after_seconds, clock
        self._asked_for: Counts | None = None
        self._asked_at = 0.0

    def may_ask(self, counts: Counts, made_of: Counts | None) -> bool:
        """Whether to ask: not again for the same counts before a while has passed.

        A worker of an older version that assigns does not say what of, so it is not asked again.
        """
        if counts != self._asked_for:
            return True
        return made_of is not None and self._clock() - self._asked_at >= self._again_after

    def asked(self, counts: Counts) -> None:
        """Take in that another assignment was asked for."""
        self._asked_for, self._asked_at = dict(counts), self._clock()

    def fits(self) -> None:
        """Take in that the assignment fits."""
        self._asked_for = None
