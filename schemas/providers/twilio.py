"""Twilio's posts about messages as events: status callbacks, and texts that people sent to our numbers.

In:  the body of one POST, a form or a JSON object, and the URL that it was posted to (header `request_url`), whose
     query has our ids: Twilio echoes nothing else of ours.
Out: one `Event` or one `Bad`.
Promise: pure and total, and no field is lost: what has no column is in `extra`.

Twilio gives an event neither an id nor a time. So an event is named by the message and what is said of it, and it
occurred when it arrived; `RawDlrDoneDate` is the carrier's clock, to the minute and without a zone, and stays in
`extra` as a hint.

The mapping, the ids and the limits are told in docs/reference/providers/twilio.md. Source of the field names:
twilio.com/docs/messaging/guides/track-outbound-message-status and twilio.com/docs/messaging/guides/webhook-request
(copies read 2026-11-25).
"""

from collections.abc import Sequence
from typing import Any, Final

import orjson

from schemas.addresses import phone_key
from schemas.echoed_ids import ECHOED
from schemas.events import Bad, Event, EventType, Fault, Headers, Parsed, Place
from schemas.faults import enhanced_code_in, fault_of
from schemas.form_values import form_pairs
from schemas.identity import account_id_or_blank, fact_id, message_id_or_blank
from schemas.json_values import decode_json, text_of
from schemas.provider_ids import twilio_id_key

__all__ = ["to_events"]

_TYPES: Final = {
    "accepted": EventType.PROCESSED,
    "scheduled": EventType.PROCESSED,
    "queued": EventType.PROCESSED,
    "sending": EventType.PROCESSED,
    "sent": EventType.SENT,
    "delivered": EventType.DELIVERED,
    "read": EventType.OPENED,
    "undelivered": EventType.FAILED,
    "failed": EventType.FAILED,
    "canceled": EventType.DROPPED,
}
_INBOUND: Final = frozenset({"receiving", "received"})
"""The statuses of a text that somebody sent to us."""

_OPT_OUT_TYPES: Final = {"stop": EventType.OPTED_OUT, "start": EventType.OPTED_IN}
_KEYWORDS: Final = {
    **dict.fromkeys(("stop", "unsubscribe", "end", "quit", "stopall", "revoke", "optout", "cancel"), "stop"),
    **dict.fromkeys(("start", "yes", "unstop"), "start"),
}
"""Twilio's default keywords, each with the `OptOutType` that it would have."""

_FAULTS: Final = {
    code: fault
    for fault, codes in {
        Fault.RECIPIENT: "30005 30006 21211 21612 21614 21635 63024",
        Fault.MAILBOX: "30003 30004",
        Fault.SENDER: "30002 30007 30018 30022 30023 30024 30027 30032 30034 30450 30610 30640"
        " 21408 21606 21608 21611 21617 63016 63018",
        Fault.INFRASTRUCTURE: "30001 30009 30010 30011 30017 30019 30410 30500",
    }.items()
    for code in codes.split()
}
RECIPIENT_CODES: Final = frozenset(code for code, fault in _FAULTS.items() if fault is Fault.RECIPIENT)
"""The codes of failures that are the number's fault, for good."""

# Of each row the first that says something counts; the later ones are older names, or other channels' names, for it.
_SIDS: Final = ("MessageSid", "SmsSid", "SmsMessageSid")
_STATUSES: Final = ("MessageStatus", "SmsStatus")
_REASONS: Final = ("ErrorMessage", "ChannelStatusMessage")

_Pairs = list[tuple[str, str]]


class _Unreadable(Exception):
    """A body that says nothing to us: the reason (a stable code) and the detail."""


def to_events(body: bytes, place: Place, headers: Headers = ()) -> Parsed:
    """Return what one POST of Twilio says. Never raises."""
    try:
        pairs = _pairs(body, _header(headers, "content_type"))
        return Parsed([_event(pairs, _header(headers, "request_url"), place)], [])
    except _Unreadable as why:
        reason, detail = why.args
    except Exception as error:  # a mistake of ours must not stop the log
        reason, detail = "body_failed", f"{type(error).__name__}: {error}"
    return Parsed([], [Bad(reason, detail, body, None)])


