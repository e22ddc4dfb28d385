"""Routes of Bounced Emails: addresses to which messages bounced, were blocked or failed.

In:  filters in the query string; a token that limits the accounts.
Out: rows of the view `bounced_emails`, sorted by the last bounce: as pages `{items, next}`, or as a file.
"""

from collections.abc import Callable, Coroutine, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Query, Response

from application.principals import Principal
from gateway.access import READERS, RequirePrincipal, accounts_to_query, require_role
from gateway.api.export import EXPORT_PAGE, FILE_CODES, FILE_RESPONSE, Format, export_response, to_columns
from gateway.api.lists import (
    Account,
    Address,
    CursorText,
    Limit,
    OfChannel,
    Order,
    Paginator,
    Row,
    address_keys,
    all_pages,
    json_row,
    period,
)
from gateway.api.models.bounces import Bounces
from gateway.openapi import LIST_CODES, ResponseSpec, operation
from gateway.read_pool import ReadPool
from projections.bounces import queries
from projections.bounces.pages import read_bounces
from projections.store import Store
from schemas.settings import GatewaySettings

__all__ = [
    "ByLastBounce",
    "bounce_filter",
    "bounce_key",
    "bounce_paginator",
    "bounce_rows",
    "bounces_as_json",
    "export_bounces",
    "router",
]

IsSuppressed = Annotated[bool | None, Query(description="Whether the gate refuses to send to it now")]
From = Annotated[str | None, Query(alias="from", description="Last bounced at or after: RFC 3339, or a date")]
To = Annotated[str | None, Query(description="Last bounced before: RFC 3339, or a date")]
ByLastBounce = Annotated[Order, Query(description="By the last bounce")]

_US: Final = 1_000_000
_LATEST_US: Final = 1 << 58


def router(settings: GatewaySettings, store: Store, reads: ReadPool) -> APIRouter:
    """Return the routes under `/v1/bounces`."""
    routes = APIRouter(prefix="/v1/bounces", tags=["bounces"])
    reader = require_role(READERS, settings.token_secret.get_secret_value())
    as_reader = Annotated[Principal, Depends(reader)]
    as_filter = Annotated[queries.Filter, Depends(bounce_filter(reader))]

    @routes.get("", **operation("listBounces", {200: ResponseSpec("A page", Bounces)}, roles=READERS, codes=LIST_CODES))
    async def bounces(
        principal: as_reader,
        wanted: as_filter,
        order: ByLastBounce = "newest",
        limit: Limit = 50,
        cursor: CursorText = None,
    ) -> dict[str, Any]:
        """Bounced Emails: one row for each address to which messages of an account bounced, were blocked or failed."""
        pages = bounce_paginator(wanted, order)
        rows = await reads.run(principal, bounce_rows, store, wanted, order, pages.after(cursor), limit)
        return pages.page(rows, limit, bounce_key, bounces_as_json(rows))

    @routes.get("/export", **operation("exportBounces", {200: FILE_RESPONSE}, roles=READERS, codes=FILE_CODES))
    async def export(
        principal: as_reader, wanted: as_filter, order: ByLastBounce = "newest", format_: Format = "csv"
    ) -> Response:
        """The same list as a file."""
        return await export_bounces(reads, principal, store, wanted, order, format_)

    return routes


def bounce_filter(
    reader: RequirePrincipal,
) -> Callable[..., Coroutine[Any, Any, queries.Filter]]:
    """Return the dependency that reads the filters. `reader` is the route's own dependency, so that it runs once."""
    as_reader = Annotated[Principal, Depends(reader)]

    async def wanted(
        principal: as_reader,
        account: Account = None,
        channel: OfChannel = None,
        address: Address = None,
        suppressed: IsSuppressed = None,
        from_: From = None,
        to: To = None,
    ) -> queries.Filter:
        from_us, to_us = period(from_, to)
        return queries.Filter(
            accounts=accounts_to_query(principal, account),
            channel=channel,
            addresses=address_keys(address, channel),
            suppressed=suppressed,
            from_us=from_us,
            to_us=to_us,
        )

    return wanted


async def export_bounces(
    reads: ReadPool, principal: Principal, store: Store, wanted: queries.Filter, order: Order, format_: str
) -> Response:
    """Return the whole list as a file."""
    pages = all_pages(partial(bounce_rows, store, wanted, order), bounce_key, EXPORT_PAGE)
    columns = to_columns(map(bounces_as_json, pages), queries.COLUMNS)
    return await export_response(reads, principal, columns, queries.COLUMNS, format_, "bounces")


def bounce_paginator(wanted: queries.Filter, order: Order) -> Paginator[queries.Cursor]:
    """Return the paginator of the list, for these filters and this order."""
    return Paginator("bounces", queries.Cursor, (int, str, str, str), wanted, order, is_valid=_is_valid)


def bounce_rows(
    store: Store, wanted: queries.Filter, order: Order, after: queries.Cursor | None, limit: int
) -> list[Row]:
    """Return the rows of a page, and one more if there is a next page."""
    return read_bounces(store, wanted, limit=limit, order=order, after=after)


def bounces_as_json(rows: Sequence[Row]) -> list[Row]:
    """Return the rows with JSON values."""
    return [json_row(row) for row in rows]


def bounce_key(row: Row) -> queries.Cursor:
    """Return the position of a row in the list: the next page begins after it."""
    at: datetime = row["last_bounced_at"].replace(tzinfo=UTC)
    us = int(at.timestamp()) * _US + at.microsecond
    return queries.Cursor(us, row["account_id"], row["channel"], row["address"])


def _is_valid(key: queries.Cursor) -> bool:
    return 0 <= key.last_bounced_us < _LATEST_US
