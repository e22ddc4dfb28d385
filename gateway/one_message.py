"""One message over HTTP: its row, its timeline, what was sent, and why its status is what it is.

In:  a message's id; a token that says whose rows may be seen. Another account's message is as one that does not exist.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

import orjson
from fastapi import APIRouter, Depends, Path, Query, Response

from application.evidence import own_evidence
from application.principals import Principal
from gateway import previewing
from gateway.access import READERS, accounts_of, allowing
from gateway.answers import Message, MessageExplanation, Timeline, TimelineEvent
from gateway.explaining import explained
from gateway.items import is_kept, renderer, shown
from gateway.lists import CursorText, Pages, Row
from gateway.openapi import READ_CODES, Answer, operation
from gateway.problems import Problem
from gateway.reads import Reads
from projections.messages import filters, queries
from projections.messages.contents import content
from projections.messages.pages import read_with_id
from projections.messages.queries import MAX_EVENTS
from projections.store import Store
from schemas.identity import message_id_or_blank
from schemas.settings import GatewaySettings

__all__ = ["router"]

PathId = Annotated[str, Path(description="The message's id, a UUID of version 7; capitals are accepted")]
OfAccount = Annotated[
    str | None, Query(description="Whose message: needed only where several accounts of the token share the id")
]

EventLimit = Annotated[int, Query(ge=1, le=MAX_EVENTS, description="How many events a page has at most")]

_ONE_CODES: Final = (*READ_CODES, "account-required", "no-such-message")
_EVENT_CODES: Final = (*_ONE_CODES, "invalid-cursor")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_EVENT_ID: Final = re.compile(r"[0-9a-f]{32}")
_MOST_US: Final = 1 << 54
"""Microseconds from 1970 beyond what a DateTime64(6) column can hold."""


def router(settings: GatewaySettings, store: Store, reads: Reads) -> APIRouter:
    """Return the routes under `/v1/messages/{email_id}`; `/v1/messages/facets` and `/export` must stand before them."""
    routes = APIRouter(prefix="/v1", tags=["messages"])
    as_reader = Annotated[Principal, Depends(allowing(READERS, settings.token_secret.get_secret_value()))]
    days = settings.content_retention_days
    render = renderer(settings)

    @routes.get(
        "/messages/{email_id}",
        **operation("getMessage", {200: Answer("The message", Message)}, roles=READERS, codes=_ONE_CODES),
    )
    async def message(principal: as_reader, email_id: PathId, account: OfAccount = None) -> dict[str, Any]:
        """One message."""
        return render(await _one(principal, email_id, account))

    @routes.get(
        "/messages/{email_id}/preview",
        **operation(
            "previewMessage",
            {200: Answer("What was sent, as a page without scripts", media=("text/html",))},
            roles=READERS,
            codes=(*_ONE_CODES, "no-content", "content-expired"),
        ),
    )
    async def preview(principal: as_reader, email_id: PathId, account: OfAccount = None) -> Response:
        """What was sent: the HTML, or the text. Scripts do not run, and nothing is loaded from elsewhere."""
        row = await _one(principal, email_id, account)
        if not row["has_content"]:
            raise Problem("no-content", "Nothing was stored of what was sent")
        if not is_kept(row, days):
            raise Problem("content-expired", f"What was sent is kept for {days} days after Date Sent")
        query = content(row["account_id"], str(row["email_id"]))
        found = await reads.run(principal, store.rows, query.sql, query.parameters)
        if not found:  # it is written beside the row, not with it; or the table keeps contents for less time
            raise Problem("no-content", "What was sent is not stored yet, or was deleted before its time")
        return previewing.page(found[0]["html"], found[0]["text"])

    @routes.get(
        "/messages/{email_id}/events",
        **operation(
            "listMessageEvents", {200: Answer("A page of the timeline", Timeline)}, roles=READERS, codes=_EVENT_CODES
        ),
    )
    async def events(
        principal: as_reader,
        email_id: PathId,
        account: OfAccount = None,
        limit: EventLimit = MAX_EVENTS,
        cursor: CursorText = None,
    ) -> dict[str, Any]:
        """The timeline of one message: each event once, by the time it occurred."""
        row = await _one(principal, email_id, account)
        whose = (row["account_id"], str(row["email_id"]))
        pages = Pages("events", queries.EventCursor, (int, int, str), whose, is_valid=_is_valid_event)
        query = queries.timeline(*whose, limit=limit, after=pages.after(cursor))
        found = await reads.run(principal, store.rows, query.sql, query.parameters)
        seen = await _seen_by(principal, found[:limit])
        return pages.page(found, limit, _event_key, [shown(TimelineEvent, event) for event in seen])

    @routes.get(
        "/messages/{email_id}/explain",
        **operation(
            "explainMessage",
            {200: Answer("The explanation", MessageExplanation)},
            roles=READERS,
            codes=_ONE_CODES,
        ),
    )
    async def explain(principal: as_reader, email_id: PathId, account: OfAccount = None) -> dict[str, Any]:
        """Why a message has its status: what decided it, and of each event that did not, the rule that says so."""
        row = await _one(principal, email_id, account)
        query = queries.timeline(row["account_id"], str(row["email_id"]), limit=MAX_EVENTS)
        found = await reads.run(principal, store.rows, query.sql, query.parameters)
        return explained(row, await _seen_by(principal, found[:MAX_EVENTS]), complete=len(found) <= MAX_EVENTS)

    async def _seen_by(principal: Principal, events: Sequence[Row]) -> Sequence[Row]:
        if principal.covers_all:
            return events
        return await reads.run(principal, _own, store, sorted(principal.accounts), events)

    async def _one(principal: Principal, email_id: str, account: str | None) -> dict[str, Any]:
        known = message_id_or_blank(email_id)
        if not known:
            raise _no_message()
        accounts = accounts_of(principal, filters.EVERY if account is None else account)
        rows = await reads.run(principal, read_with_id, store, accounts, known)
        if not rows:
            raise _no_message()
        if len(rows) > 1:
            raise Problem("account-required", "Several accounts share this id; name one with `account`")
        return rows[0]

    return routes


def _no_message() -> Problem:
    return Problem("no-such-message", "No such message")


def _own(store: Store, accounts: Sequence[str], events: Sequence[Row]) -> list[Row]:
    """The events as the accounts may see them: of the evidence behind a decision, what is their own."""
    said = {n: orjson.loads(row["extra"]) for n, row in enumerate(events) if row["type"] == "decided" and row["extra"]}
    own = own_evidence(store, accounts, {known for extra in said.values() for known in extra["evidence"]})
    kept = {n: extra | {"evidence": [e for e in extra["evidence"] if e in own]} for n, extra in said.items()}
    return [row | {"extra": orjson.dumps(kept[n]).decode()} if n in kept else row for n, row in enumerate(events)]


def _event_key(row: Row) -> queries.EventCursor:
    return queries.EventCursor(_us(row["occurred_at"]), _us(row["received_at"]), row["event_id"])


def _us(at: datetime) -> int:
    """The microseconds since 1970 of a time of ClickHouse's, which is in UTC."""
    return (at.replace(tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1)


def _is_valid_event(key: queries.EventCursor) -> bool:
    in_range = max(abs(key.occurred_us), abs(key.received_us)) < _MOST_US
    return in_range and _EVENT_ID.fullmatch(key.event_id) is not None
