"""Two workers under one instance name are detected."""

from __future__ import annotations

import pytest

from processors.engine.duplicate_instances import DuplicateInstanceDetector
from processors.engine.errors import InstanceTaken
from tests.engine.building import FakeClock


def test_three_changes_of_the_member_id_in_a_minute_mean_a_duplicate() -> None:
    detector = DuplicateInstanceDetector("ledger-0", clock=FakeClock())
    for member in ("a", "b", "c"):
        detector.joined_as(member)
    with pytest.raises(InstanceTaken, match="ledger-0"):
        detector.joined_as("d")


def test_rebalances_of_other_members_do_not_count() -> None:
    detector = DuplicateInstanceDetector("ledger-0", clock=FakeClock())
    for _ in range(10):
        detector.joined_as("a")


def test_occasional_session_timeouts_do_not_count() -> None:
    clock = FakeClock()
    detector = DuplicateInstanceDetector("ledger-0", clock=clock)
    for i in range(10):
        clock.now = i * 60.0
        detector.joined_as(f"member {i}")


def test_a_worker_without_an_instance_name_has_no_duplicate() -> None:
    detector = DuplicateInstanceDetector(None, clock=FakeClock())
    for i in range(10):
        detector.joined_as(f"member {i}")
