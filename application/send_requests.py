"""What a caller asks to be sent, read into the records that say so.

In:  JSON: one SendRequest or a list of them, each with `content{html?, text?}` where it likes; who asks,
and when.
Out: for each, in the same order, a record of `sends.requested` and perhaps one of `sends.content`. All or none: a
RequestError names those that are wrong, up to the hundredth fault.

What a request omits follows from what it has, so that a repeat makes the same record: its id from the caller's key, its
time from its id.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from typing import Any, Final, NamedTuple

import orjson
from pydantic import ValidationError

from application.checking import checked
from application.errors import MAX_FAULTS, FieldsInvalid, ValidationFault
from application.fields import faults_of, unknown_faults
from application.principals import Principal, no_account
from application.writing import Written
from schemas.facts import Request, decode_request
from schemas.identity import account_id_or_blank, message_id_or_blank, sent_at_us, uuid7
from schemas.records import MAX_CONTENT_BYTES, Record, SendRequest, id_text
from schemas.times import DAY_US, rfc3339, rfc3339_us
from schemas.topics import SENDS_CONTENT, SENDS_REQUESTED

__all__ = ["KEY_HEADER", "MAX_KEY_CHARACTERS", "MAX_SENDS", "Asking", "Pair", "Send", "read_sends"]

MAX_SENDS: Final = 1000
MAX_KEY_CHARACTERS: Final = 255
KEY_HEADER: Final = "Idempotency-Key"

_FIELDS: Final = tuple(field.alias or name for name, field in SendRequest.model_fields.items())


class Pair(NamedTuple):
    """What a message is known by."""

    account_id: str
    message_id: str


class Send(NamedTuple):
    """One request that is good, and what belongs to it."""

    pair: Pair
    request: bytes
    content: bytes | None
    decoded: Request
    """What the gate will read in `request`."""
    key: bytes | None
    """What its id was made of, hashed: the caller's key, the account and the place in the list."""

    def records(self, actor: str) -> list[Written]:
        """What is to be written for it."""
        content = [Written.by(actor, SENDS_CONTENT, self.pair.message_id, self.content)] if self.content else []
        return [*content, Written.by(actor, SENDS_REQUESTED, self.pair.message_id, self.request)]


@dataclass(frozen=True, slots=True)
class Asking:
    """Who asks, with which key, and when."""

    principal: Principal
    key: str | None
    arrived_us: int
    decision_days: int


class _Content(Record):
    html: str | None = None
    text: str | None = None


class _TooLarge(Exception):
    """A content of more than 1 MiB."""


class _Id(NamedTuple):
    """The id of a request, and which field is to blame if it can't be one."""

    message_id: object
    blamed: str = "message_id"
    key: bytes | None = None


def read_sends(body: object, asking: Asking) -> list[Send]:
    """Return the requests of a body.

    Raises RequestError: `no-such-account` where one names another account; FieldsInvalid, with the code `too-large`
    where a content is too large, and `invalid-body` for all else.
    """
    asked = body if isinstance(body, list) else [body]
    if not 1 <= len(asked) <= MAX_SENDS:
        raise FieldsInvalid([ValidationFault("body", f"must have 1 to {MAX_SENDS} requests; it has {len(asked)}")])
    accounts = [_account(raw, asking.principal) for raw in asked]
    sends: list[Send] = []
    too_large: list[ValidationFault] = []
    faults: list[ValidationFault] = []
    for index, (raw, account) in enumerate(zip(asked, accounts, strict=True)):
        try:
            sends.append(_send(raw, account, index, asking))
        except _TooLarge as error:
            too_large.append(ValidationFault("content", str(error), {"index": index}))
        except FieldsInvalid as error:
            faults += [fault._replace(place={"index": index}) for fault in error.faults]
        if len(faults) >= MAX_FAULTS:
            break
    if too_large:
        raise FieldsInvalid(too_large, code="too-large")
    if faults or (faults := _repeated(sends)):
        raise FieldsInvalid(faults)
    return sends


def _account(raw: object, principal: Principal) -> object:
    """The account that a request is for: its own, or the only one of the principal. Raises RequestError."""
    if not isinstance(raw, dict):
        return None
    account = id_text(raw.get("account_id"))
    if account is None:
        return principal.only_account
    if isinstance(account, str) and account_id_or_blank(account) and not principal.covers(account):
        raise no_account()
    return account


