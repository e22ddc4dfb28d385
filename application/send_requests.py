"""Parses send requests into records.

In:  JSON: one SendRequest or a list, each with an optional `content{html?, text?}`; the principal, and the time.
Out: for each, in the same order, a record of `sends.requested` and, with content, one of `sends.content`. All or none:
a RequestError names the invalid ones, up to 100 faults.

Omitted fields are derived, so that a repeat makes the same record: the id from the idempotency key, the time from the
id.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from typing import Any, Final, NamedTuple

import orjson
from pydantic import ValidationError

from application.errors import MAX_FAULTS, FieldsInvalid, ValidationFault
from application.fields import faults_of, unknown_faults
from application.principals import Principal, no_such_account
from application.validation import validate_record
from application.writing import OutgoingRecord
from schemas.decoding.ids import account_id_or_blank, message_id_or_blank, sent_at_us, uuid7
from schemas.decoding.sends import Request, decode_request
from schemas.decoding.times import DAY_US, rfc3339, rfc3339_us
from schemas.records import MAX_CONTENT_BYTES, Record, SendRequest, id_text
from schemas.topics import SENDS_CONTENT, SENDS_REQUESTED

__all__ = ["KEY_HEADER", "MAX_KEY_CHARACTERS", "MAX_SENDS", "MessageKey", "PreparedSend", "SendContext", "parse_sends"]

MAX_SENDS: Final = 1000
MAX_KEY_CHARACTERS: Final = 255
KEY_HEADER: Final = "Idempotency-Key"

_FIELDS: Final = tuple(field.alias or name for name, field in SendRequest.model_fields.items())


class MessageKey(NamedTuple):
    """The key of a message."""

    account_id: str
    message_id: str


class PreparedSend(NamedTuple):
    """One valid request, ready to be written."""

    message_key: MessageKey
    request: bytes
    content: bytes | None
    decoded: Request
    """The value that the gate decodes from `request`."""
    key: bytes | None
    """Hash of what its id was derived from: the idempotency key, the account and the index in the list."""

    def records(self, actor: str) -> list[OutgoingRecord]:
        """Return the records to write."""
        content = (
            [OutgoingRecord.by_actor(actor, SENDS_CONTENT, self.message_key.message_id, self.content)]
            if self.content
            else []
        )
        return [*content, OutgoingRecord.by_actor(actor, SENDS_REQUESTED, self.message_key.message_id, self.request)]


@dataclass(frozen=True, slots=True)
class SendContext:
    """The principal, the idempotency key, and the time of arrival."""

    principal: Principal
    key: str | None
    arrived_us: int
    decision_days: int


class _Content(Record):
    html: str | None = None
    text: str | None = None


class _TooLarge(Exception):
    """The content has more than 1 MiB."""


class _Id(NamedTuple):
    """The id of a request, and the field to name in a fault if the id is invalid."""

    message_id: object
    field: str = "message_id"
    key: bytes | None = None


def parse_sends(body: object, context: SendContext) -> list[PreparedSend]:
    """Return the requests of a body.

    Raises RequestError with `no-such-account` if one names an account that the principal does not cover; FieldsInvalid
    with `too-large` if a content is too large, and with `invalid-body` otherwise.
    """
    requests = body if isinstance(body, list) else [body]
    if not 1 <= len(requests) <= MAX_SENDS:
        raise FieldsInvalid([ValidationFault("body", f"must have 1 to {MAX_SENDS} requests; it has {len(requests)}")])
    accounts = [_account(raw, context.principal) for raw in requests]
    sends: list[PreparedSend] = []
    too_large: list[ValidationFault] = []
    faults: list[ValidationFault] = []
    for index, (raw, account) in enumerate(zip(requests, accounts, strict=True)):
        try:
            sends.append(_send(raw, account, index, context))
        except _TooLarge as error:
            too_large.append(ValidationFault("content", str(error), {"index": index}))
        except FieldsInvalid as error:
            faults += [fault._replace(place={"index": index}) for fault in error.faults]
        if len(faults) >= MAX_FAULTS:
            break
    if too_large:
        raise FieldsInvalid(too_large, code="too-large")
    if faults or (faults := _duplicate_ids(sends)):
        raise FieldsInvalid(faults)
    return sends


def _account(raw: object, principal: Principal) -> object:
    """The account of a request; by default the principal's only account. Raises RequestError."""
    if not isinstance(raw, dict):
        return None
    account = id_text(raw.get("account_id"))
    if account is None:
        return principal.only_account
    if isinstance(account, str) and account_id_or_blank(account) and not principal.covers(account):
        raise no_such_account()
    return account


