"""The business: what was sent, what became of it, and who is suppressed. Of all accounts."""

from typing import Final

from deploy.grafana.panels import Dashboard, Panel, Prom, Sql
from deploy.prometheus.promql import rate
from schemas.telemetry import DECISIONS_TOTAL, DELIVERY_FAILURES_TOTAL, SUPPRESSION_CHANGES_TOTAL

__all__ = ["BUSINESS", "DELIVERED", "ENDED", "OF_ACCOUNTS"]

_RATE: Final = "$__rate_interval"
OF_ACCOUNTS: Final = "$__timeFilter(date_sent) AND account_id != '*'"
"""Without the rows of account `*`: they are changes of suppression lists, not messages."""
DELIVERED: Final = "status IN ('Delivered', 'Opened', 'Clicked')"
ENDED: Final = "status IN ('Delivered', 'Opened', 'Clicked', 'Bounced', 'Dropped')"
_SHARE: Final = f"countIf({DELIVERED}) / nullIf(countIf({ENDED}), 0)"

_SENT: Final = (
    Panel("Messages", [Sql(f"SELECT count() AS messages FROM message_statuses WHERE {OF_ACCOUNTS}")], "stat", width=6),
    Panel(
        "Delivered, of those whose delivery ended",
        [Sql(f"SELECT {_SHARE} AS delivered FROM message_statuses WHERE {OF_ACCOUNTS}")],
        "stat",
        unit="percentunit",
        width=6,
    ),
    Panel(
        "Complaints, of the delivered",
        [
            Sql(
                f"SELECT countIf(complained) / nullIf(countIf({DELIVERED}), 0) AS complaints\n"
                f"FROM message_statuses WHERE {OF_ACCOUNTS}"
            )
        ],
        "stat",
        unit="percentunit",
        width=6,
    ),
    Panel(
        "Accounts that sent",
        [Sql(f"SELECT uniqExact(account_id) AS accounts FROM message_statuses WHERE {OF_ACCOUNTS}")],
        "stat",
        width=6,
    ),
    Panel(
        "Messages by status",
        [
            Sql(
                "SELECT $__timeInterval(date_sent) AS time, status, count() AS messages\n"
                f"FROM message_statuses WHERE {OF_ACCOUNTS} GROUP BY time, status ORDER BY time"
            )
        ],
        is_stacked=True,
    ),
    Panel(
        "Messages by channel",
        [
            Sql(
                "SELECT $__timeInterval(date_sent) AS time, channel, count() AS messages\n"
                f"FROM message_statuses WHERE {OF_ACCOUNTS} GROUP BY time, channel ORDER BY time"
            )
        ],
        is_stacked=True,
    ),
)

_DELIVERY: Final = (
    Panel(
        "Delivered, by provider",
        [
            Sql(
                f"SELECT $__timeInterval(date_sent) AS time, provider, {_SHARE} AS delivered\n"
                f"FROM message_statuses WHERE {OF_ACCOUNTS} AND provider != '' GROUP BY time, provider ORDER BY time"
            )
        ],
        unit="percentunit",
    ),
    Panel(
        "Failures, by who caused them",
        [Prom(rate(DELIVERY_FAILURES_TOTAL, _RATE, ("provider", "fault")), "{{provider}} {{fault}}")],
        unit="cps",
        is_stacked=True,
    ),
    Panel(
        "Failures, by error code",
        [Prom("topk(10, " + rate(DELIVERY_FAILURES_TOTAL, _RATE, ("provider", "code")) + ")", "{{provider}} {{code}}")],
        unit="cps",
    ),
    Panel(
        "Why messages bounced",
        [
            Sql(
                "SELECT fault, sub_status, code, enhanced_code, count() AS messages, any(reason) AS example\n"
                f"FROM bounced_messages WHERE {OF_ACCOUNTS}\n"
                "GROUP BY fault, sub_status, code, enhanced_code ORDER BY messages DESC LIMIT 20"
            )
        ],
        "table",
    ),
    Panel(
        "Receivers",
        [
            Sql(
                f"SELECT to_domain, count() AS messages, {_SHARE} AS delivered, countIf(status = 'Bounced') AS"
                f" bounced,\n"
                "  countIf(complained) AS complaints\n"
                f"FROM message_statuses WHERE {OF_ACCOUNTS} AND to_domain != ''\n"
                "GROUP BY to_domain ORDER BY messages DESC LIMIT 20"
            )
        ],
        "table",
    ),
    Panel(
        "Accounts",
        [
            Sql(
                f"SELECT account_id, count() AS messages, {_SHARE} AS delivered, countIf(status = 'Bounced') AS"
                f" bounced,\n"
                "  countIf(complained) AS complaints\n"
                f"FROM message_statuses WHERE {OF_ACCOUNTS} GROUP BY account_id ORDER BY messages DESC LIMIT 50"
            )
        ],
        "table",
    ),
    Panel(
        "Templates",
        [
            Sql(
                f"SELECT template_id, any(type) AS name, count() AS messages, {_SHARE} AS delivered,\n"
                "  countIf(complained) AS complaints\n"
                f"FROM message_statuses WHERE {OF_ACCOUNTS} GROUP BY template_id ORDER BY messages DESC LIMIT 20"
            )
        ],
        "table",
    ),
)

_SUPPRESSED: Final = (
    Panel(
        "Decisions of the gate",
        [Prom(rate(DECISIONS_TOTAL, _RATE, ("outcome",)), "{{outcome}}")],
        unit="cps",
        is_stacked=True,
    ),
    Panel(
        "Addresses that became suppressed or released",
        [Prom(rate(SUPPRESSION_CHANGES_TOTAL, _RATE, ("channel", "now")), "{{channel}} {{now}}")],
        unit="cps",
        description="`closed`: suppressed in some scope; `open`: in none.",
    ),
    Panel(
        "Suppressed now, by reason",
        [
            Sql(
                "SELECT channel, reason, scope = '*' AS everywhere, count() AS addresses\n"
                "FROM suppressions WHERE suppressed GROUP BY channel, reason, everywhere ORDER BY addresses DESC"
            )
        ],
        "table",
    ),
    Panel(
        "New suppressions, by reason",
        [
            Sql(
                "SELECT $__timeInterval(changed_at) AS time, reason, count() AS addresses\n"
                "FROM suppression_history WHERE $__timeFilter(changed_at) AND suppressed\n"
                "GROUP BY time, reason ORDER BY time"
            )
        ],
        is_stacked=True,
    ),
)

BUSINESS: Final = Dashboard(
    uid="sendledger-business",
    title="sendledger: business",
    description="What was sent, what became of it, and who is suppressed. Of all accounts.",
    begins="now-7d",
    refresh="5m",
    rows={"What is sent": _SENT, "What becomes of it": _DELIVERY, "Who gets nothing": _SUPPRESSED},
)
