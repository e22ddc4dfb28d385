"""Alerts with shorter durations, as `tests.stack.fire_alerts` uses them."""

import re

import pytest

from deploy.prometheus.alerts import ALERTS, Alert
from tests.stack.firing.durations import shortened

BY_NAME = {alert.name: alert for alert in ALERTS}


def test_how_long_it_lasts_its_ranges_and_its_offsets_are_divided() -> None:
    alert = shortened(BY_NAME["ErrorCodeRate"], 60)
    assert alert.lasting == "10s"
    assert {*re.findall(r"\[\w+\]|offset \w+", alert.expr)} == {
        *("[60s]", "offset 60s", "[1440s]", "offset 1440s"),
        "[5s]",  # what `increase` looks at before its range
    }


def test_a_range_keeps_a_few_scrapes() -> None:
    assert "[5s]" in shortened(BY_NAME["GateStuck"], 3600).expr


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_nothing_else_is_changed(alert: Alert) -> None:
    same = shortened(alert, 1)
    assert re.sub(r"\d+s\b", "", same.expr) == re.sub(r"\d+[smhd]\b", "", alert.expr)
    assert (same.name, same.severity, same.runbook) == (alert.name, alert.severity, alert.runbook)
