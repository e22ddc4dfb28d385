"""On call: whether it is up, whether it keeps up, and what fails."""

from typing import Final

from deploy.grafana.panels import Dashboard, Panel, Prom, Sql
from deploy.prometheus.promql import mean, quantile, rate, series, total
from schemas.telemetry import (
    ARRIVAL_DELAY_SECONDS,
    BROKER_DISK_BYTES,
    BROKER_DISK_FREE_BYTES,
    DEAD_LETTERS_TOTAL,
    DECODE_SECONDS,
    DELAY_SECONDS,
    DUPLICATES_TOTAL,
    ERRORS_TOTAL,
    EVENT_RECEIVED_TIMESTAMP_SECONDS,
    EVENTS_TOTAL,
    GROUP_RECORDS,
    GROUPS_TOTAL,
    INSERT_SECONDS,
    LAG_RECORDS,
    MATCHED_TOTAL,
    MEMORY_LIMIT_BYTES,
    ORPHANS_TOTAL,
    OUT_OF_ORDER_TOTAL,
    PRODUCERS_RENEWED_TOTAL,
    RECORDS_TOTAL,
    REQUEST_SECONDS,
    REQUESTS_TOTAL,
    RESIDENT_BYTES,
    RETRIES_TOTAL,
    SIGNATURE_FAILURE_TIMESTAMP_SECONDS,
    SIGNATURE_FAILURES_TOTAL,
    SPANS_TOTAL,
    UNKNOWN_TOTAL,
    UNREAD_PARTITIONS,
    UP,
    WEBHOOK_SECONDS,
    WEBHOOKS_TOTAL,
)

__all__ = ["ON_CALL"]

_RATE: Final = "$__rate_interval"
_PROVIDER: Final = ("provider",)

_UP: Final = (
    Panel("Ready processes", [Prom(total(UP, ("program",)), "{{program}}")], "stat", width=6),
    Panel(
        "Firing alerts",
        [Prom('sum by (alertname, severity) (ALERTS{alertstate="firing"})')],
        "table",
        description="Each links to its runbook: docs/reference/alerts.md.",
    ),
    Panel("Unread partitions", [Prom(total(UNREAD_PARTITIONS, ("group",)), "{{group}}")], "stat", width=6),
)

_KEEPS_UP: Final = (
    Panel(
        "Lag",
        [Prom(total(LAG_RECORDS, ("group", "topic")), "{{group}} {{topic}}")],
        description="Records that wait to be read.",
    ),
    Panel(
        "Delay until a row is queryable",
        [Prom(quantile(q, DELAY_SECONDS, _RATE, ("topic",)), f"{{{{topic}}}} p{q * 100:.0f}") for q in (0.5, 0.9)],
        unit="s",
        description="Of the oldest record of each write; 60 s means 60 s or more.",
    ),
    Panel("Records read", [Prom(rate(RECORDS_TOTAL, _RATE, ("topic",)), "{{topic}}")], unit="cps", is_stacked=True),
    Panel(
        "Writing a group",
        [
            Prom(quantile(0.9, INSERT_SECONDS, _RATE), "insert p90"),
            Prom(quantile(0.9, DECODE_SECONDS, _RATE), "decode p90"),
        ],
        unit="s",
        width=6,
    ),
    Panel(
        "Groups",
        [Prom(mean(GROUP_RECORDS, _RATE), "records in a group"), Prom(rate(GROUPS_TOTAL, _RATE), "groups per second")],
        width=6,
    ),
)

_FAILS: Final = (
    Panel(
        "Retries of workers",
        [Prom(rate(RETRIES_TOTAL, _RATE, ("of",)), "{{of}}")],
        unit="cps",
        description="StoreError: ClickHouse; BrokerError: Kafka. Others don't end by themselves.",
    ),
    Panel(
        "Dead letters", [Prom(rate(DEAD_LETTERS_TOTAL, _RATE, ("topic", "reason")), "{{topic}} {{reason}}")], unit="cps"
    ),
    Panel("Errors of the gateway", [Prom(rate(ERRORS_TOTAL, _RATE, ("of",)), "{{of}}")], unit="cps", width=8),
    Panel(
        "Responses of the gateway",
        [Prom(rate(REQUESTS_TOTAL, _RATE, ("status",)), "{{status}}")],
        unit="reqps",
        width=8,
        is_stacked=True,
    ),
    Panel(
        "Slowest routes (p95)",
        [Prom("topk(5, " + quantile(0.95, REQUEST_SECONDS, _RATE, ("route",)) + ")", "{{route}}")],
        unit="s",
        width=8,
    ),
    Panel("Producers renewed", [Prom(rate(PRODUCERS_RENEWED_TOTAL, _RATE, ("why",)), "{{why}}")], unit="cps", width=8),
    Panel(
        "Memory, of what a process may use",
        [Prom(f"{series(RESIDENT_BYTES)} / {series(MEMORY_LIMIT_BYTES)}", "{{job}} {{instance}}")],
        unit="percentunit",
        width=8,
    ),
    Panel(
        "Free disk of Kafka's brokers",
        [Prom(f"min by (broker) ({series(BROKER_DISK_FREE_BYTES)} / {series(BROKER_DISK_BYTES)})", "{{broker}}")],
        unit="percentunit",
        width=8,
    ),
)

