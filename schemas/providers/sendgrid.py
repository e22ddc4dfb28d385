"""SendGrid's Event Webhook as events.

In:  the body of one POST: a JSON list of elements, or one element alone; a UTF-8 byte order mark is accepted.
Out: one `Event` or one `Bad` for each element, in order; a body that is no such list is one `Bad` in all.
Promise: pure and total. One bad element costs only itself, and no field is lost: what has no column is in `extra`.

An `account_status_change` is about the SendGrid account and names no message and no address. It becomes a
`provider_alert`, with its `type` ("compliance_suspend") in `classification`.

The mapping, the ids and the limits are told in docs/reference/providers/sendgrid.md. Source of the field names:
github.com/sendgrid/docs, content/docs/for-developers/tracking-events/event.md (read 2026-11-24).
"""

import json
from functools import lru_cache
from typing import Any, Final

import orjson

from schemas.addresses import email_key
from schemas.events import Bad, Event, EventType, Fault, Headers, Parsed, Place
from schemas.faults import enhanced_code_in, fault_of
from schemas.identity import account_id_or_blank, fact_id, message_id_or_blank
from schemas.json_values import decode_json, text_of
from schemas.times import epoch_us, occurred_us

__all__ = ["cut_message_id", "cut_smtp_id", "to_events"]

_TYPES: Final = {
    "processed": EventType.PROCESSED,
    "deferred": EventType.DEFERRED,
    "delivered": EventType.DELIVERED,
    "bounce": EventType.BOUNCED,  # but see _BLOCKS
    "dropped": EventType.DROPPED,
    "open": EventType.OPENED,
    "click": EventType.CLICKED,
    "spamreport": EventType.COMPLAINED,
    "unsubscribe": EventType.UNSUBSCRIBED,
    "group_unsubscribe": EventType.UNSUBSCRIBED,
    "group_resubscribe": EventType.RESUBSCRIBED,
    "account_status_change": EventType.PROVIDER_ALERT,
}
_BLOCKS: Final = frozenset({"blocked", "expired"})
"""A `bounce` of these types refused one mail, not the address: SendGrid itself doesn't suppress after it."""

_FAULTS: Final = {
    "invalid address": Fault.RECIPIENT,
    "mailbox unavailable": Fault.MAILBOX,
    "content": Fault.SENDER,
    "reputation": Fault.SENDER,
    "frequency or volume too high": Fault.SENDER,
    "technical": Fault.INFRASTRUCTURE,  # the webhook's word
    "technical failure": Fault.INFRASTRUCTURE,  # the suppression API's word for the same
}

_TRUE: Final = frozenset({"true", "1"})
_FALSE: Final = frozenset({"false", "0", ""})


def to_events(body: bytes, place: Place, headers: Headers = ()) -> Parsed:  # noqa: ARG001 (its body says all)
    """Return what one POST of SendGrid says. Never raises."""
    events: list[Event] = []
    bad: list[Bad] = []
    try:
        elements = decode_json(body)
    except (ValueError, RecursionError) as error:
        return Parsed(events, [Bad("body_not_json", str(error), body, None)])
    if type(elements) is dict:
        elements = [elements]
    elif type(elements) is not list:
        return Parsed(events, [Bad("body_not_events", "neither a list nor an object", body, None)])
    for position, element in enumerate(elements):
        if type(element) is not dict:
            bad.append(Bad("element_not_object", "an element must be an object", _json(element, body), position))
            continue
        name = element.get("event")
        if type(name) is not str or not name.strip():
            bad.append(Bad("event_missing", "`event` must be a text", _json(element, body), position))
            continue
        try:
            events.append(_event(element, name, place, position))
        except Exception as error:  # a mistake of ours must not cost the other elements
            bad.append(Bad("element_failed", f"{type(error).__name__}: {error}", _again(body, position), position))
    return Parsed(events, bad)


