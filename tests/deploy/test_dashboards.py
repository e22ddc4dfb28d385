"""The dashboards: what is committed is what the code makes. Each query runs, on real tables or a real Prometheus."""

import re
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import clickhouse_connect
import orjson
import pytest
from clickhouse_connect.driver.client import Client

from deploy.grafana.dashboards import DASHBOARDS, FOLDER
from deploy.grafana.dashboards.account import ACCOUNT
from deploy.grafana.panels import CLICKHOUSE, PROMETHEUS, Dashboard, Panel, Prom, Sql, dashboard_text
from deploy.prometheus.alerts import ALERTS
from processors.ledger.replay import replay
from projections.suppressions.columns import changes_table
from schemas.decoding.times import DAY_US, rfc3339
from schemas.suppressions import SuppressionState
from schemas.telemetry import CATALOGUE, PREFIX, CounterMetric, GaugeMetric, HistogramMetric, Telemetry
from simulator.messages import PlanOptions
from simulator.plan import plan
from tests.deploy.prometheus import Prometheus, a_prometheus
from tests.metrics import served
from tests.stores import fresh_store
from tests.weather.test_arrivals import in_turn, records_of

NOW_US: Final = time.time_ns() // 1000
DAYS: Final = 2
_RATE_INTERVAL: Final = "$__rate_interval"
_SAMPLES: Final = re.compile(rf"\b{PREFIX}\w+")
_OF_CLICKHOUSE: Final = re.compile(r"\bClickHouse\w+")
_SUFFIXES: Final = ("", "_bucket", "_sum", "_count")


def queries(kind: type[Prom] | type[Sql]) -> list[Any]:
    """The queries of all panels, named by dashboard and panel."""
    return [
        pytest.param(panel, query, id=f"{dashboard.uid}: {panel.title}")
        for dashboard in DASHBOARDS
        for panel in dashboard.panels
        for query in panel.queries
        if isinstance(query, kind)
    ]


def expanded(sql: str, account: str = "acme") -> str:
    """The query as the plugin sends it, with its macros expanded as in its pkg/macros/macros.go."""
    first, last = NOW_US // 1_000_000 - DAYS * 86_400 - 3600, NOW_US // 1_000_000 + 3600
    sql = re.sub(r"\$__timeFilter\((\w+)\)", rf"\1 >= toDateTime({first}) AND \1 <= toDateTime({last})", sql)
    sql = re.sub(r"\$__timeInterval\((\w+)\)", r"toStartOfInterval(toDateTime(\1), INTERVAL 3600 second)", sql)
    sql = sql.replace("${account:sqlstring}", f"'{account}'")
    assert "$" not in sql, "a macro or a variable that this test does not know"
    return sql


