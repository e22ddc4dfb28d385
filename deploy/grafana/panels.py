"""Panels with their queries, and the JSON that Grafana reads.

In:  a `Dashboard` of rows of panels. Out: its JSON; the same dashboard gives the same text.

A ClickHouse query has the form of the plugin `grafana-clickhouse-datasource`, version 4: `rawSql` with its macros
`$__timeFilter(column)` and `$__timeInterval(column)`.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

__all__ = ["CLICKHOUSE", "PROMETHEUS", "Dashboard", "Panel", "Prom", "Sql", "Variable", "dashboard_text"]

PROMETHEUS: Final = {"type": "prometheus", "uid": "sendledger-prometheus"}
CLICKHOUSE: Final = {"type": "grafana-clickhouse-datasource", "uid": "sendledger-clickhouse"}
"""The data sources, as `provisioning/datasources/sendledger.yml` names them."""

_PLUGIN_VERSION: Final = "4.0.0"
_WIDTH: Final = 24
_HEIGHT: Final = 8

Kind = Literal["timeseries", "stat", "table", "bargauge"]


@dataclass(frozen=True, slots=True)
class Prom:
    """A query of Prometheus. `legend` names each line, like `{{topic}}`."""

    expr: str
    legend: str = ""


@dataclass(frozen=True, slots=True)
class Sql:
    """A query of ClickHouse. A time series has the columns `time`, at most one text, and numbers."""

    sql: str


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel. `unit` is Grafana's name of a unit; `width` is of 24."""

    title: str
    queries: Sequence[Prom | Sql]
    kind: Kind = "timeseries"
    unit: str = "short"
    description: str = ""
    width: int = 12
    is_stacked: bool = False


@dataclass(frozen=True, slots=True)
class Variable:
    """A choice at the top of a dashboard: the values that a query of ClickHouse returns."""

    name: str
    label: str
    sql: str


@dataclass(frozen=True, slots=True)
class Dashboard:
    """A dashboard; `rows` are panels by the title of their row."""

    uid: str
    title: str
    description: str
    rows: Mapping[str, Sequence[Panel]]
    begins: str
    """How far back it looks at first, like `now-6h`."""
    refresh: str = "1m"
    variables: Sequence[Variable] = ()

    @property
    def panels(self) -> Iterator[Panel]:
        """All panels, in order."""
        for panels in self.rows.values():
            yield from panels


def dashboard_text(dashboard: Dashboard) -> str:
    """Return the JSON of a dashboard."""
    content = {
        "uid": dashboard.uid,
        "title": dashboard.title,
        "description": dashboard.description,
        "tags": ["sendledger"],
        "timezone": "utc",
        "editable": False,
        "graphTooltip": 1,
        "schemaVersion": 39,
        "refresh": dashboard.refresh,
        "time": {"from": dashboard.begins, "to": "now"},
        "templating": {"list": [_variable(variable) for variable in dashboard.variables]},
        "links": [
            {"type": "dashboards", "title": "sendledger", "tags": ["sendledger"], "asDropdown": False, "keepTime": True}
        ],
        "annotations": {"list": []},
        "panels": list(_placed(dashboard)),
    }
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _variable(variable: Variable) -> dict[str, Any]:
    return {
        "type": "query",
        "name": variable.name,
        "label": variable.label,
        "datasource": CLICKHOUSE,
        "query": variable.sql,
        "definition": variable.sql,
        "refresh": 2,  # whenever the period changes
        "multi": False,
        "includeAll": False,
        "sort": 1,
    }


def _placed(dashboard: Dashboard) -> Iterator[dict[str, Any]]:
    """Place panels from left to right, in rows of 24 columns."""
    y, number = 0, 0
    for title, panels in dashboard.rows.items():
        number += 1
        yield {"id": number, "type": "row", "title": title, "collapsed": False, "panels": []} | _at(0, y, _WIDTH, 1)
        y, x = y + 1, 0
        for panel in panels:
            if x + panel.width > _WIDTH:
                x, y = 0, y + _HEIGHT
            number += 1
            yield {"id": number} | _panel(panel) | _at(x, y, panel.width, _HEIGHT)
            x += panel.width
        y += _HEIGHT


def _at(x: int, y: int, width: int, height: int) -> dict[str, Any]:
    return {"gridPos": {"x": x, "y": y, "w": width, "h": height}}


def _panel(panel: Panel) -> dict[str, Any]:
    source = CLICKHOUSE if isinstance(panel.queries[0], Sql) else PROMETHEUS
    defaults: dict[str, Any] = {"unit": panel.unit, "min": 0} if panel.kind != "table" else {}
    if panel.kind == "timeseries":
        stacking = {"mode": "normal", "group": "A"} if panel.is_stacked else {"mode": "none"}
        defaults["custom"] = {"fillOpacity": 30 if panel.is_stacked else 5, "stacking": stacking, "showPoints": "never"}
    return {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": source,
        "fieldConfig": {"defaults": defaults, "overrides": _links() if panel.kind == "table" else []},
        "options": _options(panel.kind),
        "targets": [_target(query, chr(ord("A") + n), panel) for n, query in enumerate(panel.queries)],
    }


def _links() -> list[dict[str, Any]]:
    """An account's id in a table leads to its dashboard."""
    link = {"title": "Account", "url": "/d/sendledger-account?var-account=${__value.raw:percentencode}"}
    return [
        {
            "matcher": {"id": "byName", "options": "account_id"},
            "properties": [{"id": "links", "value": [link]}],
        }
    ]


def _options(kind: Kind) -> dict[str, Any]:
    last: dict[str, Any] = {"calcs": ["lastNotNull"], "fields": "", "values": False}
    options: dict[Kind, dict[str, Any]] = {
        "timeseries": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
        "stat": {"reduceOptions": last, "colorMode": "value", "graphMode": "none"},
        "bargauge": {"reduceOptions": last, "orientation": "horizontal", "displayMode": "basic"},
        "table": {"showHeader": True, "cellHeight": "sm"},
    }
    return options[kind]


def _target(query: Prom | Sql, ref_id: str, panel: Panel) -> dict[str, Any]:
    if isinstance(query, Prom):
        table = {"format": "table", "instant": True} if panel.kind == "table" else {}
        return {
            "refId": ref_id,
            "datasource": PROMETHEUS,
            "expr": query.expr,
            "legendFormat": query.legend,
            "range": panel.kind == "timeseries",
            "instant": panel.kind != "timeseries",
        } | table
    is_series = panel.kind == "timeseries"
    return {
        "refId": ref_id,
        "datasource": CLICKHOUSE,
        "editorType": "sql",
        "pluginVersion": _PLUGIN_VERSION,
        "queryType": "timeseries" if is_series else "table",
        "format": 0 if is_series else 1,
        "rawSql": query.sql,
    }
