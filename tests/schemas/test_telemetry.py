"""The catalogue of metrics: nothing in it is dead, nothing outside it is raised, and every use fits its row."""

import ast
from collections.abc import Iterator
from typing import Final, NamedTuple

import pytest
from prometheus_client import generate_latest

from schemas.telemetry import CATALOGUE, PREFIX, Telemetry
from tests.docs.generate import ROOT

PACKAGES: Final = ("cli", "gateway", "processors", "projections", "simulator", "deploy")
KINDS: Final = ("counter", "gauge", "histogram")


class Use(NamedTuple):
    """A call like `telemetry.counter("events_total", provider, kind)`."""

    where: str
    name: str
    kind: str
    labels: int | None
    """None where the labels are not in the call."""


def uses() -> Iterator[Use]:
    """Every use of a metric in our code."""
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or not node.args:
                    continue
                first, how = node.args[0], node.func.attr
                if isinstance(first, ast.Constant) and isinstance(first.value, str) and how in (*KINDS, "watch"):
                    where = f"{path.relative_to(ROOT)}:{node.lineno}"
                    spread = any(isinstance(argument, ast.Starred) for argument in node.args)
                    labels = None if how == "watch" or spread else len(node.args) - 1
                    yield Use(where, first.value, "gauge" if how == "watch" else how, labels)


USES: Final = list(uses())


@pytest.mark.parametrize("name", list(CATALOGUE))
def test_a_metric_of_the_catalogue_is_raised_somewhere(name: str) -> None:
    assert [use.where for use in USES if use.name == name] != []


@pytest.mark.parametrize("use", USES, ids=lambda use: f"{use.where} {use.name}")
def test_what_is_raised_is_as_the_catalogue_says(use: Use) -> None:
    metric = CATALOGUE[use.name]
    assert use.kind == metric.kind
    assert use.labels in (None, len(metric.labels))


@pytest.mark.parametrize("metric", list(CATALOGUE.values()), ids=lambda metric: metric.name)
def test_a_metric_says_what_it_is(metric: object) -> None:
    row = CATALOGUE[getattr(metric, "name", "")]
    assert row.help.endswith(".")
    assert row.name.endswith("_total") == (row.kind == "counter")
    assert bool(row.buckets) == (row.kind == "histogram")
    assert not {"address", "message_id", "account_id", "account", "event_id"} & set(row.labels)


def test_a_watched_gauge_is_read_at_each_scrape_and_forgets() -> None:
    telemetry = Telemetry()
    now: dict[tuple[str, ...], float] = {
        ("ledger", "sends.requested", "0"): 7.0,
        ("ledger", "sends.requested", "1"): 0.0,
    }
    telemetry.watch("lag_records", lambda: now)
    first = generate_latest(telemetry.registry).decode()
    assert f'{PREFIX}lag_records{{group="ledger",partition="0",topic="sends.requested"}} 7.0' in first
    del now["ledger", "sends.requested", "0"]
    assert 'partition="0"' not in generate_latest(telemetry.registry).decode()
