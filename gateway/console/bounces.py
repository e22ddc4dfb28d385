"""The page Bounced Emails: the addresses that bounced, why, and what to do about each.

In:  the query string of `GET /v1/bounces`, and a session. Out: the page, or the list as a file.
"""

from typing import Annotated, Final

from fastapi import APIRouter, Depends, Request, Response

from application.principals import Principal
from gateway.api.bounces import (
    ByLastBounce,
    bounce_filter,
    bounce_key,
    bounce_paginator,
    bounce_rows,
    bounces_as_json,
    export_bounces,
)
from gateway.api.export import Format
from gateway.api.lists import CursorText, Limit
from gateway.console.links import Links
from gateway.console.pages import Pages
from gateway.console.query_string import (
    ALL_TIME,
    LAST_WEEK,
    PERIODS,
    canonical_query,
    other_periods,
    period_name,
    pills,
)
from gateway.console.routing import ConsoleRoute, signed_in
from gateway.console.search import read_address
from gateway.read_pool import ReadPool
from projections.bounces import queries
from projections.store import Store
from schemas.settings import GatewaySettings

__all__ = ["router"]

_ALL_TIME: Final = "all"
_PERIODS: Final = {value: name for value, name in (PERIODS | ALL_TIME).items() if value != LAST_WEEK}
"""Without a period that has ended: the time is that of the last bounce, so addresses that bounced again are missing."""


def router(settings: GatewaySettings, store: Store, reads: ReadPool, pages: Pages) -> APIRouter:
    """Return the routes under `/bounces`."""
    routes = APIRouter(route_class=ConsoleRoute, include_in_schema=False)
    reader = canonical_query(signed_in(settings.token_secret.get_secret_value()), pages, read_address, _ALL_TIME)
    as_reader = Annotated[Principal, Depends(reader)]

    as_filter = Annotated[queries.Filter, Depends(bounce_filter(reader))]

    @routes.get("/bounces")
    async def bounces(
        request: Request,
        principal: as_reader,
        wanted: as_filter,
        order: ByLastBounce = "newest",
        limit: Limit = 50,
        cursor: CursorText = None,
    ) -> Response:
        paginator = bounce_paginator(wanted, order)
        rows = await reads.run(principal, bounce_rows, store, wanted, order, paginator.after(cursor), limit)
        links = Links(f"{pages.base}/bounces", request.query_params.multi_items())
        older = links.at(paginator.cursor(bounce_key(rows[limit - 1]))) if len(rows) > limit else ""
        period = period_name(links, _PERIODS[_ALL_TIME])
        return pages.page(
            request,
            "bounces.html",
            rows=bounces_as_json(rows[:limit]),
            links=links,
            pills=pills(links),
            period=period,
            periods=other_periods(period, _PERIODS),
            older=older,
            first=cursor is None,
        )

    @routes.get("/bounces/export")
    async def export(
        principal: as_reader, wanted: as_filter, order: ByLastBounce = "newest", format_: Format = "csv"
    ) -> Response:
        return await export_bounces(reads, principal, store, wanted, order, format_)

    return routes