_WEBHOOKS: Final = (
    Panel(
        "Webhooks",
        [Prom(rate(WEBHOOKS_TOTAL, _RATE, ("provider", "status")), "{{provider}} {{status}}")],
        unit="reqps",
        width=8,
    ),
    Panel(
        "Refused signatures",
        [Prom(rate(SIGNATURE_FAILURES_TOTAL, _RATE, _PROVIDER), "{{provider}}")],
        unit="reqps",
        width=6,
    ),
    Panel(
        "Since the last refusal",
        [Prom(f"time() - max by (provider) ({series(SIGNATURE_FAILURE_TIMESTAMP_SECONDS)})", "{{provider}}")],
        "stat",
        unit="s",
        width=4,
    ),
    Panel(
        "Time to answer (p95)",
        [Prom(quantile(0.95, WEBHOOK_SECONDS, _RATE, _PROVIDER), "{{provider}}")],
        unit="s",
        width=6,
    ),
    Panel("Spans of traced webhooks", [Prom(rate(SPANS_TOTAL, _RATE, ("outcome",)), "{{outcome}}")], unit="cps"),
)

_ARRIVING: Final = (
    Panel(
        "Events",
        [Prom(rate(EVENTS_TOTAL, _RATE, ("provider", "type")), "{{provider}} {{type}}")],
        unit="cps",
        is_stacked=True,
    ),
    Panel(
        "Since the last event",
        [
            Prom(
                f"time() - max by (provider, type) ({series(EVENT_RECEIVED_TIMESTAMP_SECONDS)})",
                "{{provider}} {{type}}",
            )
        ],
        unit="s",
    ),
    Panel(
        "From the event until it was received (p90)",
        [Prom(quantile(0.9, ARRIVAL_DELAY_SECONDS, _RATE, ("provider", "type")), "{{provider}} {{type}}")],
        unit="s",
    ),
    Panel(
        "Odd events",
        [
            Prom(rate(DUPLICATES_TOTAL, _RATE, _PROVIDER), "{{provider}} duplicates"),
            Prom(rate(OUT_OF_ORDER_TOTAL, _RATE, _PROVIDER), "{{provider}} out of order"),
            Prom(rate(ORPHANS_TOTAL, _RATE, _PROVIDER), "{{provider}} orphans"),
            Prom(rate(UNKNOWN_TOTAL, _RATE, _PROVIDER), "{{provider}} unknown"),
            Prom(rate(MATCHED_TOTAL, _RATE), "orphans matched later"),
        ],
        unit="cps",
    ),
)

_CLICKHOUSE: Final = (
    Panel(
        "Parts of the fullest partition",
        [Prom("ClickHouseAsyncMetrics_MaxPartCountForPartition", "{{instance}}")],
        width=6,
        description="From clickhouse-server's own exporter, like disk and memory.",
    ),
    Panel(
        "Free disk",
        [
            Prom(
                "ClickHouseAsyncMetrics_DiskAvailable_default / ClickHouseAsyncMetrics_DiskTotal_default",
                "{{instance}}",
            )
        ],
        unit="percentunit",
        width=6,
    ),
    Panel("Memory", [Prom("ClickHouseMetrics_MemoryTracking", "{{instance}}")], unit="bytes", width=12),
    Panel(
        "Tables",
        [
            Sql(
                "SELECT database, table, sum(rows) AS rows, formatReadableSize(sum(bytes_on_disk)) AS size,\n"
                "  count() AS parts\n"
                "FROM system.parts WHERE active AND database LIKE 'sendledger%'\n"
                "GROUP BY database, table ORDER BY sum(bytes_on_disk) DESC LIMIT 30"
            )
        ],
        "table",
    ),
    Panel(
        "Messages that wait for their provider, by age",
        [
            Sql(
                "SELECT provider, status, countIf(date_sent >= now() - INTERVAL 10 MINUTE) AS under_10_minutes,\n"
                "  countIf(date_sent < now() - INTERVAL 10 MINUTE AND date_sent >= now() - INTERVAL 1 HOUR)\n"
                "    AS under_1_hour,\n"
                "  countIf(date_sent < now() - INTERVAL 1 HOUR) AS older\n"
                "FROM message_statuses\n"
                "WHERE $__timeFilter(date_sent) AND status IN ('Pending', 'Processed') AND account_id != '*'\n"
                "GROUP BY provider, status ORDER BY provider, status"
            )
        ],
        "table",
    ),
)

ON_CALL: Final = Dashboard(
    uid="sendledger-on-call",
    title="sendledger: on call",
    description="Whether it is up, whether it keeps up, and what fails. Runbooks: docs/how-to/on-call.md.",
    begins="now-3h",
    refresh="30s",
    rows={
        "Is it up?": _UP,
        "Does it keep up?": _KEEPS_UP,
        "What fails?": _FAILS,
        "Webhooks": _WEBHOOKS,
        "Do the providers report?": _ARRIVING,
        "ClickHouse": _CLICKHOUSE,
    },
)
