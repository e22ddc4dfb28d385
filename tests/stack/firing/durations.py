"""Alerts with shorter durations, so that what takes a quarter of an hour in production takes seconds here.

Every duration of an alert is divided by the same number: how long it lasts, its ranges and its offsets. So their
relations stay as they are. Thresholds are not changed.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from deploy.prometheus.alerts import GROUPS, Alert

__all__ = ["shortened", "shortened_groups"]

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_DURATION: Final = re.compile(r"(\d+)([smhd])")
_IN_EXPRESSION: Final = re.compile(r"(?<=\[)\d+[smhd](?=\])|(?<=\boffset )\d+[smhd]\b")
_LEAST_SECONDS: Final = 5
"""Of a range: it has to have a few scrapes."""


def shortened_groups(factor: int) -> Mapping[str, Sequence[Alert]]:
    """Return all alerts, by their group, with durations divided by `factor`."""
    return {name: [shortened(alert, factor) for alert in alerts] for name, alerts in GROUPS.items()}


def shortened(alert: Alert, factor: int) -> Alert:
    """Return the alert with its durations divided by `factor`; a range has at least five seconds."""
    return replace(
        alert,
        lasting=f"{_seconds(alert.lasting) // factor}s",
        expr=_IN_EXPRESSION.sub(lambda found: f"{max(_LEAST_SECONDS, _seconds(found[0]) // factor)}s", alert.expr),
    )


def _seconds(duration: str) -> int:
    found = _DURATION.fullmatch(duration)
    assert found, f"{duration} is no duration"
    return int(found[1]) * _UNITS[found[2]]
