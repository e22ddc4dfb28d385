"""The query of delivery statistics: messages counted by outcome. Values from outside are bound parameters.

It counts rows of `messages`, so a status here is the same as in `messages`.
"""

from collections.abc import Sequence
from typing import Final, Literal

from projections.messages.filters import REFUSED, Filter
from projections.messages.queries import Query, matching

__all__ = ["COUNTS", "RATES", "GroupBy", "delivery"]

GroupBy = Literal["hour", "day", "template", "provider", "domain", "channel"]

_GROUPS: Final[dict[GroupBy, str]] = {
    "hour": "toStartOfHour(date_sent)",
    "day": "toDate(date_sent)",
    "template": "template_id",
    "provider": "provider",
    "domain": "to_domain",
    "channel": "channel",
}
"""The SQL of each group. Hours and days are of Date Sent, in UTC."""

_GROUPED: Final[dict[GroupBy, tuple[str, ...]]] = {
    "hour": ("date_sent",),
    "day": ("date_sent",),
    "template": ("template_id", "type", "date_sent"),
    "provider": ("provider",),
    "domain": ("to_domain",),
    "channel": ("channel",),
}
"""The columns that each group reads."""
_COUNTED: Final = ("account_id", "status", "was_delivered", "was_touched", "was_opened", "was_clicked", "complained")
"""The columns that the counts read. Some of them exist only in queries, not in the view."""

_REFUSED: Final = f"(status IN [{', '.join(repr(status) for status in REFUSED)}])"
_DELIVERED: Final = (
    "((status IN ['Delivered', 'Opened', 'Clicked']) OR ((status = 'Subscriptionchange')"
    " AND (was_delivered OR was_touched)))"
)
COUNTS: Final = {
    "messages": "count()",
    "refused": f"countIf{_REFUSED}",
    "pending": "countIf(status = 'Pending')",
    "sent": f"countIf(NOT {_REFUSED} AND (status != 'Pending'))",
    "processed": "countIf(status = 'Processed')",
    "delivered": f"countIf{_DELIVERED}",
    "bounced": "countIf(status = 'Bounced')",
    "dropped": "countIf(status = 'Dropped')",
    "opened": f"countIf({_DELIVERED} AND was_opened)",
    "clicked": f"countIf({_DELIVERED} AND was_clicked)",
    "complained": f"countIf(complained AND NOT {_REFUSED} AND (status != 'Pending'))",
}
"""The counts. `refused`: the gate did not approve the message. `sent`: a provider has reported an event of it."""

RATES: Final = {
    "refusal_rate": ("refused", "messages"),
    "delivery_rate": ("delivered", "sent"),
    "bounce_rate": ("bounced", "sent"),
    "drop_rate": ("dropped", "sent"),
    "open_rate": ("opened", "delivered"),
    "click_rate": ("clicked", "delivered"),
    "complaint_rate": ("complained", "sent"),  # some providers report a complaint and no delivery
}
"""Each rate: numerator and denominator, by the names of COUNTS."""


def delivery(wanted: Filter, group_by: Sequence[GroupBy], *, limit: int, any_withdrawn: bool = True) -> Query:
    """Return the query of the counts of each group, sorted by `group_by`: up to `limit` + 1 rows.

    The columns are the names of `group_by`, the names of COUNTS with a `_` appended (some of them are columns of
    `messages`), and `template_name` if grouped by template. `any_withdrawn`: see `queries.facets`.
    """
    names = [f"{_GROUPS[name]} AS {name}" for name in group_by]
    if "template" in group_by:  # a template may be renamed: take the name of its newest message
        names.append("argMax(type, date_sent) AS template_name")
    counts = [f"{count} AS {name}_" for name, count in COUNTS.items()]
    columns = dict.fromkeys([*_COUNTED, *(column for name in group_by for column in _GROUPED[name])])
    rows, parameters = matching(wanted, columns, any_withdrawn=any_withdrawn)
    return Query(
        # Rows of the account `*` are changes of suppression lists, not messages of an account.
        f"SELECT {', '.join([*names, *counts])} FROM ({rows}) WHERE account_id != '*'"  # noqa: S608
        f" GROUP BY {', '.join(group_by)} ORDER BY {', '.join(group_by)} LIMIT {{limit:UInt32}}",
        parameters | {"limit": limit + 1},
    )
