"""Assign partitions to workers, and detect that an assignment is outdated.

In:  the topics that the workers of a group are subscribed to, and the current partition count of each.
Out: a round-robin assignment of all partitions, and whether a worker has to request another assignment.

A member with a `group.instance.id` that returns within its session gets its previous assignment, even if it subscribes
to other topics now: Kafka only compares the names of the member's protocols. So each assignment contains the partition
counts that it is based on, and a member that sees other counts requests a reassignment.
Why: docs/adr/0010-assignments-that-fit.md.
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

from processors.engine.clock import Clock

PartitionCounts = Mapping[str, int]
"""The partition count of each topic. Topics whose count is unknown at the moment are left out."""


def partition_counts(cluster: ClusterMetadata, topics: Iterable[str]) -> dict[str, int]:
    """Return the partition counts of these topics, from the metadata of a client."""
    found = {topic: cluster.partitions_for_topic(topic) for topic in topics}
    return {topic: len(partitions) for topic, partitions in found.items() if partitions}


class Assignor(RoundRobinPartitionAssignor):  # type: ignore[misc]  # aiokafka is untyped
    """Round robin whose assignments contain the partition counts they are based on.

    Members that use the plain round-robin assignor may be in the same group.
    """

    def __init__(self, counts: Callable[[Iterable[str]], PartitionCounts]) -> None:
        """Create the assignor of one member. `counts` returns the partition counts that the member knows now."""
        self._counts = counts
        self._requests = 0
        self.based_on: PartitionCounts | None = None
        """The counts that the current assignment is based on; None if a worker of an older version made it."""

    def request(self) -> None:
        """Make the next join trigger a reassignment.

        Kafka reassigns if the metadata of a known member has changed, and returns the current assignment otherwise.
        """
        self._requests += 1

    # -- called by aiokafka

    def metadata(self, topics: Iterable[str]) -> ConsumerProtocolMemberMetadata:
        plain = super().metadata(topics)
        data = {"counts": dict(self._counts(plain.subscription)), "requests": self._requests}
        return ConsumerProtocolMemberMetadata(plain.version, plain.subscription, _encoded(data))

    def assign(
        self, cluster: ClusterMetadata, members: Mapping[str, ConsumerProtocolMemberMetadata]
    ) -> dict[str, ConsumerProtocolMemberAssignment]:
        topics = {topic for member in members.values() for topic in member.subscription}
        # The leader may know less than the member that requested this: its metadata may be up to a minute old.
        based_on = _largest(
            [partition_counts(cluster, topics), *(_counts_known_to(member) for member in members.values())], topics
        )
        assigned = super().assign(_CountsAsMetadata(based_on), members)
        return {
            member: ConsumerProtocolMemberAssignment(one.version, one.assignment, _encoded({"counts": based_on}))
            for member, one in assigned.items()
        }

    def on_assignment(self, assignment: ConsumerProtocolMemberAssignment) -> None:
        self.based_on = _counts_of(assignment.user_data)


class _CountsAsMetadata:
    """Partition counts with the one method of a cluster's metadata that round robin calls."""

    def __init__(self, counts: PartitionCounts) -> None:
        self._counts = counts

    def partitions_for_topic(self, topic: str) -> set[int] | None:
        return set(range(self._counts[topic])) if topic in self._counts else None


def _largest(known: Iterable[PartitionCounts], topics: Iterable[str]) -> dict[str, int]:
    counts = list(known)
    largest = {topic: max((one.get(topic, 0) for one in counts), default=0) for topic in sorted(topics)}
    return {topic: count for topic, count in largest.items() if count}


def _counts_known_to(member: ConsumerProtocolMemberMetadata) -> PartitionCounts:
    return _counts_of(member.user_data) or {}


def _encoded(data: Mapping[str, Any]) -> bytes:
    return json.dumps(data, sort_keys=True).encode()


def _counts_of(user_data: bytes | None) -> dict[str, int] | None:
    """Return the partition counts in `user_data`; None if there are none, because another assignor wrote it."""
    try:
        counts = json.loads(user_data or b"")["counts"]
        return {str(topic): int(count) for topic, count in counts.items()}
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


class SubscribedTopics(SubscriptionState):  # type: ignore[misc]  # aiokafka is untyped
    """aiokafka's subscription state, which ignores assigned partitions of topics that are not subscribed to.

    aiokafka's own raises for such a partition, which ends the group coordination. So a worker that reads one topic less
    after a restart would crash.
    """

    has_unsubscribed = False
    """Whether the current assignment has partitions of other topics, which nobody reads."""

    def assign_from_subscribed(self, assignment: Iterable[TopicPartition]) -> None:
        subscribed = [tp for tp in assignment if tp.topic in self.topics]
        self.has_unsubscribed = len(subscribed) < len(list(assignment))
        super().assign_from_subscribed(subscribed)


def is_outdated(counts: PartitionCounts, based_on: PartitionCounts | None, *, has_unsubscribed: bool) -> bool:
    """Whether a reassignment is needed, given the current counts of the member's own topics."""
    return has_unsubscribed or based_on is None or any(based_on.get(topic) != count for topic, count in counts.items())


class ReassignmentRequests:
    """Limits how often another assignment is requested."""

    def __init__(self, again_after_seconds: float, clock: Clock) -> None:
        self._again_after, self._clock = again_after_seconds, clock
        self._requested_for: PartitionCounts | None = None
        self._requested_at = 0.0

    def may_request(self, counts: PartitionCounts, based_on: PartitionCounts | None) -> bool:
        """Whether to request a reassignment: for the same counts only once per interval.

        If a worker of an older version assigns, `based_on` stays None, so the request is not repeated.
        """
        if counts != self._requested_for:
            return True
        return based_on is not None and self._clock() - self._requested_at >= self._again_after

    def requested(self, counts: PartitionCounts) -> None:
        """Note that another assignment was requested."""
        self._requested_for, self._requested_at = dict(counts), self._clock()

    def reset(self) -> None:
        """Note that the assignment is up to date."""
        self._requested_for = None
