"""Assignments of a group, and when a member requests a reassignment. No broker."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

import pytest
from aiokafka import TopicPartition
from aiokafka.cluster import ClusterMetadata
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from hypothesis import given
from hypothesis import strategies as st

from processors.engine.assignment import Assignor, PartitionCounts, ReassignmentRequests, SubscribedTopics, is_outdated

TOPICS = ["a", "b", "c"]
INTERVAL = 60.0


class FakeMetadata(ClusterMetadata):  # type: ignore[misc]  # aiokafka is untyped
    """The metadata of a client."""

    def __init__(self, counts: PartitionCounts) -> None:
        super().__init__()
        self._counts = counts

    def partitions_for_topic(self, topic: str) -> set[int] | None:
        return set(range(self._counts[topic])) if topic in self._counts else None


def assignor(counts: PartitionCounts) -> Assignor:
    return Assignor(lambda topics: {topic: counts[topic] for topic in topics if topic in counts})


def assigned(
    leader: PartitionCounts, members: Mapping[str, tuple[Iterable[str], PartitionCounts]]
) -> dict[str, list[TopicPartition]]:
    """The partitions of each member if a leader that knows the counts `leader` assigns."""
    metadata = {name: assignor(counts).metadata(topics) for name, (topics, counts) in members.items()}
    assignments = assignor(leader).assign(FakeMetadata(leader), metadata)
    return {name: assignment.partitions() for name, assignment in assignments.items()}


some_counts = st.dictionaries(st.sampled_from(TOPICS), st.integers(1, 6))
some_members = st.dictionaries(
    st.sampled_from(["x", "y", "z"]),
    st.tuples(st.sets(st.sampled_from(TOPICS), min_size=1), some_counts),
    min_size=1,
)


@given(some_counts, some_members)
def test_each_partition_that_any_member_knows_of_is_assigned_once(
    leader: PartitionCounts, members: dict[str, tuple[set[str], PartitionCounts]]
) -> None:
    got = assigned(leader, members)
    wanted = {
        TopicPartition(topic, partition)
        for topic in {topic for topics, _ in members.values() for topic in topics}
        for known in (leader, *(c if topic in t else {} for t, c in members.values()))
        for partition in range(known.get(topic, 0))
    }
    assert Counter(tp for tps in got.values() for tp in tps) == Counter(wanted)
    assert all(tp.topic in members[name][0] for name, tps in got.items() for tp in tps)


@given(some_counts, some_members)
def test_an_assignment_is_up_to_date_for_members_with_the_same_counts(
    leader: PartitionCounts, members: dict[str, tuple[set[str], PartitionCounts]]
) -> None:
    metadata = {name: assignor(counts).metadata(sorted(topics)) for name, (topics, counts) in members.items()}
    for name, assignment in assignor(leader).assign(FakeMetadata(leader), metadata).items():
        member = assignor(members[name][1])
        member.on_assignment(assignment)
        assert member.based_on is not None
        topics = members[name][0]
        assert not is_outdated(
            {t: c for t, c in member.based_on.items() if t in topics}, member.based_on, has_unsubscribed=False
        )


def test_a_member_of_another_version_can_be_in_the_group() -> None:
    """Its assignments contain no counts, and it gets a plain round-robin assignment."""
    plain = RoundRobinPartitionAssignor.metadata(["a"])
    mine = assignor({"a": 3}).metadata(["a"])
    assert assignor({}).name == RoundRobinPartitionAssignor.name
    ours = assignor({"a": 2}).assign(FakeMetadata({"a": 2}), {"old": plain, "new": mine})
    assert sorted(tp.partition for one in ours.values() for tp in one.partitions()) == [0, 1, 2]
    theirs = RoundRobinPartitionAssignor.assign(FakeMetadata({"a": 2}), {"old": plain, "new": mine})
    member = assignor({"a": 2})
    member.on_assignment(theirs["new"])
    assert member.based_on is None


def test_a_reassignment_request_changes_the_member_metadata() -> None:
    """Kafka reassigns only if the metadata of a member has changed."""
    member = assignor({"a": 2})
    before = member.metadata(["a"]).encode()
    assert member.metadata(["a"]).encode() == before
    member.request()
    assert member.metadata(["a"]).encode() != before


@pytest.mark.parametrize(
    ("counts", "based_on", "has_unsubscribed", "another"),
    [
        ({"a": 2}, {"a": 2}, False, False),
        ({"a": 2}, {"a": 2, "b": 3}, False, False),
        ({}, {"a": 2}, False, False),  # the counts are unknown at the moment
        ({"a": 3}, {"a": 2}, False, True),
        ({"a": 2, "b": 1}, {"a": 2}, False, True),
        ({"a": 1}, {"a": 2}, False, True),
        ({"a": 2}, None, False, True),
        ({"a": 2}, {"a": 2}, True, True),
    ],
    ids=[
        "same",
        "others read more",
        "unknown",
        "grown",
        "new topic",
        "recreated",
        "by an older version",
        "unsubscribed",
    ],
)
def test_when_an_assignment_is_outdated(
    counts: PartitionCounts, based_on: PartitionCounts | None, has_unsubscribed: bool, another: bool
) -> None:
    assert is_outdated(counts, based_on, has_unsubscribed=has_unsubscribed) == another


def test_a_reassignment_is_requested_once_per_interval_for_the_same_counts() -> None:
    now = 0.0
    requests = ReassignmentRequests(INTERVAL, lambda: now)
    assert requests.may_request({"a": 3}, {"a": 2})
    requests.requested({"a": 3})
    assert not requests.may_request({"a": 3}, {"a": 2})
    assert requests.may_request({"a": 4}, {"a": 2})
    now = INTERVAL
    assert requests.may_request({"a": 3}, {"a": 2})
    assert not requests.may_request({"a": 3}, None)
    requests.reset()
    assert requests.may_request({"a": 3}, None)


async def test_assigned_partitions_of_unsubscribed_topics_are_ignored() -> None:
    subscription = SubscribedTopics()
    subscription.subscribe({"a"})
    subscription.assign_from_subscribed([TopicPartition("a", 0), TopicPartition("gone", 0)])
    assert subscription.assigned_partitions() == {TopicPartition("a", 0)}
    assert subscription.has_unsubscribed
    subscription.assign_from_subscribed([TopicPartition("a", 0)])
    assert not subscription.has_unsubscribed
