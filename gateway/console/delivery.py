"""The page Delivery: rates of delivery over time and by groups, why messages were not delivered, and delivery times.

In:  the query string of `GET /v1/stats/delivery`; a session. Out: a page. Each rate is shown with its denominator, and
each chart with a table of its numbers.
"""

import asyncio
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Query, Request, Response

from application.principals import Principal
from gateway.access import accounts_to_query
from gateway.api.lists import Account, OfChannel, Row
from gateway.api.stats import MAX_GROUPS, From, To, counts_of, rates_of, stats_period
from gateway.console.charts import bars, grouped, rebinned, timespan
from gateway.console.links import Links
from gateway.console.pages import Pages
from gateway.console.query_string import DEFAULT_DAYS, PERIODS, canonical_query, other_periods, period_name
from gateway.console.routing import ConsoleRoute, signed_in
from gateway.console.words import FAMILIES, FAMILY_NAMES
from gateway.problems import Problem
from gateway.read_pool import ReadPool
from projections.messages.counts import read_delivery
from projections.messages.delivery_report import read_report
from projections.messages.filters import Filter
from projections.messages.histogram import read_histogram
from projections.messages.stats import COUNTS, GroupBy
from projections.store import Store
from schemas.decoding.times import SECOND_US
from schemas.settings import GatewaySettings

__all__ = ["router"]

By = Annotated[GroupBy, Query(description="The groups of the table")]

_MAX_ROWS: Final = 50
_GROUPS: Final = {"day": "Day", "provider": "Provider", "domain": "Domain", "template": "Type", "channel": "Channel"}


def router(settings: GatewaySettings, store: Store, reads: ReadPool, pages: Pages) -> APIRouter:
    """Return `/delivery`."""
    routes = APIRouter(route_class=ConsoleRoute, include_in_schema=False)
    reader = canonical_query(signed_in(settings.token_secret.get_secret_value()), pages)
    as_reader = Annotated[Principal, Depends(reader)]

    @routes.get("/delivery")
    async def delivery(
        request: Request,
        principal: as_reader,
        account: Account = None,
        group_by: By = "day",
        from_: From = None,
        to: To = None,
        channel: OfChannel = None,
    ) -> Response:
        from_us, to_us = stats_period(from_, to)
        wanted = Filter(accounts_to_query(principal, account), from_us=from_us, to_us=to_us, channel=channel)
        span = timespan(from_us // SECOND_US, -(-to_us // SECOND_US))
        rows, counts, (reasons, times) = await asyncio.gather(
            reads.run(principal, read_delivery, store, wanted, [group_by], MAX_GROUPS),
            reads.run(principal, read_histogram, store, wanted, span.step),
            reads.run(principal, read_report, store, wanted),
        )
        if len(rows) > MAX_GROUPS:
            raise Problem("invalid-parameter", "There are too many groups; ask for a shorter time")
        items = [counts_of(row) for row in rows]
        total = {name: sum(item[name] for item in items) for name in COUNTS}
        links = Links(f"{pages.base}/delivery", request.query_params.multi_items())
        period = period_name(links, PERIODS[str(DEFAULT_DAYS)])
        return pages.page(
            request,
            "delivery.html",
            links=links,
            log_links=_log_links(request, pages),
            period=period,
            periods=other_periods(period, PERIODS),
            group_by=group_by,
            groups=_GROUPS,
            items=_sorted(items, group_by)[:_MAX_ROWS],
            more=max(0, len(items) - _MAX_ROWS),
            total=total | rates_of(total),
            chart=bars(span, rebinned(grouped(counts, FAMILIES), span.step), tuple(FAMILY_NAMES)),
            reasons=reasons,
            times=times,
        )

    return routes


def _sorted(items: list[Row], group_by: str) -> list[Row]:
    """Days and hours with the latest first; other groups by their number of messages, the most first."""
    if group_by in ("day", "hour"):
        return items[::-1]
    return sorted(items, key=lambda item: -item["messages"])


def _log_links(request: Request, pages: Pages) -> Links:
    """Links to the log, with the same account and channel."""
    kept = [pair for pair in request.query_params.multi_items() if pair[0] in ("account", "channel")]
    return Links(f"{pages.base}/logs", kept)
