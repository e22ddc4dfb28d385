"""Routes of one message: its row, its timeline, its content, the explanation of its status, and the bytes of an event.

In:  a message id; a token that limits the accounts. Another account's message is answered like one that does not exist.
"""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Path, Query, Response

from application.principals import Principal
from application.raw_events import RawEvents
from gateway.access import OPERATORS, READERS, require_role
from gateway.api.explain import explanation_response
from gateway.api.items import renderer, select_fields
from gateway.api.lists import CursorText, Paginator, Row
from gateway.api.message_reading import EVENT_ID, MessageReader
from gateway.api.models.explain import MessageExplanation, RawProviderEvent
from gateway.api.models.messages import Message, Timeline, TimelineEvent
from gateway.openapi import READ_CODES, ResponseSpec, operation
from gateway.read_pool import ReadPool
from projections.messages import queries
from projections.messages.queries import MAX_EVENTS
from projections.store import Store
from schemas.settings import GatewaySettings

__all__ = ["router"]

PathId = Annotated[str, Path(description="The message's id, a UUID of version 7; capitals are accepted")]
PathEvent = Annotated[str, Path(description="The `event_id` of an event of a provider, from the message's timeline")]
OfAccount = Annotated[
    str | None,
    Query(description="The account of the message: needed only if several accounts of the token share the id"),
]

EventLimit = Annotated[int, Query(ge=1, le=MAX_EVENTS, description="Maximum number of events of a page")]

_MESSAGE_CODES: Final = (*READ_CODES, "account-required", "no-such-message")
_EVENT_CODES: Final = (*_MESSAGE_CODES, "invalid-cursor")
_RAW_CODES: Final = (*_MESSAGE_CODES, "no-such-event", "record-gone", "kafka-away")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MOST_US: Final = 1 << 54
"""Microseconds from 1970 beyond what a DateTime64(6) column can hold."""


def router(settings: GatewaySettings, store: Store, reads: ReadPool, raw_events: RawEvents) -> APIRouter:
    """Return the routes under `/v1/messages/{email_id}`. `/v1/messages/facets` and `/export` must be added first."""
    routes = APIRouter(prefix="/v1", tags=["messages"])
    reader = MessageReader(store, reads, settings.content_retention_days)
    _add_message_and_content(routes, settings, reader)
    _add_timeline_and_explanation(routes, settings, reader)
    _add_raw_event(routes, settings, reader, raw_events)
    return routes


def _add_message_and_content(routes: APIRouter, settings: GatewaySettings, reader: MessageReader) -> None:
    as_reader = Annotated[Principal, Depends(require_role(READERS, settings.token_secret.get_secret_value()))]
    render = renderer(settings)

    @routes.get(
        "/messages/{email_id}",
        **operation("getMessage", {200: ResponseSpec("The message", Message)}, roles=READERS, codes=_MESSAGE_CODES),
    )
    async def message(principal: as_reader, email_id: PathId, account: OfAccount = None) -> dict[str, Any]:
        """One message."""
        return render(await reader.row(principal, email_id, account))

    @routes.get(
        "/messages/{email_id}/preview",
        **operation(
            "previewMessage",
            {200: ResponseSpec("The content that was sent, as a page without scripts", media=("text/html",))},
            roles=READERS,
            codes=(*_MESSAGE_CODES, "no-content", "content-expired", "content-erased"),
        ),
    )
    async def preview(principal: as_reader, email_id: PathId, account: OfAccount = None) -> Response:
        """What was sent: the HTML, or the text. Scripts do not run, and nothing is loaded from elsewhere."""
        return await reader.preview(principal, await reader.row(principal, email_id, account))


def _add_timeline_and_explanation(routes: APIRouter, settings: GatewaySettings, reader: MessageReader) -> None:
    as_reader = Annotated[Principal, Depends(require_role(READERS, settings.token_secret.get_secret_value()))]

    @routes.get(
        "/messages/{email_id}/events",
        **operation(
            "listMessageEvents",
            {200: ResponseSpec("A page of the timeline", Timeline)},
            roles=READERS,
            codes=_EVENT_CODES,
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
        row = await reader.row(principal, email_id, account)
        whose = (row["account_id"], str(row["email_id"]))
        pages = Paginator("events", queries.EventCursor, (int, int, str), whose, is_valid=_is_valid_event)
        found = await reader.events(principal, row, limit=limit, after=pages.after(cursor))
        return pages.page(found, limit, _event_key, [select_fields(TimelineEvent, event) for event in found[:limit]])

    @routes.get(
        "/messages/{email_id}/explain",
        **operation(
            "explainMessage",
            {200: ResponseSpec("The explanation", MessageExplanation)},
            roles=READERS,
            codes=_MESSAGE_CODES,
        ),
    )
    async def explain(principal: as_reader, email_id: PathId, account: OfAccount = None) -> dict[str, Any]:
        """Why a message has its status: what decided it, and of each event that did not, the rule that says so."""
        row = await reader.row(principal, email_id, account)
        found = await reader.events(principal, row, limit=MAX_EVENTS)
        return explanation_response(row, found[:MAX_EVENTS], complete=len(found) <= MAX_EVENTS)


def _add_raw_event(routes: APIRouter, settings: GatewaySettings, reader: MessageReader, raw_events: RawEvents) -> None:
    as_operator = Annotated[Principal, Depends(require_role(OPERATORS, settings.token_secret.get_secret_value()))]

    @routes.get(
        "/messages/{email_id}/events/{event_id}/raw",
        **operation(
            "getRawEvent",
            {200: ResponseSpec("What the provider sent", RawProviderEvent)},
            roles=OPERATORS,
            codes=_RAW_CODES,
        ),
    )
    async def raw(
        principal: as_operator, email_id: PathId, event_id: PathEvent, account: OfAccount = None
    ) -> dict[str, Any]:
        """What the provider sent for one event, byte for byte, and whether a key in force now verifies its signature.

        It is read from Kafka. A post may have events of several accounts: a token that does not cover all accounts
        gets the event's own element alone.
        """
        row = await reader.row(principal, email_id, account)
        found = await raw_events.read(await reader.event(principal, row, event_id))
        return found.as_json(with_body=principal.covers_all)


def _event_key(row: Row) -> queries.EventCursor:
    return queries.EventCursor(_us(row["occurred_at"]), _us(row["received_at"]), row["event_id"])


def _us(at: datetime) -> int:
    """The microseconds since 1970 of a time from ClickHouse, which is in UTC."""
    return (at.replace(tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1)


def _is_valid_event(key: queries.EventCursor) -> bool:
    in_range = max(abs(key.occurred_us), abs(key.received_us)) < _MOST_US
    return in_range and EVENT_ID.fullmatch(key.event_id) is not None