def full_telemetry() -> Telemetry:
    """Every metric of the catalogue, with some value of each label."""
    telemetry = Telemetry()
    values = {"type": "delivered", "provider": "sendgrid", "topic": "webhooks.sendgrid", "status": "200"}
    for metric in CATALOGUE.values():
        labels = {name: values.get(name, "x") for name in metric.labels}
        match metric:
            case CounterMetric():
                telemetry.counter(metric, **labels).inc()
            case GaugeMetric():
                telemetry.gauge(metric, **labels).set(1)
            case HistogramMetric():
                telemetry.histogram(metric, **labels).observe(1)
    return telemetry


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda dashboard: dashboard.uid)
def test_the_json_is_fresh(dashboard: Dashboard) -> None:
    written = (FOLDER / f"{dashboard.uid}.json").read_text(encoding="utf-8")
    assert written == dashboard_text(dashboard), "a dashboard is stale: run `make docs`"


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda dashboard: dashboard.uid)
def test_panels_do_not_overlap(dashboard: Dashboard) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in orjson.loads(dashboard_text(dashboard))["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells


def test_the_data_sources_are_those_that_are_provisioned() -> None:
    file = FOLDER.parent / "provisioning" / "datasources" / "sendledger.yml"
    provisioned = re.findall(r"^ +(uid|type): (\S+)$", file.read_text(encoding="utf-8"), re.M)
    wanted = [(name, source[name]) for source in (PROMETHEUS, CLICKHOUSE) for name in ("uid", "type")]
    assert provisioned == wanted


def test_every_query_of_the_account_dashboard_is_bound_to_the_account() -> None:
    for panel in ACCOUNT.panels:
        for query in panel.queries:
            assert isinstance(query, Sql), "a metric has no label for an account"
            for part in re.split(r"\bSELECT\b", query.sql)[1:]:
                assert re.search(r"\bWHERE (?:account_id|scope) = \$\{account:sqlstring\}", part), panel.title
                assert " OR " not in part, panel.title


@pytest.mark.parametrize(("panel", "query"), queries(Prom))
def test_only_metrics_of_the_catalogue_are_shown(panel: Panel, query: Prom) -> None:
    known = {PREFIX + name + suffix for name in CATALOGUE for suffix in _SUFFIXES}
    assert set(_SAMPLES.findall(query.expr)) <= known


def test_every_metric_of_the_catalogue_is_on_a_dashboard_or_in_an_alert() -> None:
    shown = " ".join([*(param.values[1].expr for param in queries(Prom)), *(alert.expr for alert in ALERTS)])
    used = {name for name in CATALOGUE if re.search(rf"\b{PREFIX}{name}(?:_bucket|_sum|_count)?\b", shown)}
    assert CATALOGUE.keys() - used == set()


@pytest.fixture(scope="module")
async def prometheus(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Prometheus]:
    """A Prometheus that has read every metric of the catalogue, and those that dashboards take from ClickHouse."""
    of_clickhouse = {name for param in queries(Prom) for name in _OF_CLICKHOUSE.findall(param.values[1].expr)}
    more = "".join(f"# TYPE {name} gauge\n{name} 1\n" for name in sorted(of_clickhouse))
    with served(full_telemetry(), more) as url:
        async with a_prometheus(tmp_path_factory.mktemp("prometheus"), [urlsplit(url).netloc]) as running:
            yield running


@pytest.mark.process
@pytest.mark.parametrize(("panel", "query"), queries(Prom))
async def test_prometheus_answers_a_panel(prometheus: Prometheus, panel: Panel, query: Prom) -> None:
    result = await prometheus.query(query.expr.replace(_RATE_INTERVAL, "1m"))
    if "ALERTS" not in query.expr:  # no alert fires here
        assert result, f"{panel.title} shows nothing"
    for label in re.findall(r"\{\{(\w+)\}\}", query.legend):
        assert all(label in one["metric"] for one in result), f"{panel.title} has no label {label}"


def a_state(address: str, scope: str) -> SuppressionState:
    moment = rfc3339(NOW_US)
    return SuppressionState.model_validate(
        {
            "channel": "email",
            "address": address,
            "version": 1,
            "changed_at": moment,
            "scopes": [{"scope": scope, "suppressed": True, "reason": "manual", "since": moment, "evidence": ["c1"]}],
            "opt_outs": [],
        }
    )


@pytest.fixture(scope="module")
async def clickhouse(clickhouse_url: str) -> AsyncIterator[Client]:
    """A client of a database with simulated messages of two accounts, and with suppressed addresses."""
    planned = plan(400, 6, PlanOptions(NOW_US, ["acme", "globex"], spread_us=DAYS * DAY_US))
    with fresh_store(clickhouse_url) as store:
        await replay(store, in_turn(records_of(planned)), decision_days=36_500)
        store.insert(
            "suppression_changes", changes_table([a_state("ann@example.com", "acme"), a_state("bob@example.com", "*")])
        )
        where = urlsplit(clickhouse_url)
        client = clickhouse_connect.get_client(host=where.hostname, port=where.port, database=store.database)
        yield client
        client.close()


@pytest.mark.clickhouse
@pytest.mark.parametrize(("panel", "query"), queries(Sql))
def test_clickhouse_answers_a_panel(clickhouse: Client, panel: Panel, query: Sql) -> None:
    of_this_test = f"'{clickhouse.database}%'"
    result = clickhouse.query(expanded(query.sql).replace("'sendledger%'", of_this_test))
    if panel.kind == "timeseries":
        kinds = [kind.base_type for kind in result.column_types]
        assert result.column_names[0] == "time"
        assert kinds[0] == "DateTime"
        assert kinds.count("String") <= 1
    assert result.result_rows, f"{panel.title} shows nothing"


@pytest.mark.clickhouse
def test_the_account_dashboard_shows_nothing_of_other_accounts(clickhouse: Client) -> None:
    for panel in ACCOUNT.panels:
        (query,) = panel.queries
        assert isinstance(query, Sql)
        rows = clickhouse.query(expanded(query.sql, "nobody")).result_rows
        assert not any(any(row) for row in rows), panel.title


@pytest.mark.clickhouse
def test_the_variable_offers_the_accounts(clickhouse: Client) -> None:
    (variable,) = ACCOUNT.variables
    assert [row[0] for row in clickhouse.query(expanded(variable.sql)).result_rows] == ["acme", "globex"]


_SQL_BLOCK: Final = re.compile(r"^ *```sql\n(.*?)^ *```$", re.M | re.S)
_RUNBOOK: Final = Path(__file__).parents[2] / "docs" / "how-to" / "when-bounces-rise.md"


@pytest.mark.clickhouse
@pytest.mark.parametrize("sql", _SQL_BLOCK.findall(_RUNBOOK.read_text(encoding="utf-8")), ids=["bounces", "complaints"])
def test_clickhouse_answers_the_runbook(clickhouse: Client, sql: str) -> None:
    shorter = (
        sql.replace("sendledger.", "")
        .replace("INTERVAL 6 HOUR", "INTERVAL 3 DAY")
        .replace("INTERVAL 2 DAY", "INTERVAL 3 DAY")
    )
    assert clickhouse.query(shorter).result_rows
