"""The alerts: each fires on what it is about and not on what resembles it, and has a page that says what to do.

promtool, of Debian's package `prometheus`, reads the rules and runs the cases, as Prometheus would.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import orjson
import pytest

from deploy.prometheus.alerts import ALERTS, GROUPS, Alert
from deploy.prometheus.promql import Not, increase, quantile, series
from deploy.prometheus.rules import RULES_FILE, rules_text, runbook_url
from schemas.errors import StoreError
from schemas.headers import REASONS
from schemas.telemetry import CATALOGUE, DEAD_LETTERS_TOTAL, DELAY_SECONDS, ERRORS_TOTAL, PREFIX
from tests.deploy.alert_cases import CASES, Fires
from tests.deploy.prometheus import promtool

ROOT = Path(__file__).parents[2]
BY_NAME = {alert.name: alert for alert in ALERTS}


def expected(alert: Alert, fires: Fires) -> dict[str, Mapping[str, str]]:
    annotations = {"summary": alert.summary, "description": fires.description, "runbook_url": runbook_url(alert)}
    return {"exp_labels": {"severity": alert.severity, **fires.labels}, "exp_annotations": annotations}


def promtool_tests(alert: Alert, rules: Path) -> bytes:
    """The alert's cases in promtool's format. YAML is a superset of JSON."""
    fires, quiet, step = CASES[alert.name]
    tests = [_promtool_test("fires", step, fires.metrics, alert, {fires.minute: [expected(alert, fires)]})]
    for reason, metrics in quiet.items():
        # Around the same time, too: the test of a short peak must not pass because it looks beside it.
        times = range(fires.minute - 5 * step, fires.minute + 6 * step, step)
        tests.append(_promtool_test(f"does not fire: {reason}", step, metrics, alert, {at: [] for at in times}))
    return orjson.dumps({"rule_files": [str(rules)], "evaluation_interval": f"{step}m", "tests": tests})


def _promtool_test(
    name: str, step: int, metrics: Mapping[str, str], alert: Alert, at_minute: Mapping[int, Sequence[object]]
) -> dict[str, object]:
    return {
        "name": name,
        "interval": f"{step}m",
        "input_series": [{"series": name, "values": values} for name, values in metrics.items()],
        "alert_rule_test": [
            {"eval_time": f"{minute}m", "alertname": alert.name, "exp_alerts": alerts}
            for minute, alerts in at_minute.items()
        ],
    }


def test_the_rules_are_fresh() -> None:
    assert RULES_FILE.read_text(encoding="utf-8") == rules_text(), "rules.yml is stale: run `make docs`"


def test_prometheus_reads_the_rules_and_its_configuration() -> None:
    promtool("check", "rules", RULES_FILE)
    promtool("check", "config", RULES_FILE.with_name("prometheus.yml"))


def test_every_alert_has_cases() -> None:
    assert CASES.keys() == BY_NAME.keys()
    assert [name for name, case in CASES.items() if not case.quiet] == []


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_an_alert_fires_on_what_it_is_about_and_not_on_what_resembles_it(alert: Alert, tmp_path: Path) -> None:
    rules, tests = tmp_path / "rules.yml", tmp_path / "tests.yml"
    # Alone: with each case promtool would evaluate all the others, too.
    rules.write_text(rules_text(groups={"the alert": [alert]}), encoding="utf-8")
    tests.write_bytes(promtool_tests(alert, rules))
    promtool("test", "rules", tests)


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_an_alert_has_a_page_and_says_what_was_measured(alert: Alert) -> None:
    assert (ROOT / runbook_url(alert)).is_file()
    assert re.search(r"\{\{ (?:\$value|\$labels\.instance)", alert.description)


def test_the_how_to_leads_from_each_alert_to_its_page() -> None:
    page = (ROOT / "docs" / "how-to" / "alerts.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert named == BY_NAME.keys()
    missing = [a.name for a in ALERTS if not any(f"`{a.name}`" in row and f"]({a.runbook}.md)" in row for row in rows)]
    assert missing == []


def test_only_metrics_of_the_catalogue_and_of_clickhouse_are_used() -> None:
    known = {PREFIX + name + suffix for name in CATALOGUE for suffix in ("", "_bucket", "_sum", "_count")}
    used = {name for alert in ALERTS for name in re.findall(rf"\b{PREFIX}\w+", alert.expr)}
    assert used <= known
    of_clickhouse = {alert.name for alert in ALERTS if "ClickHouseAsyncMetrics" in alert.expr}
    assert of_clickhouse == {alert.name for alert in GROUPS["clickhouse-server"]}


def test_the_reasons_that_alerts_name_exist() -> None:
    named = {
        name for alert in ALERTS for match in re.findall(r'reason=~"([^"]+)"', alert.expr) for name in match.split("|")
    }
    assert named
    assert named <= REASONS.keys()


def test_the_causes_of_errors_that_alerts_name_are_published() -> None:
    """The gateway's causes are text in its code; the catalogue lists them."""
    expressions = " ".join(alert.expr for alert in ALERTS)
    named = re.findall(rf'{PREFIX}{ERRORS_TOTAL.name}\{{of=~?"([^"]+)"', expressions)
    assert {cause for causes in named for cause in causes.split("|")} <= {*re.findall(r"`(\w+)`", ERRORS_TOTAL.help)}
    assert named


def test_every_error_of_the_store_that_is_retried_is_about_clickhouse() -> None:
    labels = {StoreError.__name__} | {error.__name__ for error in StoreError.__subclasses__()}
    (named,) = re.findall(r'retries_total\{of=~"([^"]+)"\} unless', BY_NAME["ClickHouseUnavailable"].expr)
    assert labels <= {*named.split("|")}


def test_links_lead_to_where_the_pages_are_published() -> None:
    assert 'runbook_url: "https://docs.example.com/how-to/rotate-a-key.md"' in rules_text("https://docs.example.com/")


def test_labels_are_matched_by_value_by_any_of_several_and_by_none() -> None:
    assert series(DEAD_LETTERS_TOTAL, topic="a.b") == 'sendledger_dead_letters_total{topic="a.b"}'
    assert series(DEAD_LETTERS_TOTAL, topic=("b", "a.b")) == r'sendledger_dead_letters_total{topic=~"a\\.b|b"}'
    assert series(DEAD_LETTERS_TOTAL, reason=Not(("x",))) == 'sendledger_dead_letters_total{reason!~"x"}'


def test_a_label_that_a_metric_lacks_is_refused() -> None:
    with pytest.raises(ValueError, match="dead_letters_total has no label provider"):
        series(DEAD_LETTERS_TOTAL, provider="sendgrid")
    with pytest.raises(ValueError, match="no label provider"):
        increase(DEAD_LETTERS_TOTAL, "5m", ("provider",))
    with pytest.raises(ValueError, match="no label provider"):
        quantile(0.9, DELAY_SECONDS, "5m", ("provider",))
