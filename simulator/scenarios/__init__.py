"""Scenarios of one message: functions that each write a `Timeline`.

Promise: every event type, status, sub-status and anomaly of docs/reference/providers and docs/explanation/status.md
has a scenario.
"""

from typing import Final

from simulator.scenarios import failures, feedback, matching, own_records, usual
from simulator.scenarios.scenario import Scenario

__all__ = ["GATE_SCENARIOS", "SCENARIOS", "Scenario"]

SCENARIOS: Final[tuple[Scenario, ...]] = (
    *usual.SCENARIOS,
    *failures.SCENARIOS,
    *feedback.SCENARIOS,
    *own_records.SCENARIOS,
    *matching.SCENARIOS,
)

GATE_SCENARIOS: Final = tuple(scenario for scenario in SCENARIOS if not scenario.decides)
"""The scenarios for a plan where a gate decides."""
