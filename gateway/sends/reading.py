"""What a caller asks to be sent, read into the records that say so.

In:  the JSON of a POST: one SendRequest or a list of them, each with `content{html?, text?}` where it likes; who asks,
and when.
Out: for each, in the same order, a record of `sends.requested` and perhaps one of `sends.content`. All or none: a
Problem names every one that is wrong.

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

from gateway.access import no_account
from gateway.bodies import checked, faults_of
from gateway.problems import Fault, Invalid
from gateway.tokens import Principal
from gateway.writing import Written
from schemas.facts import decode_request
from schemas.identity import account_id_or_blank, message_id_or_blank, sent_at_us, uuid7
from schemas.records import MAX_CONTENT_BYTES, Record, SendRequest, valid_message_id
from schemas.times import DAY_US, rfc3339
from schemas.topics import SENDS_CONTENT, SENDS_REQUESTED

__all__ = ["KEY_HEADER", "MAX_SENDS", "Asking", "Pair", "Send", "read_sends"]

MAX_SENDS: Final = 1000
KEY_HEADER: Final = "Idempotency-Key"


class Pair(NamedTuple):
    """What a message is known by."""

    account_id: str
    message_id: str


class Send(NamedTuple):
    """One request that is good, and what belongs to it."""

    pair: Pair
    request: bytes
    content: bytes | None

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


def read_sends(body: object, asking: Asking) -> list[Send]:
    """Return the requests of a body.

    Raises Problem: 404 where one names another account, 413 where a content is too large, 422 for all else.
    """
    asked = body if isinstance(body, list) else [body]
    if not 1 <= len(asked) <= MAX_SENDS:
        raise Invalid([Fault("body", f"must have 1 to {MAX_SENDS} requests; it has {len(asked)}")])
    accounts = [_account(raw, asking.principal) for raw in asked]
    sends, too_large, faults = [], [], []
    for index, (raw, account) in enumerate(zip(asked, accounts, strict=True)):
        try:
            sends.append(_send(raw, account, index, asking))
        except _TooLarge as error:
            too_large.append(Fault("content", str(error), {"index": index}))
        except Invalid as error:
            faults += [fault._replace(place={"index": index}) for fault in error.faults]
    if too_large:
        raise Invalid(too_large, status=413)
    if faults:
        raise Invalid(faults)
    return sends


def _account(raw: object, principal: Principal) -> object:
    """The account that a request is for: its own, or the only one of the token. Raises Problem 404."""
    if not isinstance(raw, dict):
        return None
    account = raw.get("account_id")
    if account is None:
        return principal.only_account
    if isinstance(account, str) and account_id_or_blank(account) and not principal.covers(account):
        raise no_account()
    return account


def _send(raw: object, account: object, index: int, asking: Asking) -> Send:
    """One request. Raises Invalid, or _TooLarge."""
    if not isinstance(raw, dict):
        raise Invalid([Fault("", "must be an object")])
    if account is None:
        raise Invalid([Fault("account_id", "must be given: the token covers several accounts")])
    message_id = raw.get("message_id")
    made = message_id is None
    if made:
        message_id = _made_id(str(account), index, asking)
    requested_at = raw.get("requested_at")
    if requested_at is None:
        requested_at = _time_of(message_id, asking.arrived_us)
    filled = raw | {"account_id": account, "message_id": message_id, "requested_at": requested_at}
    decode = partial(decode_request, decision_days=asking.decision_days)
    try:
        good = checked(SendRequest, filled, SENDS_REQUESTED, decode, now_us=asking.arrived_us)
    except Invalid as error:
        raise Invalid([_of_key(fault) if made else fault for fault in error.faults]) from None
    pair = Pair(good.record.account_id, good.record.message_id)
    return Send(pair, good.value, _content(raw.get("content"), pair))


def _made_id(account: str, index: int, asking: Asking) -> str:
    """The id of a request that has none: of the caller's key, so that a repeat has the same, or a new one."""
    if asking.key is None:
        return uuid7(asking.arrived_us, os.urandom(10))
    key = asking.key.strip().strip('"')  # a header that is a text of RFC 8941 has quotes around it
    try:
        key = valid_message_id(key)
    except ValueError as error:
        raise Invalid([Fault(KEY_HEADER, str(error))]) from None
    entropy = blake2b(orjson.dumps(["sends", account, key, index]), digest_size=10).digest()
    return uuid7(sent_at_us(key), entropy)


def _of_key(fault: Fault) -> Fault:
    """What is wrong with an id that we made of the caller's key is wrong with the key."""
    return fault._replace(field=KEY_HEADER) if fault.field == "message_id" else fault


def _time_of(message_id: object, arrived_us: int) -> str:
    """The time inside an id; where it is none, some time that is no fault of its own."""
    known = message_id_or_blank(message_id) if isinstance(message_id, str) else ""
    return rfc3339(min(sent_at_us(known), arrived_us + DAY_US) if known else arrived_us)


def _content(raw: object, pair: Pair) -> bytes | None:
    """The record of what was sent; None where there is nothing of it. Raises Invalid or _TooLarge."""
    if raw is None:
        return None
    if not isinstance(raw, dict):
        raise Invalid([Fault("content", "must be an object of html, text or both")])
    size = _bytes_of(raw)
    if size > MAX_CONTENT_BYTES:
        raise _TooLarge(f"has {size} bytes; html and text together may have {MAX_CONTENT_BYTES}")
    try:
        said = _Content.model_validate(raw).model_dump(exclude_none=True)
    except ValidationError as error:
        raise Invalid([fault._replace(field=f"content.{fault.field}") for fault in faults_of(error)]) from None
    return orjson.dumps(pair._asdict() | said) if any(said.values()) else None


def _bytes_of(content: Mapping[str, Any]) -> int:
    parts: Sequence[Any] = (content.get("html"), content.get("text"))
    return sum(len(part.encode()) for part in parts if isinstance(part, str))
