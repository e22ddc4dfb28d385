"""Bounced Emails over HTTP: the addresses that accounts had bounced, blocked or failed messages to.

In:  filters in the query string; a token that says whose rows may be seen.
Out: rows of the view `bounced_emails`, by the last bounce: as pages `{items, next}`, or as a file.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Query, Response

from application.principals import Principal
from gateway.access import READERS, accounts_of, allowing
from gateway.answers import Bounces
from gateway.exporting import EXPORT_PAGE, FILE, FILE_CODES, Format, exported, in_columns
from gateway.lists import (
    Account,
    Address,
    CursorText,
    Limit,
    OfChannel,
    Order,
    Pages,
    Row,
    address_keys,
    all_pages,
    period,
    plain,
)
from gateway.openapi import LIST_CODES, Answer, operation
from gateway.reads import Reads
from projections.bounces import queries
from projections.bounces.pages import read_bounces
from projections.store import Store
from schemas.settings import GatewaySettings

__all__ = ["router"]

Held = Annotated[bool | None, Query(description="Whether we refuse to send to it now")]
From = Annotated[str | None, Query(alias="from", description="Last bounced at or after: RFC 3339, or a date")]
To = Annotated[str | None, Query(description="Last bounced before: RFC 3339, or a date")]
ByLastBounce = Annotated[Order, Query(description="By the last bounce")]

_US: Final = 1_000_000
_LATEST_US: Final = 1 << 58


def router(settings: GatewaySettings, store: Store, reads: Reads) -> APIRouter:
    """Return the routes under `/v1/bounces`."""
    routes = APIRouter(prefix="/v1/bounces", tags=["bounces"])
    as_reader = Annotated[Principal, Depends(allowing(READERS, settings.token_secret.get_secret_value()))]

    @routes.get("", **operation("listBounces", {200: Answer("A page", Bounces)}, roles=READERS, codes=LIST_CODES))
    async def bounces(
        principal: as_reader,
        account: Account = None,
        channel: OfChannel = None,
        address: Address = None,
        suppressed: Held = None,
        from_: From = None,
        to: To = None,
        order: ByLastBounce = "newest",
        limit: Limit = 50,
        cursor: CursorText = None,
    ) -> dict[str, Any]:
        """Bounced Emails: a row for each address that an account had bounced, blocked or failed messages to."""
        wanted = _wanted(principal, account, channel, address, suppressed, from_, to)
        pages = Pages("bounces", queries.Cursor, (int, str, str, str), wanted, order, is_valid=_is_valid)
        rows = await reads.run(principal, _rows, store, wanted, order, pages.after(cursor), limit)
        return pages.page(rows, limit, _key, _shown(rows))

    @routes.get("/export", **operation("exportBounces", {200: FILE}, roles=READERS, codes=FILE_CODES))
    async def export(
        principal: as_reader,
        account: Account = None,
        channel: OfChannel = None,
        address: Address = None,
        suppressed: Held = None,
        from_: From = None,
        to: To = None,
        order: ByLastBounce = "newest",
        format_: Format = "csv",
    ) -> Response:
        """The same list as a file."""
        wanted = _wanted(principal, account, channel, address, suppressed, from_, to)
        pages = all_pages(partial(_rows, store, wanted, order), _key, EXPORT_PAGE)
        return await exported(
            reads, principal, in_columns(map(_shown, pages), queries.COLUMNS), queries.COLUMNS, format_, "bounces"
        )

    return routes


def _wanted(
    principal: Principal,
    account: str | None,
    channel: str | None,
    address: str | None,
    suppressed: bool | None,
    from_: str | None,
    to: str | None,
) -> queries.Filter:
    from_us, to_us = period(from_, to)
    return queries.Filter(
        accounts=accounts_of(principal, account),
        channel=channel,
        addresses=address_keys(address, channel),
        suppressed=suppressed,
        from_us=from_us,
        to_us=to_us,
    )


def _rows(store: Store, wanted: queries.Filter, order: Order, after: queries.Cursor | None, limit: int) -> list[Row]:
    return read_bounces(store, wanted, limit=limit, order=order, after=after)


def _shown(rows: Sequence[Row]) -> list[Row]:
    return [plain(row) for row in rows]


def _key(row: Row) -> queries.Cursor:
    at: datetime = row["last_bounced_at"].replace(tzinfo=UTC)
    us = int(at.timestamp()) * _US + at.microsecond
    return queries.Cursor(us, row["account_id"], row["channel"], row["address"])


def _is_valid(key: queries.Cursor) -> bool:
    return 0 <= key.last_bounced_us < _LATEST_US
