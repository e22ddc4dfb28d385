"""Routes of delivery statistics: counts of messages, and rates.

In:  a period of Date Sent, and what to group by. Out: `{items, next, total, from, to}`: one row per group.
Promise: each rate comes with its two counts; if the denominator is 0, the rate is null.
"""

import time
from collections.abc import Mapping
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Query

from application.principals import Principal
from gateway.access import READERS, accounts_to_query, require_role
from gateway.api.lists import Account, OfChannel, Row, json_row, period
from gateway.api.models.stats import DeliveryStats
from gateway.openapi import READ_CODES, ResponseSpec, operation
from gateway.problems import Problem
from gateway.read_pool import ReadPool
from projections.messages.counts import read_delivery
from projections.messages.filters import Filter
from projections.messages.stats import COUNTS, RATES, GroupBy
from projections.store import Store
from schemas.decoding.times import DAY_US, rfc3339
from schemas.settings import GatewaySettings

__all__ = ["MAX_GROUPS", "counts_of", "rates_of", "router", "stats_period"]

MAX_GROUPS: Final = 10_000
_DEFAULT_US: Final = 7 * DAY_US

By = Annotated[
    list[GroupBy] | None,
    Query(description="What to group by; may be repeated: every combination is a group. The default is day"),
]
From = Annotated[
    str | None,
    Query(alias="from", description="Sent at or after: RFC 3339, or a date (UTC); the default is 7 days before `to`"),
]
To = Annotated[str | None, Query(description="Sent before: RFC 3339, or a date (UTC); the default is now")]


def router(settings: GatewaySettings, store: Store, reads: ReadPool) -> APIRouter:
    """Return the routes under `/v1/stats`."""
    routes = APIRouter(prefix="/v1/stats", tags=["stats"])
    as_reader = Annotated[Principal, Depends(require_role(READERS, settings.token_secret.get_secret_value()))]

    @routes.get(
        "/delivery",
        **operation(
            "countDeliveries",
            {200: ResponseSpec("The counts", DeliveryStats)},
            roles=READERS,
            codes=(*READ_CODES, "account-required"),
        ),
    )
    async def stats(
        principal: as_reader,
        account: Account = None,
        group_by: By = None,
        from_: From = None,
        to: To = None,
        channel: OfChannel = None,
    ) -> dict[str, Any]:
        """Messages by what became of them, and the rates of that, by the time in their Email ID (Date Sent)."""
        from_us, to_us = stats_period(from_, to)
        wanted = Filter(accounts_to_query(principal, account), from_us=from_us, to_us=to_us, channel=channel)
        groups = list(dict.fromkeys(group_by or ["day"]))
        rows = await reads.run(principal, read_delivery, store, wanted, groups, MAX_GROUPS)
        if len(rows) > MAX_GROUPS:
            raise Problem("invalid-parameter", f"`group_by` makes over {MAX_GROUPS:,} groups; ask for a shorter period")
        items = [counts_of(row) for row in rows]
        total = {name: sum(item[name] for item in items) for name in COUNTS}
        ends = {"from": rfc3339(from_us), "to": rfc3339(to_us)}
        return {"items": items, "next": None, "total": total | rates_of(total), **ends}

    return routes


def stats_period(from_: str | None, to: str | None) -> tuple[int, int]:
    """Return the microseconds of a period, by default the last 7 days. Raises Problem."""
    from_us, to_us = period(from_, to)
    if to_us is None:
        to_us = max(time.time_ns() // 1000, from_us or 0)
    return (max(0, to_us - _DEFAULT_US) if from_us is None else from_us), to_us


def counts_of(row: Mapping[str, Any]) -> Row:
    """Return a group with its counts and the rates of them."""
    counts = {name: row[f"{name}_"] for name in COUNTS}
    groups = {name: value for name, value in row.items() if not name.endswith("_")}
    if "day" in groups:
        groups["day"] = groups["day"].isoformat()
    return json_row(groups) | counts | rates_of(counts)


def rates_of(counts: Mapping[str, int]) -> dict[str, Any]:
    """Return each rate beside the two counts that it is made of."""
    return {name: _rate(counts, part, whole) for name, (part, whole) in RATES.items()}


def _rate(counts: Mapping[str, int], part: str, whole: str) -> dict[str, Any]:
    rate = round(counts[part] / counts[whole], 6) if counts[whole] else None
    return {"rate": rate, "count": counts[part], "of": counts[whole]}
