"""Bounced Emails over HTTP: the addresses that accounts had bounced, blocked or failed messages to.

In:  filters in the query string; a token that says whose rows may be seen.
Out: rows of the view `bounced_emails`, by the last bounce: as pages `{items, next}`, or as a file.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Query, Response
from fastapi.concurrency import run_in_threadpool

from gateway.access import READERS, accounts_of, allowing, known_parameters
from gateway.exporting import EXPORT_PAGE, FILES, Format, exported
from gateway.openapi import READ_PROBLEMS
from gateway.paging import Channel, CursorText, Limit, address_keys, cursor_text, key_of, plain, time_us
from gateway.problems import Problem
from gateway.tokens import Principal
from projections.bounces import queries
from projections.store import Store
from schemas.settings import GatewaySettings

__all__ = ["router"]

Account = Annotated[str | None, Query(description="Whose; `*` for all that the token covers")]
OfChannel = Annotated[Channel | None, Query(description="One channel's")]
Address = Annotated[str | None, Query(description="One address, however it is written")]
Held = Annotated[bool | None, Query(description="Whether we refuse to send to it now")]
From = Annotated[str | None, Query(alias="from", description="Last bounced at or after: RFC 3339, or a date")]
To = Annotated[str | None, Query(description="Last bounced before: RFC 3339, or a date")]
Order = Annotated[queries.Order, Query(description="By the last bounce")]

_US: Final = 1_000_000
_LATEST_US: Final = 1 << 58

Row = dict[str, Any]


def router(settings: GatewaySettings, store: Store) -> APIRouter:
    """Return the routes under `/v1/bounces`."""
    routes = APIRouter(prefix="/v1/bounces", tags=["bounces"], dependencies=[Depends(known_parameters)])
    as_reader = Annotated[Principal, Depends(allowing(READERS, settings.token_secret.get_secret_value()))]

    @routes.get("", responses=READ_PROBLEMS)
    async def bounces(
        principal: as_reader,
        account: Account = None,
        channel: OfChannel = None,
        address: Address = None,
        suppressed: Held = None,
        from_: From = None,
        to: To = None,
        order: Order = "newest",
        limit: Limit = 50,
        cursor: CursorText = None,
    ) -> dict[str, Any]:
        """Bounced Emails: a row for each address that an account had bounced, blocked or failed messages to."""
        wanted = _wanted(principal, account, channel, address, suppressed, from_, to)
        after = key_of(cursor, (int, str, str, str), _cursor)
        rows = await run_in_threadpool(_page, store, wanted, order, limit, after)
        following = cursor_text(_key(rows[limit - 1])) if len(rows) > limit else None
        return {"items": [plain(row) for row in rows[:limit]], "next": following}

    @routes.get("/export", responses=READ_PROBLEMS | FILES)
    async def export(
        principal: as_reader,
        account: Account = None,
        channel: OfChannel = None,
        address: Address = None,
        suppressed: Held = None,
        from_: From = None,
        to: To = None,
        order: Order = "newest",
        format_: Format = "csv",
    ) -> Response:
        """The same list as a file."""
        wanted = _wanted(principal, account, channel, address, suppressed, from_, to)
        return await exported(_pages(store, wanted, order), queries.COLUMNS, format_, "bounces")

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
    return queries.Filter(
        accounts=accounts_of(principal, account),
        channel=channel,
        addresses=address_keys(address, channel),
        suppressed=suppressed,
        from_us=time_us("from", from_),
        to_us=time_us("to", to),
    )


def _page(
    store: Store, wanted: queries.Filter, order: queries.Order, limit: int, after: queries.Cursor | None
) -> list[Row]:
    query = queries.bounces_page(wanted, limit=limit, order=order, after=after)
    return store.rows(query.sql, query.parameters)


def _pages(store: Store, wanted: queries.Filter, order: queries.Order) -> Iterator[list[Row]]:
    """All items, page by page."""
    after: queries.Cursor | None = None
    while True:
        rows = _page(store, wanted, order, EXPORT_PAGE, after)
        yield [plain(row) for row in rows[:EXPORT_PAGE]]
        if len(rows) <= EXPORT_PAGE:
            return
        after = _key(rows[EXPORT_PAGE - 1])


def _key(row: Row) -> queries.Cursor:
    at: datetime = row["last_bounced_at"].replace(tzinfo=UTC)
    us = int(at.timestamp()) * _US + at.microsecond
    return queries.Cursor(us, row["account_id"], row["channel"], row["address"])


def _cursor(us: int, *named: str) -> queries.Cursor:
    if not 0 <= us < _LATEST_US:
        raise Problem(400, "`cursor` is none of ours; take `next` of the page before")
    return queries.Cursor(us, *named)
