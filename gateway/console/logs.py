"""The page Messaging Logs: the list, its counts, its export, and one message beside the list or on its own page.

In:  the query string of `GET /v1/messages`; a session. Out: pages, or the parts of them that change.
Promise: counts and the histogram are a separate request, so they never delay the rows.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Query, Request, Response

from application.principals import Principal
from application.raw_events import RawEvents
from gateway.access import OPERATORS, RequirePrincipal
from gateway.api.export import EXPORT_ROWS, Format, export_response
from gateway.api.items import renderer
from gateway.api.lists import CursorText, Limit, Order, Paginator, Row
from gateway.api.message_filters import filter_of
from gateway.api.messages import EXPORTED, cursors_of, key_of
from gateway.console.charts import Timespan, bars, grouped, rebinned, timespan
from gateway.console.links import Links
from gateway.console.message import MessageView
from gateway.console.pages import Pages, is_partial
from gateway.console.query_string import (
    ALL_TIME,
    ALL_TIME_FROM,
    DEFAULT_DAYS,
    PERIODS,
    canonical_query,
    finds_single_messages,
    other_periods,
    period_name,
    pills,
    search_text,
    with_default_time,
)
from gateway.console.routing import ConsoleRoute, signed_in
from gateway.console.search import SEARCHED
from gateway.console.words import FAMILIES, FAMILY_NAMES, NOT_DELIVERED
from gateway.read_pool import ReadPool
from projections.messages.counts import read_facets
from projections.messages.exports import read_columns
from projections.messages.filters import Filter
from projections.messages.histogram import read_histogram
from projections.messages.pages import read_page
from projections.messages.queries import Cursor
from projections.store import Store
from schemas.decoding.times import SECOND_US
from schemas.settings import GatewaySettings

__all__ = ["router"]

Back = Annotated[str | None, Query(pattern="1", description="The page before the cursor instead of the one after it")]

_ALL_TIME: Final = ALL_TIME["all"]
_REVERSE: Final[dict[Order, Order]] = {"newest": "oldest", "oldest": "newest"}
_DAY_SECONDS: Final = 86_400
_MAX_TYPES: Final = 100


def router(settings: GatewaySettings, store: Store, reads: ReadPool, raw_events: RawEvents, pages: Pages) -> APIRouter:
    """Return the routes under `/logs`."""
    routes = APIRouter(route_class=ConsoleRoute, include_in_schema=False)
    reader = canonical_query(signed_in(settings.token_secret.get_secret_value()), pages)
    as_reader = Annotated[Principal, Depends(reader)]
    wanted_of = Annotated[Filter, Depends(filter_of(reader))]
    view = _LogView(settings, store, reads, pages)

    @routes.get("/logs")
    async def logs(
        request: Request,
        principal: as_reader,
        wanted: wanted_of,
        order: Order = "newest",
        limit: Limit = 50,
        cursor: CursorText = None,
        back: Back = None,
    ) -> Response:
        shown = await view.results(request, principal, wanted, order, limit, cursor, back=back is not None)
        return pages.page(request, "_log.html" if is_partial(request) else "logs.html", message=None, **shown)

    @routes.get("/logs/counts")
    async def counts(request: Request, principal: as_reader, wanted: wanted_of) -> Response:
        shown = await view.counts(request, principal, wanted)
        return pages.page(request, "_counts.html" if is_partial(request) else "counts.html", **shown)

    @routes.get("/logs/export")
    async def export(
        principal: as_reader, wanted: wanted_of, order: Order = "newest", format_: Format = "csv"
    ) -> Response:
        within = with_default_time(wanted, _now_us())
        chunks = read_columns(store, within, EXPORTED, order=order, rows_at_once=EXPORT_ROWS)
        return await export_response(reads, principal, chunks, EXPORTED, format_, "messages")

    messages = MessageView(settings, store, reads, raw_events)
    _add_raw_event(routes, settings, messages, pages)
    _add_message(routes, reader, view, messages, pages)
    return routes


def _add_raw_event(routes: APIRouter, settings: GatewaySettings, messages: MessageView, pages: Pages) -> None:
    as_operator = Annotated[Principal, Depends(signed_in(settings.token_secret.get_secret_value(), OPERATORS))]

    @routes.get("/logs/{message_id}/events/{event_id}")
    async def raw_event(
        request: Request, principal: as_operator, message_id: str, event_id: str, account: str | None = None
    ) -> Response:
        shown = await messages.raw_event(principal, message_id, event_id, account)
        return pages.page(request, "raw_event.html", **shown)


def _add_message(
    routes: APIRouter,
    reader: RequirePrincipal,
    view: "_LogView",
    messages: MessageView,
    pages: Pages,
) -> None:
    as_reader = Annotated[Principal, Depends(reader)]
    wanted_of = Annotated[Filter, Depends(filter_of(reader))]

    @routes.get("/logs/{message_id}/preview")
    async def preview(principal: as_reader, message_id: str, account: str | None = None) -> Response:
        return await messages.preview(principal, message_id, account)

    @routes.get("/logs/{message_id}")
    async def message(
        request: Request,
        principal: as_reader,
        wanted: wanted_of,
        message_id: str,
        order: Order = "newest",
        limit: Limit = 50,
        cursor: CursorText = None,
        back: Back = None,
    ) -> Response:
        links = _links(request, pages)
        shown = await messages.details(principal, message_id, links.first("account") or None)
        if is_partial(request):
            return pages.page(request, "_message.html", links=links, in_drawer=True, neighbours=("", ""), **shown)
        if set(request.query_params) <= {"account"}:
            return pages.page(request, "message.html", links=links, in_drawer=False, **shown)
        results = await view.results(request, principal, wanted, order, limit, cursor, back=back is not None)
        before, after = _neighbours([row["email_id"] for row in results["rows"]], message_id)
        around = [links.here(f"{pages.base}/logs/{id_}") if id_ else "" for id_ in (before, after)]
        return pages.page(request, "logs.html", in_drawer=True, neighbours=around, **(results | shown))


class _LogView:
    """Reads what the page of the list shows."""

    def __init__(self, settings: GatewaySettings, store: Store, reads: ReadPool, pages: Pages) -> None:
        self._store, self._reads, self._pages = store, reads, pages
        self._render = renderer(settings)

    async def results(
        self,
        request: Request,
        principal: Principal,
        wanted: Filter,
        order: Order,
        limit: int,
        cursor: str | None,
        *,
        back: bool,
    ) -> dict[str, Any]:
        """Return the rows of a page and the links to others. The page before is read in reverse from the first row."""
        links = _links(request, self._pages)
        forward, backward = cursors_of(wanted, order), cursors_of(wanted, _REVERSE[order])
        rows: list[Row] = []
        if back and cursor is not None:
            found = await self._rows(principal, wanted, _REVERSE[order], limit, backward.after(cursor))
            if len(found) > limit:
                rows = found[:limit][::-1]
        at_start = cursor is None or (back and not rows)
        has_more = back and bool(rows)
        if not rows:
            after = None if at_start else forward.after(cursor)
            found = await self._rows(principal, wanted, order, limit, after)
            rows, has_more = found[:limit], len(found) > limit
        return {
            "links": links,
            "rows": [self._render(row) for row in rows],
            "older": links.at(_cursor(forward, rows[-1])) if has_more else "",
            "newer": links.at(_cursor(backward, rows[0]), back=True) if rows and not at_start else "",
            **self._form(links, wanted),
        }

    async def _rows(
        self, principal: Principal, wanted: Filter, order: Order, limit: int, after: Cursor | None
    ) -> list[Row]:
        within = with_default_time(wanted, _now_us())

        def read() -> list[Row]:
            return read_page(self._store, within, limit=limit, now_us=_now_us(), order=order, after=after)

        return await self._reads.run(principal, read)

    def _form(self, links: Links, wanted: Filter) -> dict[str, Any]:
        """Return the values of the form, the filters that apply, and the name of the period that is searched."""
        period = period_name(links, _ALL_TIME if finds_single_messages(wanted) else PERIODS[str(DEFAULT_DAYS)])
        return {
            "search": search_text(links),
            "searched": SEARCHED,
            "pills": pills(links),
            "period": period,
            "periods": other_periods(period, PERIODS | ALL_TIME),
            "all_time": "" if period == _ALL_TIME else links.set(from_=ALL_TIME_FROM, to=""),
            "not_delivered": links.set(status=list(NOT_DELIVERED)),
            "is_not_delivered": set(links.every("status")) == set(NOT_DELIVERED),
        }

    async def counts(self, request: Request, principal: Principal, wanted: Filter) -> dict[str, Any]:
        """Return the counts of all statuses and of all types, each with the other filters; and the histogram."""
        links = _links(request, self._pages)
        links.path = f"{self._pages.base}/logs"
        within = with_default_time(wanted, _now_us())
        span = _span(within)
        step = span.step if span else _DAY_SECONDS
        found, facets = await asyncio.gather(
            self._reads.run(principal, read_histogram, self._store, replace(within, statuses=()), step),
            self._reads.run(principal, read_facets, self._store, replace(within, types=())),
        )
        by_type: Counter[str] = Counter()
        for _, _, type_, messages in facets:
            by_type[type_] += messages
        by_status: Counter[str] = Counter()
        for _, status, messages in found:
            by_status[status] += messages
        chosen = [row for row in found if not wanted.statuses or row[1] in wanted.statuses]
        by_time = grouped(chosen, FAMILIES)
        span = span or _span_of_days(by_time)
        chart = bars(span, rebinned(by_time, span.step), tuple(FAMILY_NAMES))
        return {
            "links": links,
            "by_status": by_status,
            "all_messages": by_status.total(),
            "total": sum(bar.total for bar in chart.bars),
            "chart": chart,
            "types": [(name, number) for name, number in by_type.most_common(_MAX_TYPES) if name],
            **self._form(links, wanted),
        }


def _links(request: Request, pages: Pages) -> Links:
    return Links(f"{pages.base}/logs", request.query_params.multi_items())


def _neighbours(ids: Sequence[str], of: str) -> tuple[str, str]:
    """The ids before and after one of them; blank where there is none."""
    if of not in ids:
        return "", ""
    at = ids.index(of) + 1
    padded = ["", *ids, ""]
    return padded[at - 1], padded[at + 1]


def _cursor(paginator: Paginator[Cursor], row: Row) -> str:
    return paginator.cursor(key_of(row))


def _span(wanted: Filter) -> Timespan | None:
    """The bars of the filter's time; None if it begins with the log."""
    if not wanted.from_us:
        return None
    end_us = _now_us() if wanted.to_us is None else wanted.to_us
    return timespan(wanted.from_us // SECOND_US, -(-end_us // SECOND_US))


def _span_of_days(found: Collection[int]) -> Timespan:
    """The bars from the first to the last of these days: of DEFAULT_DAYS at least, or one bar would fill the chart."""
    last = max(found, default=int(time.time()))
    first = min([*found, last - (DEFAULT_DAYS - 1) * _DAY_SECONDS])
    span = timespan(first, last + _DAY_SECONDS)
    return span if span.step >= _DAY_SECONDS else Timespan(first, last + _DAY_SECONDS, _DAY_SECONDS)


def _now_us() -> int:
    return time.time_ns() // 1000
