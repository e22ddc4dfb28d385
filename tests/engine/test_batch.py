"""The in-flight tracker: what may be committed, what has room, what has stalled."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.engine import TP
from processors.engine.errors import BatchLost
from tests.engine.building import FakeOwner, a_batch

P0 = TP("events", 0)


@given(
    runs=st.lists(st.tuples(st.integers(0, 5), st.integers(1, 9)), min_size=1, max_size=12),
    data=st.data(),
)
def test_a_commit_never_passes_the_first_unacknowledged_record(
    runs: list[tuple[int, int]], data: st.DataObject
) -> None:
    owner, offset, batches = FakeOwner(limit=99), 0, []
    for hole, size in runs:
        batches.append(owner.open(offset + hole, size))
        offset += hole + size
    for batch in data.draw(st.permutations(batches)):
        assert batch.ack()
        unacknowledged = [record.offset for other in batches if not other.acked for record in other]
        committable = owner.inflight.committable().get(P0, 0)
        assert all(committable <= offset for offset in unacknowledged)


@given(sizes=st.lists(st.integers(1, 9), min_size=1, max_size=12), markers=st.integers(0, 5), data=st.data())
def test_with_all_acknowledged_the_commit_reaches_the_position(
    sizes: list[int], markers: int, data: st.DataObject
) -> None:
    owner, offset, batches = FakeOwner(limit=99), 0, []
    for size in sizes:
        batches.append(owner.open(offset, size))
        offset += size
    owner.inflight.reached(P0, offset + markers)  # transaction markers take offsets and are not records
    for batch in data.draw(st.permutations(batches)):
        batch.ack()
    assert owner.inflight.committable() == {P0: offset + markers}


def test_only_what_moved_is_committed() -> None:
    owner = FakeOwner()
    owner.open(0, 3).ack()
    owner.inflight.committed({P0: 3})
    assert owner.inflight.committable() == {}


def test_the_low_watermark_is_below_the_first_unacknowledged_record() -> None:
    owner = FakeOwner()
    owner.inflight.resumed({P0: 7, TP("events", 1): None})
    assert owner.inflight.low_watermarks() == {P0: 7}
    first, second = owner.open(7, 3), owner.open(10, 5)
    second.ack()
    assert owner.inflight.low_watermarks() == {P0: 7}
    first.ack()
    assert owner.inflight.low_watermarks() == {P0: 15}


def test_a_partition_that_starts_over_commits_nothing_by_itself() -> None:
    owner = FakeOwner()
    owner.inflight.resumed({P0: 7})
    owner.inflight.reached(P0, 7)
    assert owner.inflight.committable() == {}


def test_a_self_committing_topic_is_left_out_of_commits() -> None:
    owner = FakeOwner(self_committing={"events"})
    owner.open(0, 3).ack()
    owner.open(0, 5, topic="others").ack()
    assert owner.inflight.committable() == {TP("others", 0): 5}


def test_a_self_committing_topic_has_an_idle_position_only_while_nothing_is_in_flight() -> None:
    owner = FakeOwner(self_committing={"events"})
    batch = owner.open(0, 3)
    owner.inflight.reached(P0, 4)  # a transaction marker
    assert owner.inflight.idle_positions() == {}
    batch.ack()
    assert owner.inflight.idle_positions() == {P0: 4}
    owner.inflight.committed({P0: 4})
    assert owner.inflight.idle_positions() == {}


def test_the_commit_offset_of_a_batch_is_the_next_batch_or_the_position() -> None:
    owner = FakeOwner()
    first, second = owner.open(0, 3), owner.open(5, 2)  # a gap between them
    owner.inflight.reached(P0, 9)
    assert (first.commit_offset, second.commit_offset) == (5, 9)
    owner.inflight.forget()
    assert (first.commit_offset, second.commit_offset) == (3, 7)


def test_a_full_partition_has_no_room_until_its_head_is_acknowledged() -> None:
    owner = FakeOwner(limit=2)
    head, second = owner.open(0), owner.open(1)
    assert not owner.inflight.has_room(P0)
    second.ack()
    assert not owner.inflight.has_room(P0)
    head.ack()
    assert owner.inflight.has_room(P0)


def test_batches_that_are_small_in_total_do_not_fill_a_partition() -> None:
    owner = FakeOwner(limit=1, small_bytes=4)
    owner.open(0, size=3)
    assert owner.inflight.has_room(P0)
    owner.open(3, size=1)
    assert not owner.inflight.has_room(P0)


def test_over_the_byte_limit_a_partition_gets_a_first_batch_but_no_second() -> None:
    owner = FakeOwner(limit=2, many_bytes=3)
    head = owner.open(0, size=2)
    assert owner.inflight.has_room(P0)
    others = owner.open(0, size=1, partition=1)
    assert not owner.inflight.has_room(P0)
    assert owner.inflight.has_room(TP("events", 2))
    others.ack()
    assert owner.inflight.has_room(P0)
    owner.open(2, size=9)
    owner.inflight.forget()
    owner.open(0, size=2)
    assert owner.inflight.has_room(P0)
    assert not head.ack()


def test_a_late_acknowledgement_is_refused() -> None:
    owner = FakeOwner()
    batch = owner.open(0, 3)
    owner.inflight.forget()
    assert not batch.ack()
    assert owner.inflight.committable() == {}


def test_a_late_acknowledgement_does_not_count_for_the_same_records_read_again() -> None:
    owner = FakeOwner()
    before = owner.open(0, 3)
    owner.inflight.forget()
    owner.open(0, 3)
    assert not before.ack()
    assert owner.inflight.committable() == {P0: 0}


def test_a_second_acknowledgement_is_refused() -> None:
    owner = FakeOwner()
    batch = owner.open(0)
    assert batch.ack()
    assert not batch.ack()


def test_a_skipped_batch_is_detected_when_the_next_one_is_begun() -> None:
    owner = FakeOwner()
    owner.open(0)
    later = owner.open(1)
    with pytest.raises(BatchLost, match=r"events-0 \[0, 1\)"):
        owner.inflight.begun(later)


def test_a_batch_of_a_previous_assignment_is_ignored_when_it_is_begun() -> None:
    owner = FakeOwner()
    before = owner.open(0)
    owner.inflight.forget()
    owner.open(0)
    owner.inflight.begun(before)


def test_only_begun_batches_are_worth_waiting_for() -> None:
    owner = FakeOwner()
    batch = owner.open(0)
    assert not owner.inflight.worth_waiting()
    owner.inflight.begun(batch)
    assert owner.inflight.worth_waiting()
    batch.abandon()
    assert not owner.inflight.worth_waiting()


def test_a_batch_that_nobody_acknowledges_has_stalled() -> None:
    owner = FakeOwner()
    batch = owner.open(0)
    owner.now = 121
    assert owner.inflight.stalled(120) is batch


def test_a_slow_sink_is_not_a_stall() -> None:
    owner = FakeOwner()
    head = owner.open(0)
    owner.open(1)
    owner.now = 100
    head.ack()
    owner.now = 200
    assert owner.inflight.stalled(120) is None


def test_acknowledgements_of_another_topic_do_not_hide_a_stall() -> None:
    owner = FakeOwner()
    stuck = owner.open(0)
    fine = owner.open(0, topic="others")
    owner.now = 100
    fine.ack()
    owner.now = 200
    assert owner.inflight.stalled(120) is stuck


def test_retries_are_not_a_stall() -> None:
    owner = FakeOwner()
    owner.open(0)
    owner.now = 100
    owner.inflight.pause_stall_timer()
    owner.now = 200
    assert owner.inflight.stalled(120) is None


def test_a_batch_knows_its_offsets_and_bytes() -> None:
    batch = a_batch(first=5, size=3, value=b"four")
    assert (batch.first, batch.next, len(batch), batch.body_bytes) == (5, 8, 3, 12)
