"""SendGrid's Event Webhook as events.

In:  the body of one POST: a JSON list of elements, or one element alone; a UTF-8 byte order mark is accepted.
Out: one `Event` or one `Bad` for each element, in order; a body that is no such list is one `Bad` in all.
Promise: pure and total. One bad element costs only itself, and no field is lost: what has no column is in `extra`.

An `account_status_change` is about the SendGrid account and names no message and no address. It becomes a
`provider_alert`, with its `type` ("compliance_suspend") in `classification`.

The mapping, the ids and the limits are told in docs/reference/providers/sendgrid.md. Source of the field names:
github.com/sendgrid/docs, content/docs/for-developers/tracking-events/event.md (read 2026-11-24).
"""

from typing import Any, Final

import orjson

from schemas.addresses import email_key
from schemas.echoed_ids import take_echoed_ids
from schemas.events import Bad, Event, EventType, Fault, Headers, Parsed, Place
from schemas.faults import FAILURE_TYPES, enhanced_code_in, fault_of
from schemas.identity import fact_id
from schemas.json_values import TooDeep, decode_list, elements_of, text_of
from schemas.provider_ids import sendgrid_id_key_of
from schemas.times import epoch_us, occurred_us, time_us

__all__ = ["to_events"]

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
_OF_ALL_MAIL: Final = "unsubscribe"
"""'Opt Out of All Emails', says the vendor: a group that stands beside it is the message's, and not what was left."""
_WORDS: Final = {word: (word, type_.value) for word, type_ in _TYPES.items()}
"""What `_word_and_type` says of the names as SendGrid writes them."""
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

_CUSTOM_ARGS: Final = ("custom_args", "unique_args")

_TRUE: Final = frozenset({"true", "1"})
_FALSE: Final = frozenset({"false", "0", ""})


def to_events(body: bytes, place: Place, headers: Headers = ()) -> Parsed:  # noqa: ARG001 (its body says all)
    """Return what one POST of SendGrid says. Never raises."""
    events: list[Event] = []
    bad: list[Bad] = []
    try:
        elements = decode_list(body)
    except (ValueError, RecursionError) as error:
        return Parsed(events, [Bad("body_not_json", str(error), body, None)])
    if type(elements) is dict:
        elements = [elements]
    elif type(elements) is not list:
        return Parsed(events, [Bad("body_not_events", "neither a list nor an object", body, None)])
    for position, element in enumerate(elements):
        if type(element) is not dict:
            bad.append(_not_object(element, position))
            continue
        name = element.get("event")
        if type(name) is not str or not name.strip():
            bad.append(Bad("event_missing", "`event` must be a text", b"", position))
            continue
        try:
            events.append(_event(element, name, place, position))
        except Exception as error:  # a mistake of ours must not cost the other elements
            bad.append(Bad("element_failed", f"{type(error).__name__}: {error}", b"", position))
    return Parsed(events, _with_values(bad, body) if bad else bad)


def _not_object(element: object, position: int) -> Bad:
    if isinstance(element, TooDeep):
        return Bad("element_too_deep", "an element must not nest a thousand levels deep", b"", position)
    return Bad("element_not_object", "an element must be an object", b"", position)


def _with_values(bad: list[Bad], body: bytes) -> list[Bad]:
    """Give each bad element its JSON, byte for byte. The body is cut once, however many are bad."""
    try:
        values = elements_of(body)
    except ValueError:  # one element without a list
        values = [body]
    return [one._replace(value=values[one.position or 0]) for one in bad]


def _event(rest: dict[str, Any], name: str, place: Place, position: int) -> Event:
    """Return the event of one element. What is left in `rest` at the end has no column: it is the `extra`."""
    take = rest.pop
    del rest["event"]
    word, type_ = _WORDS.get(name) or _word_and_type(name)
    kind = rest.get("type", "")
    if kind != "":
        kind = text_of(kind).strip().lower()
    if kind and type_ == "bounced" and kind in _BLOCKS:
        type_ = "blocked"
    elif type_ == "unknown":
        rest["event"] = name

    sg_message_id = text_of(take("sg_message_id", ""))
    smtp_id = rest.get("smtp-id")
    provider_message_id = sendgrid_id_key_of(sg_message_id, smtp_id if type(smtp_id) is str else text_of(smtp_id))
    if sg_message_id and (not provider_message_id or provider_message_id not in sg_message_id):
        rest["sg_message_id"] = sg_message_id  # it did not count
    account_id, message_id = take_echoed_ids(rest)
    if not account_id:
        account_id, message_id = _take_nested_ids(rest)

    email = text_of(take("email", ""))
    address = email_key(email)
    if address != email:
        rest["email"] = email

    timestamp = take("timestamp", None)
    said_us = epoch_us(timestamp) if type(timestamp) is int else time_us(timestamp)
    at_us = occurred_us(said_us, place.received_us)
    if at_us is None:
        at_us = place.received_us
        rest["occurred_at"] = "received_at"
        if timestamp is not None:
            rest["timestamp"] = timestamp

    attempt = text_of(take("attempt", "")).strip()
    named_group = take("asm_group_id", "")
    group = text_of(named_group).strip()
    url = text_of(take("url", ""))
    machine = take("sg_machine_open", False)
    if machine is not False:
        machine = _flag(machine, rest)
    code = text_of(take("status", "")).strip()
    classification = text_of(take("type" if type_ == "provider_alert" else "bounce_classification", ""))
    reason = text_of(take("reason", "")) or text_of(take("response", ""))
    enhanced_code = (code and enhanced_code_in(code)) or (reason and enhanced_code_in(reason))
    fault = ""
    if type_ in FAILURE_TYPES:
        fault = fault_of(type_, _FAULTS.get(classification.strip().lower()), enhanced_code)
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
    if group and word == _OF_ALL_MAIL:
        rest["asm_group_id"], group = named_group, ""
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
            fault,
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


def _take_nested_ids(rest: dict[str, Any]) -> tuple[str, str]:
    """Take our ids out of the objects that hold custom args as a sender gives them; SendGrid itself posts them flat."""
    for name in _CUSTOM_ARGS:
        holder = rest.get(name)
        if type(holder) is dict:
            ids = take_echoed_ids(holder)
            if ids[0]:
                if not holder:
                    del rest[name]
                return ids
    return "", ""


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
