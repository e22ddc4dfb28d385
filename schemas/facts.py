"""Our own facts (requested, decided, dispatched), decoded for the fold.

In:  the value of one record of `sends.*`, and its place in the log.
Out: a `Request`, `Decision`, `Dispatch` or `Content`; or `RecordInvalid`, whose record becomes a dead letter.

"Ahead" and "old" are measured from the record's Kafka timestamp, never from a clock, so that a rebuild judges as the
first reading did.
"""

from typing import Annotated, Final, Literal, NamedTuple

import msgspec
import orjson

from schemas import decoding
from schemas.addresses import address_key
from schemas.decoding import Id
from schemas.errors import RecordInvalid
from schemas.events import Event, EventType, Place
from schemas.identity import fact_id, sent_at_us
from schemas.records import MAX_CONTENT_BYTES, MAX_REQUEST_BYTES, valid_provider_id
from schemas.times import DAY_US

__all__ = [
    "REFUSALS",
    "Content",
    "Decision",
    "Dispatch",
    "Request",
    "decode_content",
    "decode_decision",
    "decode_dispatch",
    "decode_request",
]

YEAR_2020_US: Final = 1_577_836_800_000_000
REFUSALS: Final = frozenset({"blocked", "declined", "not_opted_in", "suppressed", "quota_exceeded"})


class Request(NamedTuple):
    """The attributes of a message, as one request states them."""

    account_id: str
    message_id: str
    content_hash: str
    requested_us: int
    channel: str
    template_id: str
    template_name: str
    template_kind: str
    recipient_kind: str
    recipient_id: str
    recipient_name: str
    to: str
    to_key: str
    cc: tuple[str, ...]
    sender: str
    subject: str
    appointment_id: str
    place: Place
    extra: str
    """The request as JSON in our field names: what the timeline shows and a fresh fold reads."""
    unsubscribe_group: str = ""


class Decision(NamedTuple):
    """What was decided; `request` is the request that was decided."""

    account_id: str
    message_id: str
    decision_hash: str
    decided_us: int
    outcome: str
    reason: str
    detail: str
    evidence: tuple[str, ...]
    request: Request
    place: Place


class Dispatch(NamedTuple):
    """That a provider took the message, under an id that is cut as the ids in its events are."""

    account_id: str
    message_id: str
    dispatch_hash: str
    dispatched_us: int
    provider: str
    provider_message_id: str
    place: Place


class Content(NamedTuple):
    """What was sent: HTML, text or both."""

    account_id: str
    message_id: str
    html: str
    text: str
    place: Place


class _Template(msgspec.Struct, gc=False):
    id: Id
    name: str
    kind: Literal["transactional", "marketing", "invitation"]
    unsubscribe_group: Id | None = None


class _Recipient(msgspec.Struct, gc=False):
    kind: Literal["client", "staff"]
    id: Id
    name: str | None = None


class _Request(msgspec.Struct):
    message_id: str
    account_id: Id
    channel: Literal["email", "sms"]
    template: _Template
    recipient: _Recipient
    to: str
    requested_at: str
    cc: list[str] | None = None
    sender: Annotated[str | None, msgspec.Meta()] = msgspec.field(name="from", default=None)
    subject: str | None = None
    appointment_id: Id | None = None
    metadata: dict[str, str] | None = None


class _Decision(msgspec.Struct):
    message_id: str
    account_id: Id
    outcome: Literal["approved", "blocked", "declined", "not_opted_in", "suppressed", "quota_exceeded"]
    reason: str
    detail: str
    evidence: list[Id]
    decided_at: str
    channel: Literal["email", "sms"]
    to: str
    request: _Request


class _Content(msgspec.Struct):
    message_id: str
    account_id: Id
    html: str | None = None
    text: str | None = None


class _Dispatched(msgspec.Struct):
    message_id: str
    account_id: Id
    provider: Literal["sendgrid", "twilio", "postmark"]
    provider_message_id: Id
    dispatched_at: str


_decode_request: Final = msgspec.json.Decoder(_Request).decode
_decode_decision: Final = msgspec.json.Decoder(_Decision).decode
_decode_content: Final = msgspec.json.Decoder(_Content).decode
_decode_dispatched: Final = msgspec.json.Decoder(_Dispatched).decode


@decoding.decoder
def decode_request(value: bytes, place: Place, *, decision_days: int) -> Request:
    """Return the request of one record of `sends.requested`. Raises RecordInvalid."""
    if len(value) > MAX_REQUEST_BYTES:
        raise RecordInvalid("record_too_large", f"{len(value)} bytes; a request has at most {MAX_REQUEST_BYTES}", place)
    request = _request(_decode_request(value), place)
    sent_us = sent_at_us(request.message_id)
    if sent_us < YEAR_2020_US:
        raise ValueError("message_id: its time is before 2020")
    if sent_us < place.received_us - decision_days * DAY_US:
        raise ValueError(f"message_id: its time is more than {decision_days} days old")
    _check_requested_at(request)
    return request


@decoding.decoder
def decode_decision(value: bytes, place: Place) -> Decision:
    """Return the decision of one record of `sends.decided`. Raises RecordInvalid."""
    raw = _decode_decision(value)
    request = _request(raw.request, place)
    account_id, message_id = decoding.account_id(raw.account_id), decoding.message_id(raw.message_id, place)
    if (request.account_id, request.message_id) != (account_id, message_id):
        raise ValueError("request: is another message's")
    _check_requested_at(request)
    decided_us = decoding.time_us("decided_at", raw.decided_at, place)
    decoding.nonblank("to", raw.to)
    evidence = decoding.id_texts(raw.evidence)
    natural = ["decided", account_id, message_id, raw.outcome, raw.reason, raw.detail, evidence, decided_us]
    natural += [raw.channel, raw.to, request.content_hash]
    return Decision(
        account_id,
        message_id,
        fact_id(natural),
        decided_us,
        raw.outcome,
        raw.reason,
        raw.detail,
        tuple(evidence),
        request,
        place,
    )


