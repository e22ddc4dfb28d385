"""Messaging Logs over HTTP: the list, its counts, its export.

In:  filters in the query string; a token that says whose rows may be seen.
Out: pages `{items, next}`, counts by status, channel and type, or a file.
"""

import time
from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Query, Response

from application.principals import Principal
from gateway.access import READERS, allowing
from gateway.answers import Facets, Message, Messages
from gateway.exporting import EXPORT_ROWS, FILE, FILE_CODES, Format, exported
from gateway.items import renderer
from gateway.lists import CursorText, Limit, Order, Pages, Row
from gateway.message_filters import filter_of
from gateway.openapi import LIST_CODES, READ_CODES, Answer, operation
from gateway.reads import Reads
from projections.messages import filters, queries
from projections.messages.counts import read_facets
from projections.messages.exports import read_columns
from projections.messages.pages import read_page
from projections.store import Store
from schemas.identity import account_id_or_blank, message_id_or_blank
from schemas.settings import GatewaySettings

__all__ = ["router"]

BySent = Annotated[Order, Query(description="By Date Sent")]


def router(settings: GatewaySettings, store: Store, reads: Reads) -> APIRouter:
    """Return the routes of the list: `/v1/messages`, `/facets` and `/export`."""
    routes = APIRouter(prefix="/v1", tags=["messages"])

    reader = allowing(READERS, settings.token_secret.get_secret_value())
    as_reader = Annotated[Principal, Depends(reader)]
    as_asked = Annotated[filters.Filter, Depends(filter_of(reader))]
    render = renderer(settings)

    @routes.get(
        "/messages", **operation("listMessages", {200: Answer("A page", Messages)}, roles=READERS, codes=LIST_CODES)
    )
    async def messages(
        principal: as_reader,
        wanted: as_asked,
        order: BySent = "newest",
        limit: Limit = 50,
        cursor: CursorText = None,
    ) -> dict[str, Any]:
        """Messages, newest first, or oldest first. All filters that are given must hold."""
        pages = Pages("messages", queries.Cursor, (int, str, str), wanted, order, is_valid=_is_valid)
        rows = await reads.run(principal, _rows, store, wanted, order, pages.after(cursor), limit)
        return pages.page(rows, limit, _key, [render(row) for row in rows])

    @routes.get(
        "/messages/facets",
        **operation(
            "countMessages", {200: Answer("The counts", Facets)}, roles=READERS, codes=(*READ_CODES, "account-required")
        ),
    )
    async def facets(principal: as_reader, wanted: as_asked) -> dict[str, Any]:
        """How many messages the same filters find, by status, channel and type; each sums to the total."""
        return _facets(await reads.run(principal, read_facets, store, wanted))

    @routes.get("/messages/export", **operation("exportMessages", {200: FILE}, roles=READERS, codes=FILE_CODES))
    async def export(
        principal: as_reader, wanted: as_asked, order: BySent = "newest", format_: Format = "csv"
    ) -> Response:
        """The same list as a file."""
        chunks = read_columns(store, wanted, _EXPORTED, order=order, rows_at_once=EXPORT_ROWS)
        return await exported(reads, principal, chunks, _EXPORTED, format_, "messages")

    return routes


def _rows(store: Store, wanted: filters.Filter, order: Order, after: queries.Cursor | None, limit: int) -> list[Row]:
    return read_page(store, wanted, limit=limit, now_us=time.time_ns() // 1000, order=order, after=after)


_EXPORTED: Final = tuple(name for name in Message.model_fields if name != "actions")
"""What an item has, but for what is for clicking."""


def _facets(rows: Sequence[Sequence[Any]]) -> dict[str, Any]:
    """The counts of each value of each facet, the most frequent first."""
    counts: dict[str, Counter[str]] = {name: Counter() for name in ("status", "channel", "type")}
    for *values, messages in rows:
        for counter, value in zip(counts.values(), values, strict=True):
            counter[value] += messages
    return {"total": sum(row[-1] for row in rows), **{name: dict(c.most_common()) for name, c in counts.items()}}


def _key(row: dict[str, Any]) -> queries.Cursor:
    return queries.Cursor.behind(row["date_sent"], row["email_id"], row["account_id"])


def _is_valid(key: queries.Cursor) -> bool:
    of_account = key.account_id == filters.EVERY or account_id_or_blank(key.account_id) == key.account_id
    return 0 <= key.date_sent_ms < 1 << 50 and message_id_or_blank(key.email_id) == key.email_id and of_account
