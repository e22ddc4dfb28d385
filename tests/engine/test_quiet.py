"""One cause does not fill the log."""

from __future__ import annotations

import logging

import pytest

from processors.engine.quiet import OncePer, quieten


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def record(text: str = "Unable connect to node %s", level: int = logging.ERROR, argument: int = 1) -> logging.LogRecord:
    return logging.LogRecord("aiokafka", level, "", 0, text, (argument,), None)


def test_the_same_error_shows_once_per_interval() -> None:
    once = OncePer(30, Clock())
    assert [once.filter(record(argument=i)) for i in range(4)] == [True, False, False, False]


def test_the_next_one_tells_how_many_it_stands_for() -> None:
    clock = Clock()
    once = OncePer(30, clock)
    for _ in range(4):
        once.filter(record())
    clock.now = 31
    shown = record()
    assert once.filter(shown)
    assert shown.getMessage() == "Unable connect to node 1 (and 3 more like it)"


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(record("Heartbeat failed: %s"), id="another message"),
        pytest.param(record(level=logging.WARNING), id="another level"),
        pytest.param(record(level=logging.INFO), id="information is never cut"),
    ],
)
def test_different_records_do_not_hide_each_other(other: logging.LogRecord) -> None:
    once = OncePer(30, Clock())
    once.filter(record())
    assert once.filter(other)


def test_a_package_is_quietened_once_with_all_its_loggers() -> None:
    child = logging.getLogger("some_client.conn")
    quieten("some_client")
    quieten("some_client")
    assert [type(f) for f in child.filters] == [OncePer]