def _send(raw: object, account: object, index: int, asking: Asking) -> Send:
    """One request. Raises FieldsInvalid, or _TooLarge."""
    if not isinstance(raw, dict):
        raise FieldsInvalid([ValidationFault("", "must be an object")])
    if account is None:
        raise FieldsInvalid([ValidationFault("account_id", "must be given: the token covers several accounts")])
    known = _id(raw, str(account), index, asking)
    requested_at = raw.get("requested_at")
    if requested_at is None:
        requested_at = _time_of(known.message_id, asking.arrived_us)
    said = {name: value for name, value in raw.items() if name != "content"}
    filled = said | {"account_id": account, "message_id": known.message_id, "requested_at": requested_at}
    decode = partial(decode_request, decision_days=asking.decision_days)
    try:
        good = checked(
            SendRequest, filled, SENDS_REQUESTED, decode, now_us=asking.arrived_us, known=(*_FIELDS, "content")
        )
    except FieldsInvalid as error:
        raise FieldsInvalid([_blaming(known.blamed, fault) for fault in error.faults]) from None
    pair = Pair(good.record.account_id, good.record.message_id)
    return Send(pair, good.value, _content(raw.get("content"), pair), good.decoded, known.key)


def _repeated(sends: Sequence[Send]) -> list[ValidationFault]:
    """The ids that a list has twice: of two contents under one id, only one would be decided."""
    first: dict[str, int] = {}
    faults = []
    for index, send in enumerate(sends):
        before = first.setdefault(send.pair.message_id, index)
        if before != index:
            faults.append(
                ValidationFault("message_id", f"is that of index {before}, too: give each its own", {"index": index})
            )
    return faults


def _id(raw: Mapping[str, object], account: str, index: int, asking: Asking) -> _Id:
    """The id that a request has; or one made of the caller's key, so that a repeat has the same; or a new one.

    The time of a made one is that of a key that is a UUID version 7, and `requested_at` for any other key.
    """
    if raw.get("message_id") is not None:
        return _Id(raw["message_id"])
    if asking.key is None:
        return _Id(uuid7(asking.arrived_us, os.urandom(10)))
    key = asking.key.strip()
    if len(key) > 1 and key[0] == key[-1] == '"':  # a header that is a text of RFC 8941 has quotes around it
        key = key[1:-1]
    if not 1 <= len(key) <= MAX_KEY_CHARACTERS:
        raise FieldsInvalid(
            [ValidationFault(KEY_HEADER, f"must have 1 to {MAX_KEY_CHARACTERS} characters; it has {len(key)}")]
        )
    known = message_id_or_blank(key)
    entropy = blake2b(orjson.dumps(["sends", account, known or key, index]), digest_size=10).digest()
    if known:
        return _Id(uuid7(sent_at_us(known), entropy), KEY_HEADER, entropy)
    return _Id(uuid7(_requested_us(raw.get("requested_at")), entropy), "requested_at", entropy)


def _requested_us(requested_at: object) -> int:
    """The time of a request whose key has none. Raises FieldsInvalid."""
    if requested_at is None:
        said = f"must be given with an {KEY_HEADER} that is no UUID version 7: it is the time of the id made of the key"
        raise FieldsInvalid([ValidationFault("requested_at", said)])
    us = rfc3339_us(requested_at) if isinstance(requested_at, str) else None
    if us is None:
        raise FieldsInvalid([ValidationFault("requested_at", "must be an RFC 3339 time, like 2026-11-24T09:30:00Z")])
    return us


def _blaming(blamed: str, fault: ValidationFault) -> ValidationFault:
    """What is wrong with an id that we made is wrong with what we made it of."""
    return fault._replace(field=blamed) if fault.field == "message_id" else fault


def _time_of(message_id: object, arrived_us: int) -> str:
    """The time inside an id; where it is none, some time that is no fault of its own."""
    known = message_id_or_blank(message_id) if isinstance(message_id, str) else ""
    return rfc3339(min(sent_at_us(known), arrived_us + DAY_US) if known else arrived_us)


def _content(raw: object, pair: Pair) -> bytes | None:
    """The record of what was sent; None where there is nothing of it. Raises FieldsInvalid or _TooLarge."""
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
        said = _Content.model_validate(raw).model_dump(exclude_none=True)
    except ValidationError as error:
        raise FieldsInvalid([fault._replace(field=f"content.{fault.field}") for fault in faults_of(error)]) from None
    return orjson.dumps(pair._asdict() | said) if any(said.values()) else None


def _bytes_of(content: Mapping[str, Any]) -> int:
    parts: Sequence[Any] = (content.get("html"), content.get("text"))
    return sum(len(part.encode()) for part in parts if isinstance(part, str))