def _send(raw: object, account: object, index: int, context: SendContext) -> PreparedSend:
    """One request. Raises FieldsInvalid, or _TooLarge."""
    if not isinstance(raw, dict):
        raise FieldsInvalid([ValidationFault("", "must be an object")])
    if account is None:
        raise FieldsInvalid([ValidationFault("account_id", "must be given: the token covers several accounts")])
    chosen = _id(raw, str(account), index, context)
    requested_at = raw.get("requested_at")
    if requested_at is None:
        requested_at = _time_of(chosen.message_id, context.arrived_us)
    fields = {name: value for name, value in raw.items() if name != "content"}
    filled = fields | {"account_id": account, "message_id": chosen.message_id, "requested_at": requested_at}
    decode = partial(decode_request, decision_days=context.decision_days)
    try:
        good = validate_record(
            SendRequest, filled, SENDS_REQUESTED, decode, now_us=context.arrived_us, known=(*_FIELDS, "content")
        )
    except FieldsInvalid as error:
        raise FieldsInvalid([_with_field(chosen.field, fault) for fault in error.faults]) from None
    message_key = MessageKey(good.record.account_id, good.record.message_id)
    return PreparedSend(message_key, good.value, _content(raw.get("content"), message_key), good.decoded, chosen.key)


def _duplicate_ids(sends: Sequence[PreparedSend]) -> list[ValidationFault]:
    """A fault for each id that occurs twice in a list: only one of two contents under an id would be decided."""
    first: dict[str, int] = {}
    faults = []
    for index, send in enumerate(sends):
        before = first.setdefault(send.message_key.message_id, index)
        if before != index:
            faults.append(
                ValidationFault(
                    "message_id", f"is the same as at index {before}: each request needs its own", {"index": index}
                )
            )
    return faults


def _id(raw: Mapping[str, object], account: str, index: int, context: SendContext) -> _Id:
    """The id of a request; or one derived from the idempotency key, so that a repeat has the same id; or a new one.

    The time of a derived id is that of the key, if the key is a UUID version 7; else it is `requested_at`.
    """
    if raw.get("message_id") is not None:
        return _Id(raw["message_id"])
    if context.key is None:
        return _Id(uuid7(context.arrived_us, os.urandom(10)))
    key = context.key.strip()
    if len(key) > 1 and key[0] == key[-1] == '"':  # a string of RFC 8941 is quoted
        key = key[1:-1]
    if not 1 <= len(key) <= MAX_KEY_CHARACTERS:
        raise FieldsInvalid(
            [ValidationFault(KEY_HEADER, f"must have 1 to {MAX_KEY_CHARACTERS} characters; it has {len(key)}")]
        )
    chosen = message_id_or_blank(key)
    entropy = blake2b(orjson.dumps(["sends", account, chosen or key, index]), digest_size=10).digest()
    if chosen:
        return _Id(uuid7(sent_at_us(chosen), entropy), KEY_HEADER, entropy)
    return _Id(uuid7(_requested_us(raw.get("requested_at")), entropy), "requested_at", entropy)


def _requested_us(requested_at: object) -> int:
    """The time of a request whose key contains no time. Raises FieldsInvalid."""
    if requested_at is None:
        fields = (
            f"must be given with an {KEY_HEADER} that is no UUID version 7: it is the time of the id made of the key"
        )
        raise FieldsInvalid([ValidationFault("requested_at", fields)])
    us = rfc3339_us(requested_at) if isinstance(requested_at, str) else None
    if us is None:
        raise FieldsInvalid([ValidationFault("requested_at", "must be an RFC 3339 time, like 2026-11-24T09:30:00Z")])
    return us


def _with_field(field: str, fault: ValidationFault) -> ValidationFault:
    """A fault of a derived id, under the name of the field that it was derived from."""
    return fault._replace(field=field) if fault.field == "message_id" else fault


def _time_of(message_id: object, arrived_us: int) -> str:
    """The time inside an id; for an invalid id the time of arrival, so that only the id is reported."""
    chosen = message_id_or_blank(message_id) if isinstance(message_id, str) else ""
    return rfc3339(min(sent_at_us(chosen), arrived_us + DAY_US) if chosen else arrived_us)


def _content(raw: object, message_key: MessageKey) -> bytes | None:
    """The record of the content; None without content. Raises FieldsInvalid or _TooLarge."""
    if raw is None:
        return None
    if not isinstance(raw, dict):
        raise FieldsInvalid([ValidationFault("content", "must be an object of html, text or both")])
    size = _bytes_of(raw)
    if size > MAX_CONTENT_BYTES:
        raise _TooLarge(f"has {size} bytes; html and text together may have {MAX_CONTENT_BYTES}")
    if unknown := unknown_faults(_Content, raw, prefix="content."):
        raise FieldsInvalid(unknown)
    try:
        fields = _Content.model_validate(raw).model_dump(exclude_none=True)
    except ValidationError as error:
        raise FieldsInvalid([fault._replace(field=f"content.{fault.field}") for fault in faults_of(error)]) from None
    return orjson.dumps(message_key._asdict() | fields) if any(fields.values()) else None


def _bytes_of(content: Mapping[str, Any]) -> int:
    parts: Sequence[Any] = (content.get("html"), content.get("text"))
    return sum(len(part.encode()) for part in parts if isinstance(part, str))
