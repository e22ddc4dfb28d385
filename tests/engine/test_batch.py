"""The in-flight account: what may be committed, what has room, what has stalled."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.engine import TP, BatchLost
from tests.engine.building import Account, a_batch

P0 = TP("events", 0)


@given(
    runs=st.lists(st.tuples(st.integers(0, 5), st.integers(1, 9)), min_size=1, max_size=12),
    data=st.data(),
)
def test_a_commit_never_passes_the_first_unacknowledged_record(
    runs: list[tuple[int, int]], data: st.DataObject
) -> None:
    account, offset, batches = Account(limit=99), 0, []
    for hole, size in runs:
        batches.append(account.open(offset + hole, size))
        offset += hole + size
    for batch in data.draw(st.permutations(batches)):
        assert batch.ack()
        unacknowledged = [record.offset for other in batches if not other.acked for record in other]
        committable = account.inflight.committable().get(P0, 0)
        assert all(committable <= offset for offset in unacknowledged)


@given(sizes=st.lists(st.integers(1, 9), min_size=1, max_size=12), markers=st.integers(0, 5), data=st.data())
def test_with_all_acknowledged_the_commit_reaches_the_position(
    sizes: list[int], markers: int, data: st.DataObject
) -> None:
    account, offset, batches = Account(limit=99), 0, []
    for size in sizes:
        batches.append(account.open(offset, size))
        offset += size
    account.inflight.reached(P0, offset + markers)  # transaction markers take offsets and are no records
    for batch in data.draw(st.permutations(batches)):
        batch.ack()
    assert account.inflight.committable() == {P0: offset + markers}


def test_only_what_moved_is_committed() -> None:
    account = Account()
    account.open(0, 3).ack()
    account.inflight.committed({P0: 3})
    assert account.inflight.committable() == {}


def test_what_is_reached_safely_is_below_the_first_unacknowledged_record() -> None:
    account = Account()
    account.inflight.resumed({P0: 7, TP("events", 1): None})
    assert account.inflight.reached_safely() == {P0: 7}
    first, second = account.open(7, 3), account.open(10, 5)
    second.ack()
    assert account.inflight.reached_safely() == {P0: 7}
    first.ack()
    assert account.inflight.reached_safely() == {P0: 15}


def test_a_partition_that_starts_over_commits_nothing_by_itself() -> None:
    account = Account()
    account.inflight.resumed({P0: 7})
    account.inflight.reached(P0, 7)
    assert account.inflight.committable() == {}


def test_a_topic_that_commits_itself_is_left_out_of_commits() -> None:
    account = Account(self_committing={"events"})
    account.open(0, 3).ack()
    account.open(0, 5, topic="others").ack()
    assert account.inflight.committable() == {TP("others", 0): 5}


def test_a_topic_that_commits_itself_owes_a_position_only_while_nothing_is_out() -> None:
    account = Account(self_committing={"events"})
    batch = account.open(0, 3)
    account.inflight.reached(P0, 4)  # a transaction marker
    assert account.inflight.owed() == {}
    batch.ack()
    assert account.inflight.owed() == {P0: 4}
    account.inflight.committed({P0: 4})
    assert account.inflight.owed() == {}


def test_a_batch_may_be_committed_up_to_the_next_one_or_the_position() -> None:
    account = Account()
    first, second = account.open(0, 3), account.open(5, 2)  # a hole between them
    account.inflight.reached(P0, 9)
    assert (first.upto, second.upto) == (5, 9)
    account.inflight.forget()
    assert (first.upto, second.upto) == (3, 7)


def test_a_full_partition_has_no_room_until_its_head_is_acknowledged() -> None:
    account = Account(limit=2)
    head, second = account.open(0), account.open(1)
    assert not account.inflight.has_room(P0)
    second.ack()
    assert not account.inflight.has_room(P0)
    head.ack()
    assert account.inflight.has_room(P0)


def test_batches_that_are_small_together_fill_no_partition() -> None:
    account = Account(limit=1, small_bytes=4)
    account.open(0, size=3)
    assert account.inflight.has_room(P0)
    account.open(3, size=1)
    assert not account.inflight.has_room(P0)


def test_while_much_is_out_a_partition_gets_no_second_batch_but_its_first() -> None:
    account = Account(limit=2, many_bytes=3)
    head = account.open(0, size=2)
    assert account.inflight.has_room(P0)
    others = account.open(0, size=1, partition=1)
    assert not account.inflight.has_room(P0)
    assert account.inflight.has_room(TP("events", 2))
    others.ack()
    assert account.inflight.has_room(P0)
    account.open(2, size=9)
    account.inflight.forget()
    account.open(0, size=2)
    assert account.inflight.has_room(P0)
    assert not head.ack()


def test_a_late_acknowledgement_is_refused() -> None:
    account = Account()
    batch = account.open(0, 3)
    account.inflight.forget()
    assert not batch.ack()
    assert account.inflight.committable() == {}


def test_a_late_acknowledgement_does_not_count_for_the_same_records_read_again() -> None:
    account = Account()
    before = account.open(0, 3)
    account.inflight.forget()
    account.open(0, 3)
    assert not before.ack()
    assert account.inflight.committable() == {P0: 0}


def test_a_second_acknowledgement_is_refused() -> None:
    account = Account()
    batch = account.open(0)
    assert batch.ack()
    assert not batch.ack()


def test_a_batch_that_the_machinery_skipped_is_noticed_when_the_next_one_is_begun() -> None:
    account = Account()
    account.open(0)
    later = account.open(1)
    with pytest.raises(BatchLost, match=r"events-0 \[0, 1\)"):
        account.inflight.begun(later)


def test_a_batch_of_an_assignment_that_is_over_says_nothing_about_this_one() -> None:
    account = Account()
    before = account.open(0)
    account.inflight.forget()
    account.open(0)
    account.inflight.begun(before)


def test_only_begun_batches_are_worth_waiting_for() -> None:
    account = Account()
    batch = account.open(0)
    assert not account.inflight.worth_waiting()
    account.inflight.begun(batch)
    assert account.inflight.worth_waiting()
    batch.abandon()
    assert not account.inflight.worth_waiting()


def test_a_batch_that_nobody_acknowledges_has_stalled() -> None:
    account = Account()
    batch = account.open(0)
    account.now = 121
    assert account.inflight.stalled(120) is batch


def test_a_slow_sink_is_no_stall() -> None:
    account = Account()
    head = account.open(0)
    account.open(1)
    account.now = 100
    head.ack()
    account.now = 200
    assert account.inflight.stalled(120) is None


def test_another_topics_acknowledgements_hide_no_stall() -> None:
    account = Account()
    stuck = account.open(0)
    fine = account.open(0, topic="others")
    account.now = 100
    fine.ack()
    account.now = 200
    assert account.inflight.stalled(120) is stuck


def test_a_wait_for_the_world_is_no_stall() -> None:
    account = Account()
    account.open(0)
    account.now = 100
    account.inflight.excuse()
    account.now = 200
    assert account.inflight.stalled(120) is None


def test_a_batch_knows_its_offsets_and_bytes() -> None:
    batch = a_batch(first=5, size=3, value=b"four")
    assert (batch.first, batch.next, len(batch), batch.body_bytes) == (5, 8, 3, 12)