def _event(pairs: _Pairs, url: str, place: Place) -> Event:
    """Return the event of one post. What is left in `rest` at the end has no column: it is the `extra`."""
    rest, repeated = _first_values(pairs)
    status = _said(rest, _STATUSES)
    word = status.strip().lower()
    if not word and _word(rest, "EventType") == "read":  # another channel's receipt, where no status says it too
        status, word = rest.pop("EventType"), "read"
    inbound = word in _INBOUND or (not word and bool(_word(rest, "Body") or _word(rest, "OptOutType")))
    if inbound:
        type_ = _type_of_text(rest)
    elif word:
        type_ = _TYPES.get(word, EventType.UNKNOWN)
    else:
        raise _missing(pairs)

    sid = twilio_id_key(_said(rest, _SIDS))
    account_id, message_id, unused = _our_ids(url, inbound)
    rest.update(unused)

    name = "From" if inbound else "To"
    said_address = rest.pop(name, "")
    address = phone_key(said_address)
    if address != said_address:
        rest[name] = said_address

    code = rest.pop("ErrorCode", "").strip()
    if code and not code.strip("0"):  # 0 is no error
        rest["ErrorCode"], code = code, ""
    reason = _said(rest, _REASONS)
    enhanced_code = enhanced_code_in(code) or enhanced_code_in(reason)

    named = sid or (account_id and f"sl:{account_id}/{message_id}") or _named_by_all(pairs)
    fact = ["twilio", named]
    if not inbound:
        fact += [word, code, rest.get("RawDlrDoneDate", "").strip()]

    rest.update(repeated)
    rest["occurred_at"] = "received_at"
    return Event._make(  # half the price of its constructor
        (
            fact_id(fact),
            "twilio",
            type_.value,
            account_id,
            message_id,
            sid,
            "",
            address,
            place.received_us,
            place.received_us,
            code,
            enhanced_code,
            reason,
            status,
            fault_of(type_, _FAULTS.get(code), enhanced_code),
            False,
            "",
            "",
            "",
            "",
            "",
            orjson.dumps(rest, option=orjson.OPT_SORT_KEYS).decode(),
            place.topic,
            place.partition,
            place.offset,
            0,
        )
    )


def _type_of_text(fields: dict[str, Any]) -> EventType:
    """Return what a text to us means. Where Twilio itself judged it (Advanced Opt-Out), our keywords don't count."""
    judged = _word(fields, "OptOutType") or _KEYWORDS.get(_word(fields, "Body"), "")
    return _OPT_OUT_TYPES.get(judged, EventType.UNKNOWN)


def _our_ids(url: str, inbound: bool) -> tuple[str, str, dict[str, Any]]:
    """Return account id, message id, and what the query says of them that did not count, to stay visible.

    Ids in the URL of an inbound text name no message: a person wrote it, and the URL is the number's own.
    """
    query = url.partition("#")[0].partition("?")[2]
    said, repeated = _first_values(
        [(lowered, value) for name, value in form_pairs(query) if (lowered := name.lower()) in ECHOED]
    )
    account_id = account_id_or_blank(said.get("sl_account", ""))
    message_id = message_id_or_blank(said.get("sl_message", ""))
    if account_id and message_id and not inbound:
        return account_id, message_id, repeated
    return "", "", said | repeated


def _named_by_all(pairs: _Pairs) -> str:
    """Return a name for the fact of a post without any id: all that it says, in one order."""
    return "form:" + orjson.dumps(sorted(pairs)).decode()


def _first_values(pairs: _Pairs) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the first value of each name; and all values of the names that were given several different ones."""
    values: dict[str, Any] = dict(pairs)
    if len(values) == len(pairs):
        return values, {}
    every: dict[str, list[str]] = {}
    for name, value in pairs:
        every.setdefault(name, []).append(value)
    firsts = {name: given[0] for name, given in every.items()}
    return firsts, {name: given for name, given in every.items() if len(set(given)) > 1}


def _said(fields: dict[str, Any], names: Sequence[str]) -> str:
    """Return the first of these fields that says something, and take out all that say nothing else."""
    said = ""
    for name in names:
        value = fields.get(name)
        if value is None:
            continue
        if not said and value.strip():
            said = value
        if value == said or not value.strip():
            del fields[name]
    return said


def _word(fields: dict[str, Any], name: str) -> str:
    """Return the value of a field as names are compared; blank where there is none."""
    value: str = fields.get(name, "")
    return value.strip().lower() if value else ""


def _missing(pairs: _Pairs) -> _Unreadable:
    if any(name and value for name, value in pairs):
        return _Unreadable(
            "status_missing", "neither `MessageStatus`, `SmsStatus` nor a text with `Body` or `OptOutType`"
        )
    return _Unreadable("body_not_form", "there is no `name=value` in it")


def _pairs(body: bytes, content_type: str) -> _Pairs:
    """Return the names and values of a body. What starts with a brace is JSON, whatever its header says."""
    if body[:1] != b"{" and "json" not in content_type.lower():
        return form_pairs(body.decode("utf-8", "replace"))
    try:
        value = decode_json(body)
        if type(value) is not dict:
            raise _Unreadable("body_not_object", "JSON, but no object")
        return [(name, text_of(part)) for name, part in value.items()]
    except (ValueError, RecursionError, TypeError) as error:  # TypeError: it nests too deep to be written as a text
        raise _Unreadable("body_not_json", str(error)) from error


def _header(headers: Headers, name: str) -> str:
    for key, value in headers:
        if key == name:
            return (value or b"").decode("utf-8", "replace")  # Kafka knows headers without a value
    return ""
