"""The page Suppressions: the addresses that nothing is sent to; and a page with everything about one address.

In:  the query string of `GET /v1/suppressions`, and a session. Out: pages, or the list as a file.
"""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from application.principals import Principal
from gateway.api.export import Format
from gateway.api.lists import Account, CursorText, Limit
from gateway.api.suppressions.read_routes import (
    OnChannel,
    PathAddress,
    export_suppressions,
    suppression_details,
    suppression_filter,
    suppression_items,
    suppression_key,
    suppression_paginator,
    suppression_rows,
)
from gateway.console.acts import may_release
from gateway.console.links import Links
from gateway.console.pages import Pages
from gateway.console.query_string import canonical_query, pills
from gateway.console.routing import ConsoleRoute, signed_in
from gateway.console.search import read_address
from gateway.read_pool import ReadPool
from projections.store import Store
from projections.suppressions import queries
from schemas.settings import GatewaySettings

__all__ = ["router"]


def router(settings: GatewaySettings, store: Store, reads: ReadPool, pages: Pages) -> APIRouter:
    """Return the routes that read under `/suppressions`."""
    routes = APIRouter(route_class=ConsoleRoute, include_in_schema=False)
    reader = canonical_query(signed_in(settings.token_secret.get_secret_value()), pages, read_address)
    as_reader = Annotated[Principal, Depends(reader)]

    as_filter = Annotated[queries.SuppressionFilter, Depends(suppression_filter(reader))]

    @routes.get("/suppressions")
    async def suppressions(
        request: Request, principal: as_reader, wanted: as_filter, limit: Limit = 50, cursor: CursorText = None
    ) -> Response:
        paginator = suppression_paginator(wanted)
        rows = await reads.run(principal, suppression_rows, store, wanted, paginator.after(cursor), limit)
        items = await reads.run(principal, suppression_items, store, wanted, rows[:limit])
        links = Links(f"{pages.base}/suppressions", request.query_params.multi_items())
        older = links.at(paginator.cursor(suppression_key(rows[limit - 1]))) if len(rows) > limit else ""
        return pages.page(
            request,
            "suppressions.html",
            rows=items,
            can_release=[may_release(principal, [item]) for item in items],
            links=links,
            pills=pills(links),
            older=older,
            first=cursor is None,
        )

    @routes.get("/suppressions/export")
    async def export(principal: as_reader, wanted: as_filter, format_: Format = "csv") -> Response:
        return await export_suppressions(reads, principal, store, wanted, format_)

    @routes.get("/suppressions/{channel}/{address:path}")
    async def suppression(
        request: Request, principal: as_reader, channel: OnChannel, address: PathAddress, account: Account = None
    ) -> Response:
        details = await reads.run(principal, suppression_details, store, principal, account, channel, address)
        can_release = may_release(principal, details["scopes"])
        return pages.page(request, "suppression.html", details=details, can_release=can_release)

    return routes
