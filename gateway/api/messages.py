"""Routes of Messaging Logs: the list, its counts, its export.

In:  filters in the query string; a token that limits the accounts.
Out: pages `{items, next}`, counts by status, channel and type, or a file.
"""

import time
from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Query, Response

from application.principals import Principal
from gateway.access import READERS, require_role
from gateway.api.export import EXPORT_ROWS, FILE_CODES, FILE_RESPONSE, Format, export_response
from gateway.api.items import renderer
from gateway.api.lists import CursorText, Limit, Order, Paginator, Row
from gateway.api.message_filters import filter_of
from gateway.api.models.messages import Facets, Message, Messages
from gateway.openapi import LIST_CODES, READ_CODES, ResponseSpec, operation
from gateway.read_pool import ReadPool
from projections.messages import filters, queries
from projections.messages.counts import read_facets
from projections.messages.exports import read_columns
from projections.messages.pages import read_page
from projections.store import Store
from schemas.decoding.ids import ALL, account_id_or_blank, message_id_or_blank
from schemas.settings import GatewaySettings

__all__ = ["EXPORTED", "cursors_of", "key_of", "router"]

BySent = Annotated[Order, Query(description="By Date Sent")]


def router(settings: GatewaySettings, store: Store, reads: ReadPool) -> APIRouter:
    """Return the routes of the list: `/v1/messages`, `/facets` and `/export`."""
    routes = APIRouter(prefix="/v1", tags=["messages"])

    reader = require_role(READERS, settings.token_secret.get_secret_value())
    as_reader = Annotated[Principal, Depends(reader)]
    as_asked = Annotated[filters.Filter, Depends(filter_of(reader))]
    render = renderer(settings)

    @routes.get(
        "/messages",
        **operation("listMessages", {200: ResponseSpec("A page", Messages)}, roles=READERS, codes=LIST_CODES),
    )
    async def messages(
        principal: as_reader,
        wanted: as_asked,
        order: BySent = "newest",
        limit: Limit = 50,
        cursor: CursorText = None,
    ) -> dict[str, Any]:
        """Messages, newest first, or oldest first. All filters that are given must hold."""
        pages = cursors_of(wanted, order)
        rows = await reads.run(principal, _rows, store, wanted, order, pages.after(cursor), limit)
        return pages.page(rows, limit, key_of, [render(row) for row in rows])

    @routes.get(
        "/messages/facets",
        **operation(
            "countMessages",
            {200: ResponseSpec("The counts", Facets)},
            roles=READERS,
            codes=(*READ_CODES, "account-required"),
        ),
    )
    async def facets(principal: as_reader, wanted: as_asked) -> dict[str, Any]:
        """Counts of the messages that match the filters, by status, channel and type; each sums to the total."""
        return _facets(await reads.run(principal, read_facets, store, wanted))

    @routes.get(
        "/messages/export", **operation("exportMessages", {200: FILE_RESPONSE}, roles=READERS, codes=FILE_CODES)
    )
    async def export(
        principal: as_reader, wanted: as_asked, order: BySent = "newest", format_: Format = "csv"
    ) -> Response:
        """The same list as a file."""
        chunks = read_columns(store, wanted, EXPORTED, order=order, rows_at_once=EXPORT_ROWS)
        return await export_response(reads, principal, chunks, EXPORTED, format_, "messages")

    return routes


def _rows(store: Store, wanted: filters.Filter, order: Order, after: queries.Cursor | None, limit: int) -> list[Row]:
    return read_page(store, wanted, limit=limit, now_us=time.time_ns() // 1000, order=order, after=after)


EXPORTED: Final = tuple(name for name in Message.model_fields if name != "actions")
"""What an item has, but for what is for clicking."""


def _facets(rows: Sequence[Sequence[Any]]) -> dict[str, Any]:
    """The counts of each value of each facet, the most frequent first."""
    counts: dict[str, Counter[str]] = {name: Counter() for name in ("status", "channel", "type")}
    for *values, messages in rows:
        for counter, value in zip(counts.values(), values, strict=True):
            counter[value] += messages
    return {"total": sum(row[-1] for row in rows), **{name: dict(c.most_common()) for name, c in counts.items()}}


def cursors_of(wanted: filters.Filter, order: Order) -> Paginator[queries.Cursor]:
    """Return the pages of the list for these filters and this order."""
    return Paginator("messages", queries.Cursor, (int, str, str), wanted, order, is_valid=_is_valid)


def key_of(row: Row) -> queries.Cursor:
    """Return the key behind which the page after a row begins."""
    return queries.Cursor.behind(row["date_sent"], row["email_id"], row["account_id"])


def _is_valid(key: queries.Cursor) -> bool:
    of_account = key.account_id == ALL or account_id_or_blank(key.account_id) == key.account_id
    return 0 <= key.date_sent_ms < 1 << 50 and message_id_or_blank(key.email_id) == key.email_id and of_account