def _event(rest: dict[str, Any], name: str, place: Place, position: int) -> Event:
    """Return the event of one element. What is left in `rest` at the end has no column: it is the `extra`."""
    take = rest.pop
    del rest["event"]
    word, type_ = _word_and_type(name)
    kind = text_of(rest.get("type")).strip().lower()
    if kind and type_ == "bounced" and kind in _BLOCKS:
        type_ = "blocked"
    elif type_ == "unknown":
        rest["event"] = name

    provider_message_id = cut_message_id(text_of(take("sg_message_id", "")))
    if not provider_message_id:
        provider_message_id = cut_smtp_id(text_of(take("smtp-id", "")))
    account_id = account_id_or_blank(text_of(rest.get("sl_account", "")))
    message_id = message_id_or_blank(text_of(rest.get("sl_message", "")))
    if account_id and message_id:
        del rest["sl_account"], rest["sl_message"]
    else:
        account_id = message_id = ""

    email = text_of(take("email", ""))
    address = email_key(email)
    if address != email:
        rest["email"] = email

    timestamp = take("timestamp", None)
    said_us = epoch_us(timestamp)
    at_us = occurred_us(said_us, place.received_us)
    if at_us is None:
        at_us = place.received_us
        rest["occurred_at"] = "received_at"
        if timestamp is not None:
            rest["timestamp"] = timestamp

    attempt = text_of(take("attempt", "")).strip()
    group = text_of(take("asm_group_id", "")).strip()
    url = text_of(take("url", ""))
    machine = take("sg_machine_open", False)
    if machine is not False:
        machine = _flag(machine, rest)
    code = text_of(take("status", "")).strip()
    classification = text_of(take("type" if type_ == "provider_alert" else "bounce_classification", ""))
    reason = text_of(take("reason", "")) or text_of(take("response", ""))
    enhanced_code = (code and enhanced_code_in(code)) or (reason and enhanced_code_in(reason))
    url_offset = rest.get("url_offset")

    natural_key = (
        "sendgrid",
        provider_message_id or (account_id and f"sl:{account_id}/{message_id}"),
        address,
        word,
        kind,
        "" if said_us is None else said_us,
        attempt,
        url,
        "" if url_offset is None else _canonical(url_offset),
        group,
        machine,
    )
    return Event._make(  # half the price of its constructor
        (
            fact_id(natural_key),
            "sendgrid",
            type_,
            account_id,
            message_id,
            provider_message_id,
            text_of(take("sg_event_id", "")),
            address,
            at_us,
            place.received_us,
            code,
            enhanced_code,
            reason,
            classification,
            fault_of(type_, _FAULTS.get(classification.strip().lower()), enhanced_code),
            machine,
            url,
            text_of(take("useragent", "")),
            text_of(take("ip", "")),
            attempt,
            group,
            orjson.dumps(rest, option=orjson.OPT_SORT_KEYS).decode() if rest else "",
            place.topic,
            place.partition,
            place.offset,
            position,
        )
    )


def cut_message_id(text: str) -> str:
    """Return an `sg_message_id` up to its first `.filter` or `.recvd`: the `X-Message-Id` of the send.

    Behind the cut SendGrid names its own machines and the recipient's number; the word changed in January 2024.
    """
    return text.partition(".filter")[0].partition(".recvd")[0].strip()


def cut_smtp_id(text: str) -> str:
    """Return an `smtp-id` without its angle brackets, up to the `@`. Its rest names a machine."""
    return text.strip().strip("<>").partition("@")[0].strip()


@lru_cache(maxsize=1 << 10)
def _word_and_type(name: str) -> tuple[str, str]:
    """Return an event's name as it is compared, and our type. The vendor's examples say `Processed`, too."""
    word = name.strip().lower()
    return word, _TYPES.get(word, EventType.UNKNOWN).value


def _flag(value: object, rest: dict[str, Any]) -> bool:
    """Return `sg_machine_open` as a truth value; what is neither true nor false counts as false and stays visible."""
    word = text_of(value).strip().lower()
    if word not in _TRUE and word not in _FALSE:
        rest["sg_machine_open"] = value
    return word in _TRUE


def _canonical(value: object) -> str:
    """Return a JSON value in one spelling: keys in order, and all that stands at the keys as texts."""
    if isinstance(value, dict):
        value = {key: text_of(part) for key, part in value.items()}
    return text_of(value)


def _json(element: object, body: bytes) -> bytes:
    """Return the JSON of a bad element; the whole `body` where the element nests too deep to be written alone."""
    try:
        return orjson.dumps(element)
    except TypeError:
        pass
    try:
        return json.dumps(element).encode()
    except (ValueError, RecursionError):
        return body


def _again(body: bytes, position: int) -> bytes:
    """Return the JSON of the element at `position`, decoded anew: `_event` has used up the first decoding."""
    elements = decode_json(body)
    return _json(elements[position] if type(elements) is list else elements, body)
