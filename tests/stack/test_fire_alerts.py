"""The program that makes every alert fire still works: three of its exercises, with durations divided by more.

All of them take about half an hour: `python -m tests.stack.fire_alerts`.
"""

from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from deploy.prometheus.alerts import ALERTS
from tests.stack.fire_alerts import EXERCISES, fire, table
from tests.stack.firing.exercise import Row

QUICK: Final = {("SignatureFailures",), ("GateDown",), ("DeadLetters",)}
NOT_SCRAPED: Final = {"TargetDown", "GatewayDown", "LedgerDown", "GateDown"}


def test_every_alert_has_an_exercise() -> None:
    assert {name for exercise in EXERCISES for name in exercise.alerts} == {alert.name for alert in ALERTS}


def test_alerts_that_may_fire_with_others_exist() -> None:
    assert {name for exercise in EXERCISES for name in exercise.also} <= {alert.name for alert in ALERTS}


@pytest.mark.stack
@pytest.mark.kafka
@pytest.mark.clickhouse
async def test_three_alerts_fire_by_their_cause_and_are_ended_by_their_runbook(tmp_path: Path) -> None:
    exercises = [replace(one, factor=180) for one in EXERCISES if one.alerts in QUICK]
    rows = await fire(exercises, tmp_path)
    assert len(rows) == len(QUICK)
    assert [row.alert for row in rows if not _is_right_on_a_busy_machine(row)] == [], table(rows)


def _is_right_on_a_busy_machine(row: Row) -> bool:
    """Whether nothing else fired but what a slow scrape causes: "down for 5 minutes" is less than two seconds here."""
    return replace(row, unexpected=tuple(one for one in row.unexpected if one not in NOT_SCRAPED)).is_right
