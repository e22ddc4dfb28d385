"""One account: its messages, why some did not arrive, and its suppressed addresses.

Each query is bound to the variable `account`. That is a choice, not a protection: whoever may query the data source can
write other queries. Whoever must not see other accounts needs a data source whose ClickHouse user has a row policy.
"""

from typing import Final

from deploy.grafana.dashboards.business import DELIVERED, ENDED
from deploy.grafana.panels import Dashboard, Panel, Sql, Variable

__all__ = ["ACCOUNT"]

_IN_ACCOUNT: Final = "account_id = ${account:sqlstring}"
_OF_IT: Final = f"{_IN_ACCOUNT} AND $__timeFilter(date_sent)"
_SHARE: Final = f"countIf({DELIVERED}) / nullIf(countIf({ENDED}), 0)"


def _stat(title: str, value: str, unit: str = "short") -> Panel:
    return Panel(title, [Sql(f"SELECT {value} AS value FROM message_statuses WHERE {_OF_IT}")], "stat", unit, width=6)


_MESSAGES: Final = (
    _stat("Messages", "count()"),
    _stat("Delivered, of those whose delivery ended", _SHARE, "percentunit"),
    _stat(
        "Opened or clicked, of the delivered",
        f"countIf(status IN ('Opened', 'Clicked')) / nullIf(countIf({DELIVERED}), 0)",
        "percentunit",
    ),
    _stat("Complaints", "countIf(complained)"),
    Panel(
        "Messages by status",
        [
            Sql(
                "SELECT $__timeInterval(date_sent) AS time, status, count() AS messages\n"
                f"FROM message_statuses WHERE {_OF_IT} GROUP BY time, status ORDER BY time"
            )
        ],
        is_stacked=True,
    ),
    Panel(
        "Messages by channel",
        [
            Sql(
                "SELECT $__timeInterval(date_sent) AS time, channel, count() AS messages\n"
                f"FROM message_statuses WHERE {_OF_IT} GROUP BY time, channel ORDER BY time"
            )
        ],
        is_stacked=True,
    ),
    Panel(
        "Templates",
        [
            Sql(
                f"SELECT template_id, any(type) AS name, count() AS messages, {_SHARE} AS delivered,\n"
                "  countIf(complained) AS complaints\n"
                f"FROM message_statuses WHERE {_OF_IT} GROUP BY template_id ORDER BY messages DESC LIMIT 20"
            )
        ],
        "table",
        width=24,
    ),
)

_UNDELIVERED: Final = (
    Panel(
        "Why messages bounced",
        [
            Sql(
                "SELECT fault, sub_status, code, enhanced_code, count() AS messages, any(reason) AS example\n"
                f"FROM bounced_messages WHERE {_OF_IT}\n"
                "GROUP BY fault, sub_status, code, enhanced_code ORDER BY messages DESC LIMIT 20"
            )
        ],
        "table",
    ),
    Panel(
        "Refused before sending, by reason",
        [
            Sql(
                "SELECT status, code AS reason, count() AS messages\n"
                f"FROM messages WHERE {_OF_IT}\n"
                "  AND status IN ('Blocked', 'Declined', 'Not_opted_in', 'Suppressed', 'Quota_Exceeded')\n"
                "GROUP BY status, reason ORDER BY messages DESC"
            )
        ],
        "table",
    ),
    Panel(
        "Latest that did not arrive",
        [
            Sql(
                "SELECT date_sent, email_id, channel, type, to_address, status, sub_status, code, reason\n"
                f"FROM messages WHERE {_OF_IT} AND status IN ('Bounced', 'Dropped') ORDER BY date_sent DESC LIMIT 50"
            )
        ],
        "table",
        width=24,
    ),
)

_SUPPRESSED: Final = (
    Panel(
        "Suppressed by this account",
        [
            Sql(
                "SELECT channel, reason, count() AS addresses FROM suppressions WHERE scope = ${account:sqlstring}"
                " AND suppressed\n"
                "GROUP BY channel, reason ORDER BY addresses DESC"
            )
        ],
        "table",
    ),
    Panel(
        "Bounced addresses, the newest",
        [
            Sql(
                "SELECT address, channel, bounces, last_bounced_at, last_code, last_fault, suppressed\n"
                f"FROM bounced_emails WHERE {_IN_ACCOUNT} ORDER BY last_bounced_at DESC LIMIT 50"
            )
        ],
        "table",
    ),
)

ACCOUNT: Final = Dashboard(
    uid="sendledger-account",
    title="sendledger: one account",
    description="The messages of one account, why some did not arrive, and its suppressed addresses.",
    begins="now-30d",
    refresh="5m",
    variables=[
        Variable(
            "account",
            "Account",
            "SELECT account_id FROM message_statuses WHERE $__timeFilter(date_sent) AND account_id != '*'\n"
            "GROUP BY account_id ORDER BY account_id LIMIT 10000",
        )
    ],
    rows={"Messages": _MESSAGES, "What did not arrive": _UNDELIVERED, "Suppressions": _SUPPRESSED},
)
