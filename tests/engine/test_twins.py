"""Two workers under one instance name are noticed."""

from __future__ import annotations

import pytest

from processors.engine import InstanceTaken
from processors.engine.twins import Twins


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_name_that_changes_hands_three_times_in_a_minute_is_taken() -> None:
    twins = Twins("ledger-0", clock=Clock())
    for member in ("a", "b", "c"):
        twins.joined_as(member)
    with pytest.raises(InstanceTaken, match="ledger-0"):
        twins.joined_as("d")


def test_rebalances_of_others_are_no_sign() -> None:
    twins = Twins("ledger-0", clock=Clock())
    for _ in range(10):
        twins.joined_as("a")


def test_a_session_that_runs_out_now_and_then_is_no_sign() -> None:
    clock = Clock()
    twins = Twins("ledger-0", clock=clock)
    for i in range(10):
        clock.now = i * 60.0
        twins.joined_as(f"member {i}")


def test_a_worker_without_a_name_has_no_twin() -> None:
    twins = Twins(None, clock=Clock())
    for i in range(10):
        twins.joined_as(f"member {i}")
