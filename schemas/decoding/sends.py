"""Decoders of our own facts (requests, decisions, dispatches), of message contents, and of their erasure.

In:  the value of one record of `sends.*`, and its source position.
Out: a `Request`, `Decision`, `Dispatch`, `Content` or `Erasure`; or `RecordInvalid`, whose record becomes a dead
letter.

Whether a time is ahead or too old is measured from the record's Kafka timestamp, never from a clock, so that a rebuild
gives the same result as the first run.
"""

from typing import Annotated, Final, Literal, NamedTuple

import msgspec
import orjson

from schemas.decoding import checks
from schemas.decoding.addresses import address_key
from schemas.decoding.checks import Id
from schemas.decoding.ids import fact_id, sent_at_us
from schemas.decoding.times import DAY_US
from schemas.errors import RecordInvalid
from schemas.events import Event, EventType, SourcePosition
from schemas.records import MAX_CONTENT_BYTES, MAX_REQUEST_BYTES, valid_provider_id

__all__ = [
    "REFUSALS",
    "Content",
    "Decision",
    "Dispatch",
    "Erasure",
    "Request",
    "decode_content",
    "decode_decision",
    "decode_dispatch",
    "decode_erasure",
    "decode_request",
]

YEAR_2020_US: Final = 1_577_836_800_000_000
REFUSALS: Final = frozenset({"blocked", "declined", "not_opted_in", "suppressed", "quota_exceeded"})


class Request(NamedTuple):
    """The attributes of a message in one request."""

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
    source: SourcePosition
    extra: str
    """The request as JSON in our field names, for the timeline and for recomputation from the event log."""
    unsubscribe_group: str = ""


class Decision(NamedTuple):
    """A decision of the gate; `request` is the request that was decided."""

    account_id: str
    message_id: str
    decision_hash: str
    decided_us: int
    outcome: str
    reason: str
    detail: str
    evidence: tuple[str, ...]
    request: Request
    source: SourcePosition


class Dispatch(NamedTuple):
    """A provider has accepted a message. `provider_message_id` has the same form as in the provider's events."""

    account_id: str
    message_id: str
    dispatch_hash: str
    dispatched_us: int
    provider: str
    provider_message_id: str
    source: SourcePosition


class Content(NamedTuple):
    """The contents of a message: HTML, text or both."""

    account_id: str
    message_id: str
    html: str
    text: str
    source: SourcePosition


class Erasure(NamedTuple):
    """The contents of a message were erased, by whom and why. `erasure_id` is that of the command."""

    account_id: str
    message_id: str
    erasure_id: str
    erased_us: int
    actor: str
    reason: str
    source: SourcePosition


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


class _Erased(msgspec.Struct):
    erasure_id: Id
    message_id: str
    account_id: Id
    reason: str
    actor: str
    at: str


class _Dispatched(msgspec.Struct):
    message_id: str
    account_id: Id
    provider: Literal["sendgrid", "twilio", "postmark"]
    provider_message_id: Id
    dispatched_at: str


_decode_request: Final = msgspec.json.Decoder(_Request).decode
_decode_decision: Final = msgspec.json.Decoder(_Decision).decode
_decode_content: Final = msgspec.json.Decoder(_Content).decode
_decode_erased: Final = msgspec.json.Decoder(_Erased).decode
_decode_dispatched: Final = msgspec.json.Decoder(_Dispatched).decode


@checks.decoder
def decode_request(value: bytes, source: SourcePosition, *, decision_days: int) -> Request:
    """Return the request of one record of `sends.requested`. Raises RecordInvalid."""
    if len(value) > MAX_REQUEST_BYTES:
        raise RecordInvalid(
            "record_too_large", f"{len(value)} bytes; a request has at most {MAX_REQUEST_BYTES}", source
        )
    request = _request(_decode_request(value), source)
    sent_us = sent_at_us(request.message_id)
    if sent_us < YEAR_2020_US:
        raise ValueError("message_id: its time is before 2020")
    if sent_us < source.received_us - decision_days * DAY_US:
        raise ValueError(f"message_id: its time is more than {decision_days} days old")
    _check_requested_at(request)
    return request


@checks.decoder
def decode_decision(value: bytes, source: SourcePosition) -> Decision:
    """Return the decision of one record of `sends.decided`. Raises RecordInvalid."""
    raw = _decode_decision(value)
    request = _request(raw.request, source)
    account_id, message_id = checks.account_id(raw.account_id), checks.message_id(raw.message_id, source)
    if (request.account_id, request.message_id) != (account_id, message_id):
        raise ValueError("request: must have the same account_id and message_id as the decision")
    _check_requested_at(request)
    decided_us = checks.time_us("decided_at", raw.decided_at, source)
    checks.nonblank("to", raw.to)
    evidence = checks.id_texts(raw.evidence)
    natural_key = ["decided", account_id, message_id, raw.outcome, raw.reason, raw.detail, evidence, decided_us]
    natural_key += [raw.channel, raw.to, request.content_hash]
    return Decision(
        account_id,
        message_id,
        fact_id(natural_key),
        decided_us,
        raw.outcome,
        raw.reason,
        raw.detail,
        tuple(evidence),
        request,
        source,
    )