@decoding.decoder
def decode_dispatch(value: bytes, place: Place) -> Dispatch:
    """Return the dispatch of one record of `sends.dispatched`. Raises RecordInvalid."""
    raw = _decode_dispatched(value)
    account_id, message_id = decoding.account_id(raw.account_id), decoding.message_id(raw.message_id, place)
    dispatched_us = decoding.time_us("dispatched_at", raw.dispatched_at, place)
    provider_id = valid_provider_id(raw.provider, decoding.id_text(raw.provider_message_id))
    hashed = fact_id(["dispatched", account_id, message_id, raw.provider, provider_id, dispatched_us])
    return Dispatch(account_id, message_id, hashed, dispatched_us, raw.provider, provider_id, place)


@decoding.decoder
def decode_content(value: bytes, place: Place) -> Content:
    """Return what one record of `sends.content` holds. Raises RecordInvalid."""
    raw = _decode_content(value)
    account_id, message_id = decoding.account_id(raw.account_id), decoding.message_id(raw.message_id, place)
    html, text = raw.html or "", raw.text or ""
    size = len(html.encode()) + len(text.encode())
    if size > MAX_CONTENT_BYTES:
        raise RecordInvalid("record_too_large", f"html and text have {size} bytes; {MAX_CONTENT_BYTES} are kept", place)
    return Content(account_id, message_id, html, text, place)


def _check_requested_at(request: Request) -> None:
    """Check that a request is of its id's day: else it would evade a block, or the end of a trial."""
    if abs(request.requested_us - sent_at_us(request.message_id)) > DAY_US:
        raise ValueError("requested_at: is more than a day from the time of the message_id")


def _request(raw: _Request, place: Place) -> Request:
    account_id, message_id = decoding.account_id(raw.account_id), decoding.message_id(raw.message_id, place)
    decoding.nonblank("to", raw.to)
    requested_us = decoding.time_us("requested_at", raw.requested_at, place)
    template, recipient, cc = raw.template, raw.recipient, raw.cc or []
    template_id, recipient_id = decoding.id_text(template.id), decoding.id_text(recipient.id)
    group, appointment_id = decoding.id_or_blank(template.unsubscribe_group), decoding.id_or_blank(raw.appointment_id)
    content = {
        "requested_us": requested_us,
        "channel": raw.channel,
        "template_id": template_id,
        "template_name": template.name,
        "template_kind": template.kind,
        "unsubscribe_group": group,
        "recipient_kind": recipient.kind,
        "recipient_id": recipient_id,
        "recipient_name": recipient.name or "",
        "to": raw.to,
        "cc": cc,
        "from": raw.sender or "",
        "subject": raw.subject or "",
        "appointment_id": appointment_id,
        "metadata": raw.metadata or {},
    }
    extra = orjson.dumps(content, option=orjson.OPT_SORT_KEYS)
    return Request(
        account_id,
        message_id,
        fact_id(["requested", account_id, message_id, extra.decode()]),
        requested_us,
        raw.channel,
        template_id,
        template.name,
        template.kind,
        recipient.kind,
        recipient_id,
        recipient.name or "",
        raw.to,
        address_key(raw.to, raw.channel),
        tuple(cc),
        raw.sender or "",
        raw.subject or "",
        appointment_id,
        place,
        extra.decode(),
        group,
    )


def _event(fact_hash: str, kind: EventType, pair: tuple[str, str], at_us: int, place: Place, **said: str) -> Event:
    return Event(
        event_id=fact_hash,
        provider=said.get("provider", ""),
        type=kind.value,
        account_id=pair[0],
        message_id=pair[1],
        provider_message_id=said.get("provider_message_id", ""),
        provider_event_id="",
        address=said.get("address", ""),
        occurred_us=at_us,
        received_us=place.received_us,
        code=said.get("code", ""),
        enhanced_code="",
        reason=said.get("reason", ""),
        classification=said.get("classification", ""),
        fault="",
        machine=False,
        url="",
        user_agent="",
        ip="",
        attempt="",
        group="",
        extra=said.get("extra", ""),
        topic=place.topic,
        partition=place.partition,
        offset=place.offset,
        position=0,
    )


def event_of(fact: Request | Decision | Dispatch) -> Event:
    """Return the fact as an event of its message's timeline, with all that a fresh fold needs in `extra`."""
    pair = (fact.account_id, fact.message_id)
    match fact:
        case Request():
            return _event(
                fact.content_hash,
                EventType.REQUESTED,
                pair,
                fact.requested_us,
                fact.place,
                address=fact.to_key,
                extra=fact.extra,
            )
        case Decision():
            return _event(
                fact.decision_hash,
                EventType.DECIDED,
                pair,
                fact.decided_us,
                fact.place,
                address=fact.request.to_key,
                code=fact.reason,
                reason=fact.detail,
                classification=fact.outcome,
                extra=orjson.dumps(
                    {"evidence": fact.evidence, "request": orjson.Fragment(fact.request.extra)}
                ).decode(),
            )
        case Dispatch():
            return _event(
                fact.dispatch_hash,
                EventType.DISPATCHED,
                pair,
                fact.dispatched_us,
                fact.place,
                provider=fact.provider,
                provider_message_id=fact.provider_message_id,
            )
