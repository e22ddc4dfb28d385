"""Metrics and log events: all of them are used, and every use matches its declaration."""

import ast
import re
from collections.abc import Iterator
from typing import Final, NamedTuple

import pytest
from prometheus_client import generate_latest

from schemas import telemetry
from schemas.log_events import LogEvent
from schemas.telemetry import CATALOGUE, EVENTS_TOTAL, LAG_RECORDS, PREFIX, CounterMetric, Metric, Reading, Telemetry
from tests.docs.generate import ROOT

PACKAGES: Final = ("cli", "verification", "gateway", "application", "processors", "projections", "simulator", "deploy")
METHODS: Final = ("counter", "gauge", "histogram", "watch")
LEVELS: Final = ("debug", "info", "warning", "error", "exception")


CONSTANTS: Final = {name: value for name, value in vars(telemetry).items() if isinstance(value, Metric)}
"""The metrics by the names of their constants."""


class Use(NamedTuple):
    """A call like `telemetry.counter(EVENTS_TOTAL, provider=provider, type=kind)`."""

    where: str
    metric: Metric
    labels: frozenset[str] | None
    """None if the labels are not in the call."""


def calls() -> Iterator[tuple[str, ast.Call, str]]:
    """Yield every call of a method in our code that has arguments."""
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
                    yield f"{path.relative_to(ROOT)}:{node.lineno}", node, node.func.attr


def uses() -> Iterator[Use]:
    """Yield every use of a metric in our code. mypy checks that a counter is used as a counter."""
    for where, node, method in calls():
        if method in METHODS and isinstance(node.args[0], ast.Name) and node.args[0].id in CONSTANTS:
            labels = None if method == "watch" else frozenset(keyword.arg or "" for keyword in node.keywords)
            yield Use(where, CONSTANTS[node.args[0].id], labels)


USES: Final = list(uses())


@pytest.mark.parametrize("name", list(CATALOGUE))
def test_a_metric_of_the_catalogue_is_used_somewhere(name: str) -> None:
    assert [use.where for use in USES if use.metric.name == name] != []


def test_the_constant_of_a_metric_has_its_name() -> None:
    assert {name: metric.name.upper() for name, metric in CONSTANTS.items()} == {name: name for name in CONSTANTS}


@pytest.mark.parametrize("use", USES, ids=lambda use: f"{use.where} {use.metric.name}")
def test_a_use_names_the_labels_of_its_metric(use: Use) -> None:
    assert use.labels in (None, frozenset(use.metric.labels))


def test_other_labels_than_those_of_the_metric_raise_an_error() -> None:
    counted = Telemetry()
    for labels in ({}, {"provider": "sendgrid"}, {"provider": "sendgrid", "kind": "opened"}):
        with pytest.raises(ValueError, match="label"):
            counted.counter(EVENTS_TOTAL, **labels)


def test_the_same_labels_give_the_same_counter() -> None:
    counted = Telemetry()
    counted.counter(EVENTS_TOTAL, provider="twilio", type="sent").inc()
    counted.counter(EVENTS_TOTAL, type="sent", provider="twilio").inc()
    labels = {"provider": "twilio", "type": "sent"}
    assert counted.registry.get_sample_value(f"{PREFIX}events_total", labels) == 2


@pytest.mark.parametrize("metric", list(CATALOGUE.values()), ids=lambda metric: metric.name)
def test_a_metric_has_a_help_text_and_no_unbounded_label(metric: Metric) -> None:
    assert metric.help.endswith(".")
    assert metric.name.endswith("_total") == isinstance(metric, CounterMetric)
    assert not {"address", "message_id", "account_id", "account", "event_id"} & set(metric.labels)


def test_a_watched_gauge_is_read_at_each_scrape_and_stores_nothing() -> None:
    watched = Telemetry()
    now = [
        Reading(7.0, {"group": "ledger", "topic": "sends.requested", "partition": "0"}),
        Reading(0.0, {"group": "ledger", "topic": "sends.requested", "partition": "1"}),
    ]
    watched.watch(LAG_RECORDS, lambda: now)
    first = generate_latest(watched.registry).decode()
    assert f'{PREFIX}lag_records{{group="ledger",partition="0",topic="sends.requested"}} 7.0' in first
    del now[0]
    assert 'partition="0"' not in generate_latest(watched.registry).decode()


def log_events() -> Iterator[tuple[str, ast.expr]]:
    """Yield the first argument of every log line of ours, except for the engine's."""
    for where, node, method in calls():
        logger = ast.unparse(node.func).removesuffix(f".{method}")
        if logger == "log" and method in LEVELS and not where.startswith("processors/engine/"):
            yield where, node.args[0]


def test_every_log_line_has_an_event_of_the_list() -> None:
    found = [(where, ast.unparse(event)) for where, event in log_events()]
    assert [(where, event) for where, event in found if not event.startswith("LogEvent.")] == []
    assert len(found) > 25


def test_every_log_event_is_used_somewhere() -> None:
    code = "".join(path.read_text() for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
    assert [event for event in LogEvent if not re.search(rf"LogEvent\.{event.name}\b", code)] == []


def test_a_log_event_is_a_subject_and_what_happened() -> None:
    assert [event for event in LogEvent if not re.fullmatch(r"[a-z]+\.[a-z_]+", event)] == []
