"""What a group assigns, and when a member asks it to assign anew. No broker."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

import pytest
from aiokafka import TopicPartition
from aiokafka.cluster import ClusterMetadata
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from hypothesis import given
from hypothesis import strategies as st

from processors.engine.assignment import Assignor, Counts, Fit, OwnTopics, misfits

TOPICS = ["a", "b", "c"]
AGAIN = 60.0


class Knows(ClusterMetadata):  # type: ignore[misc]  # aiokafka is untyped
    """What a client knows of topics."""

    def __init__(self, counts: Counts) -> None:
        super().__init__()
        self._counts = counts

    def partitions_for_topic(self, topic: str) -> set[int] | None:
        return set(range(self._counts[topic])) if topic in self._counts else None


def knowing(counts: Counts) -> Assignor:
    return Assignor(lambda topics: {topic: counts[topic] for topic in topics if topic in counts})


def assigned(leader: Counts, members: Mapping[str, tuple[Iterable[str], Counts]]) -> dict[str, list[TopicPartition]]:
    """What each member gets where one that knows `leader` assigns, and that it is told what of."""
    metadata = {name: knowing(counts).metadata(topics) for name, (topics, counts) in members.items()}
    assignments = knowing(leader).assign(Knows(leader), metadata)
    return {name: assignment.partitions() for name, assignment in assignments.items()}


some_counts = st.dictionaries(st.sampled_from(TOPICS), st.integers(1, 6))
some_members = st.dictionaries(
    st.sampled_from(["x", "y", "z"]),
    st.tuples(st.sets(st.sampled_from(TOPICS), min_size=1), some_counts),
    min_size=1,
)


@given(some_counts, some_members)
def test_each_partition_that_any_member_knows_of_is_assigned_once(
    leader: Counts, members: dict[str, tuple[set[str], Counts]]
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
def test_an_assignment_fits_whoever_knew_as_much(leader: Counts, members: dict[str, tuple[set[str], Counts]]) -> None:
    metadata = {name: knowing(counts).metadata(sorted(topics)) for name, (topics, counts) in members.items()}
    for name, assignment in knowing(leader).assign(Knows(leader), metadata).items():
        member = knowing(members[name][1])
        member.on_assignment(assignment)
        assert member.made_of is not None
        topics = members[name][0]
        assert not misfits({t: c for t, c in member.made_of.items() if t in topics}, member.made_of, foreign=False)


def test_a_member_of_another_version_can_be_in_the_group() -> None:
    """Then what it assigns is not said to be made of anything, and what it is assigned is plain round robin."""
    plain = RoundRobinPartitionAssignor.metadata(["a"])
    mine = knowing({"a": 3}).metadata(["a"])
    assert knowing({}).name == RoundRobinPartitionAssignor.name
    ours = knowing({"a": 2}).assign(Knows({"a": 2}), {"old": plain, "new": mine})
    assert sorted(tp.partition for one in ours.values() for tp in one.partitions()) == [0, 1, 2]
    theirs = RoundRobinPartitionAssignor.assign(Knows({"a": 2}), {"old": plain, "new": mine})
    member = knowing({"a": 2})
    member.on_assignment(theirs["new"])
    assert member.made_of is None


def test_a_request_changes_what_the_group_is_told() -> None:
    """Kafka assigns anew for a member whose metadata is another one, and for nothing else that it may say."""
    member = knowing({"a": 2})
    before = member.metadata(["a"]).encode()
    assert member.metadata(["a"]).encode() == before
    member.request()
    assert member.metadata(["a"]).encode() != before


@pytest.mark.parametrize(
    ("counts", "made_of", "foreign", "another"),
    [
        ({"a": 2}, {"a": 2}, False, False),
        ({"a": 2}, {"a": 2, "b": 3}, False, False),
        ({}, {"a": 2}, False, False),  # nothing is known of topics just now
        ({"a": 3}, {"a": 2}, False, True),
        ({"a": 2, "b": 1}, {"a": 2}, False, True),
        ({"a": 1}, {"a": 2}, False, True),
        ({"a": 2}, None, False, True),
        ({"a": 2}, {"a": 2}, True, True),
    ],
    ids=["same", "others read more", "unknown", "grown", "new topic", "made anew", "of an older version", "taken away"],
)
def test_when_an_assignment_should_be_another_one(
    counts: Counts, made_of: Counts | None, foreign: bool, another: bool
) -> None:
    assert misfits(counts, made_of, foreign=foreign) == another


def test_a_group_that_can_not_do_better_is_not_asked_all_the_time() -> None:
    now = 0.0
    fit = Fit(AGAIN, lambda: now)
    assert fit.may_ask({"a": 3}, {"a": 2})
    fit.asked({"a": 3})
    assert not fit.may_ask({"a": 3}, {"a": 2})
    assert fit.may_ask({"a": 4}, {"a": 2})
    now = AGAIN
    assert fit.may_ask({"a": 3}, {"a": 2})
    assert not fit.may_ask({"a": 3}, None)
    fit.fits()
    assert fit.may_ask({"a": 3}, None)


async def test_of_an_assignment_only_own_topics_are_taken() -> None:
    subscription = OwnTopics()
    subscription.subscribe({"a"})
    subscription.assign_from_subscribed([TopicPartition("a", 0), TopicPartition("gone", 0)])
    assert subscription.assigned_partitions() == {TopicPartition("a", 0)}
    assert subscription.foreign
    subscription.assign_from_subscribed([TopicPartition("a", 0)])
    assert not subscription.foreign