@checks.decoder
def decode_dispatch(value: bytes, source: SourcePosition) -> Dispatch:
    """Return the dispatch of one record of `sends.dispatched`. Raises RecordInvalid."""
    raw = _decode_dispatched(value)
    account_id, message_id = checks.account_id(raw.account_id), checks.message_id(raw.message_id, source)
    dispatched_us = checks.time_us("dispatched_at", raw.dispatched_at, source)
    provider_id = valid_provider_id(raw.provider, checks.id_text(raw.provider_message_id))
    hashed = fact_id(["dispatched", account_id, message_id, raw.provider, provider_id, dispatched_us])
    return Dispatch(account_id, message_id, hashed, dispatched_us, raw.provider, provider_id, source)


@checks.decoder
def decode_content(value: bytes, source: SourcePosition) -> Content:
    """Return the contents of one record of `sends.content`. Raises RecordInvalid."""
    raw = _decode_content(value)
    account_id, message_id = checks.account_id(raw.account_id), checks.message_id(raw.message_id, source)
    html, text = raw.html or "", raw.text or ""
    size = len(html.encode()) + len(text.encode())
    if size > MAX_CONTENT_BYTES:
        raise RecordInvalid(
            "record_too_large", f"html and text have {size} bytes; {MAX_CONTENT_BYTES} are kept", source
        )
    return Content(account_id, message_id, html, text, source)


@checks.decoder
def decode_erasure(value: bytes, source: SourcePosition) -> Erasure:
    """Return the erasure of one record of `sends.erased`. Raises RecordInvalid."""
    raw = _decode_erased(value)
    return Erasure(
        account_id=checks.account_id(raw.account_id),
        message_id=checks.message_id(raw.message_id, source),
        erasure_id=checks.nonblank("erasure_id", checks.id_text(raw.erasure_id)),
        erased_us=checks.time_us("at", raw.at, source),
        actor=checks.nonblank("actor", raw.actor),
        reason=checks.nonblank("reason", raw.reason),
        source=source,
    )


def _check_requested_at(request: Request) -> None:
    """Check that a request's time is within a day of its id's: else it could evade a block, or the end of a trial."""
    if abs(request.requested_us - sent_at_us(request.message_id)) > DAY_US:
        raise ValueError("requested_at: is more than a day from the time of the message_id")


def _request(raw: _Request, source: SourcePosition) -> Request:
    account_id, message_id = checks.account_id(raw.account_id), checks.message_id(raw.message_id, source)
    checks.nonblank("to", raw.to)
    requested_us = checks.time_us("requested_at", raw.requested_at, source)
    template, recipient, cc = raw.template, raw.recipient, raw.cc or []
    template_id, recipient_id = checks.id_text(template.id), checks.id_text(recipient.id)
    group, appointment_id = checks.id_or_blank(template.unsubscribe_group), checks.id_or_blank(raw.appointment_id)
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
        source,
        extra.decode(),
        group,
    )


def _event(
    event_id: str, type_: EventType, pair: tuple[str, str], at_us: int, source: SourcePosition, **fields: str
) -> Event:
    return Event(
        event_id=event_id,
        provider=fields.get("provider", ""),
        type=type_.value,
        account_id=pair[0],
        message_id=pair[1],
        provider_message_id=fields.get("provider_message_id", ""),
        provider_event_id="",
        address=fields.get("address", ""),
        occurred_us=at_us,
        received_us=source.received_us,
        code=fields.get("code", ""),
        enhanced_code="",
        reason=fields.get("reason", ""),
        classification=fields.get("classification", ""),
        fault="",
        machine=False,
        url="",
        user_agent="",
        ip="",
        attempt="",
        group="",
        extra=fields.get("extra", ""),
        topic=source.topic,
        partition=source.partition,
        offset=source.offset,
        position=0,
    )


def event_of(fact: Request | Decision | Dispatch) -> Event:
    """Return the fact as an event of the timeline. Its `extra` has all that recomputation from the event log needs."""
    pair = (fact.account_id, fact.message_id)
    match fact:
        case Request():
            return _event(
                fact.content_hash,
                EventType.REQUESTED,
                pair,
                fact.requested_us,
                fact.source,
                address=fact.to_key,
                extra=fact.extra,
            )
        case Decision():
            return _event(
                fact.decision_hash,
                EventType.DECIDED,
                pair,
                fact.decided_us,
                fact.source,
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
                fact.source,
                provider=fact.provider,
                provider_message_id=fact.provider_message_id,
            )
