"""The program that makes every alert fire still works: three of its exercises, with durations divided by more.

All of them take about half an hour: `python -m tests.stack.fire_alerts`.
"""

from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from deploy.prometheus.alerts import ALERTS
from tests.stack.fire_alerts import EXERCISES, fire, table

QUICK: Final = {("SignatureFailures",), ("GateDown",), ("DeadLetters",)}


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
    # Whether others fire as well is for the whole program to say: "down for 5 minutes" is less than two seconds here,
    # and on a busy machine a scrape may take as long.
    wrong = [row.alert for row in rows if row.fired is None or row.ended is None or row.problem]
    assert wrong == [], table(rows)
