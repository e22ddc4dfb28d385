"""Repeated log lines are limited."""

from __future__ import annotations

import logging

import pytest

from processors.engine.log_limit import RepeatFilter, limit_repeated_logs
from tests.engine.building import FakeClock


def record(text: str = "Unable connect to node %s", level: int = logging.ERROR, argument: int = 1) -> logging.LogRecord:
    return logging.LogRecord("aiokafka", level, "", 0, text, (argument,), None)


def test_the_same_error_shows_once_per_interval() -> None:
    limit = RepeatFilter(30, FakeClock())
    assert [limit.filter(record(argument=i)) for i in range(4)] == [True, False, False, False]


def test_the_next_line_says_how_many_were_suppressed() -> None:
    clock = FakeClock()
    limit = RepeatFilter(30, clock)
    for _ in range(4):
        limit.filter(record())
    clock.now = 31
    shown = record()
    assert limit.filter(shown)
    assert shown.getMessage() == "Unable connect to node 1 (and 3 more like it)"


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(record("Heartbeat failed: %s"), id="another message"),
        pytest.param(record(level=logging.WARNING), id="another level"),
        pytest.param(record(level=logging.INFO), id="information is never limited"),
    ],
)
def test_different_log_records_do_not_suppress_each_other(other: logging.LogRecord) -> None:
    limit = RepeatFilter(30, FakeClock())
    limit.filter(record())
    assert limit.filter(other)


def test_a_filter_is_added_once_to_all_loggers_of_a_package() -> None:
    child = logging.getLogger("some_client.conn")
    limit_repeated_logs("some_client")
    limit_repeated_logs("some_client")
    assert [type(f) for f in child.filters] == [RepeatFilter]
