"""The adapter for SendGrid's Event Webhook.

In:  the body of one POST: a JSON list of elements, or a single element; a UTF-8 byte order mark is accepted.
Out: one `Event` or one `Rejection` for each element, in order; one `Rejection` for a body that is not such a list.
Promise: pure and total. A bad element does not affect the others, and no field is lost: a field without a column is
in `extra`.

An `account_status_change` is about the SendGrid account, and has no message and no address. It becomes a
`provider_alert`, with its `type` ("compliance_suspend") in `classification`.

docs/reference/providers/sendgrid.md describes the mapping, the ids and the limits. Source of the field names:
github.com/sendgrid/docs, content/docs/for-developers/tracking-events/event.md (read 2026-11-24).
"""

from typing import Any, Final

import orjson

from schemas.decoding.addresses import email_key
from schemas.decoding.ids import fact_id
from schemas.decoding.json_text import TooDeep, decode_list, elements_of, text_of
from schemas.events import DeliveryFault, Event, EventType, Headers, Parsed, Rejection, SourcePosition
from schemas.providers.delivery_faults import FAILURE_TYPES, enhanced_code_in, fault_of
from schemas.providers.echoed_ids import take_echoed_ids
from schemas.providers.event_times import take_time
from schemas.providers.provider_ids import sendgrid_id_of_event

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
_GLOBAL_UNSUBSCRIBE: Final = "unsubscribe"
"""The vendor calls it 'Opt Out of All Emails': a group in the event is that of the message, not of the opt-out."""
_KNOWN_NAMES: Final = {name: (name, type_.value) for name, type_ in _TYPES.items()}
"""The results of `_name_and_type` for the names as SendGrid writes them."""
_BLOCKS: Final = frozenset({"blocked", "expired"})
"""A `bounce` with one of these types rejected one mail, not the address: SendGrid itself does not suppress after it."""

_FAULTS: Final = {
    "invalid address": DeliveryFault.RECIPIENT,
    "mailbox unavailable": DeliveryFault.MAILBOX,
    "content": DeliveryFault.SENDER,
    "reputation": DeliveryFault.SENDER,
    "frequency or volume too high": DeliveryFault.SENDER,
    "technical": DeliveryFault.INFRASTRUCTURE,  # in webhooks
    "technical failure": DeliveryFault.INFRASTRUCTURE,  # the same in the suppression API
}

_CUSTOM_ARGS: Final = ("custom_args", "unique_args")

_TRUE: Final = frozenset({"true", "1"})
_FALSE: Final = frozenset({"false", "0", ""})


def to_events(body: bytes, source: SourcePosition, headers: Headers = ()) -> Parsed:  # noqa: ARG001 (the body suffices)
    """Return the events and rejections of one POST of SendGrid. Never raises."""
    events: list[Event] = []
    rejections: list[Rejection] = []
    try:
        elements = decode_list(body)
    except (ValueError, RecursionError) as error:
        return Parsed(events, [Rejection("body_not_json", str(error), body, None)])
    if type(elements) is dict:
        elements = [elements]
    elif type(elements) is not list:
        return Parsed(events, [Rejection("body_not_events", "neither a list nor an object", body, None)])
    for position, element in enumerate(elements):
        if type(element) is not dict:
            rejections.append(_not_object(element, position))
            continue
        name = element.get("event")
        if type(name) is not str or not name.strip():
            rejections.append(Rejection("event_missing", "`event` must be a text", b"", position))
            continue
        try:
            events.append(_event(element, name, source, position))
        except Exception as error:  # a bug of ours must not lose the other elements
            rejections.append(Rejection("element_failed", f"{type(error).__name__}: {error}", b"", position))
    return Parsed(events, _with_values(rejections, body) if rejections else rejections)


def _not_object(element: object, position: int) -> Rejection:
    if isinstance(element, TooDeep):
        return Rejection("element_too_deep", "an element must not nest a thousand levels deep", b"", position)
    return Rejection("element_not_object", "an element must be an object", b"", position)


def _with_values(rejections: list[Rejection], body: bytes) -> list[Rejection]:
    """Give each rejection the JSON of its element, byte for byte. The body is split once, however many there are."""
    try:
        values = elements_of(body)
    except ValueError:  # a single element, not in a list
        values = [body]
    return [one._replace(value=values[one.position or 0]) for one in rejections]


def _event(rest: dict[str, Any], name: str, source: SourcePosition, position: int) -> Event:
    """Return the event of one element. Fields that are left in `rest` at the end have no column: they are `extra`."""
    take = rest.pop
    del rest["event"]
    event_name, type_ = _KNOWN_NAMES.get(name) or _name_and_type(name)
    bounce_type = rest.get("type", "")
    if bounce_type != "":
        bounce_type = text_of(bounce_type).strip().lower()
    if bounce_type and type_ == "bounced" and bounce_type in _BLOCKS:
        type_ = "blocked"
    elif type_ == "unknown":
        rest["event"] = name
    provider_message_id, account_id, message_id = _take_ids(rest)

    email = text_of(take("email", ""))
    address = email_key(email)
    if address != email:
        rest["email"] = email

    provider_us, at_us = take_time(rest, "timestamp", source.received_us)
    attempt = text_of(take("attempt", "")).strip()
    given_group = take("asm_group_id", "")
    group = text_of(given_group).strip()
    url = text_of(take("url", ""))
    machine = take("sg_machine_open", False)
    if machine is not False:
        machine = _flag(machine, rest)
    code = text_of(take("status", "")).strip()
    classification = text_of(take("type" if type_ == "provider_alert" else "bounce_classification", ""))
    reason = text_of(take("reason", "")) or text_of(take("response", ""))
    enhanced_code = (code and enhanced_code_in(code)) or (reason and enhanced_code_in(reason))
    fault = _fault(type_, classification, enhanced_code) if type_ in FAILURE_TYPES else ""
    url_offset = rest.get("url_offset")

    natural_key = (
        "sendgrid",
        provider_message_id or (account_id and f"sl:{account_id}/{message_id}"),
        address,
        event_name,
        bounce_type,
        "" if provider_us is None else provider_us,
        attempt,
        url,
        "" if url_offset is None else _canonical(url_offset),
        group,
        machine,
    )
    if group and event_name == _GLOBAL_UNSUBSCRIBE:
        rest["asm_group_id"], group = given_group, ""
    return Event._make((  # in the order of its fields: by keyword it takes 1.7 µs more, a fifth of an event
        fact_id(natural_key), "sendgrid", type_, account_id, message_id,
        provider_message_id, text_of(take("sg_event_id", "")), address, at_us, source.received_us,
        code, enhanced_code, reason, classification, fault,
        machine, url, text_of(take("useragent", "")), text_of(take("ip", "")), attempt, group,
        orjson.dumps(rest, option=orjson.OPT_SORT_KEYS).decode() if rest else "",
        source.topic, source.partition, source.offset, position,
    ))  # fmt: skip


def _take_ids(rest: dict[str, Any]) -> tuple[str, str, str]:
    """Take SendGrid's id of the message, our account id and our message id; each is blank if it is missing."""
    sg_message_id = text_of(rest.pop("sg_message_id", ""))
    smtp_id = rest.get("smtp-id")
    provider_message_id = sendgrid_id_of_event(sg_message_id, smtp_id if type(smtp_id) is str else text_of(smtp_id))
    if sg_message_id and (not provider_message_id or provider_message_id not in sg_message_id):
        rest["sg_message_id"] = sg_message_id  # it was not used
    account_id, message_id = take_echoed_ids(rest)
    if not account_id:
        account_id, message_id = _take_nested_ids(rest)
    return provider_message_id, account_id, message_id


def _fault(type_: str, classification: str, enhanced_code: str) -> str:
    return fault_of(type_, _FAULTS.get(classification.strip().lower()), enhanced_code)


def _take_nested_ids(rest: dict[str, Any]) -> tuple[str, str]:
    """Take our ids out of nested objects of custom args, as senders pass them; SendGrid itself posts them flat."""
    for name in _CUSTOM_ARGS:
        holder = rest.get(name)
        if type(holder) is dict:
            ids = take_echoed_ids(holder)
            if ids[0]:
                if not holder:
                    del rest[name]
                return ids
    return "", ""


def _name_and_type(name: str) -> tuple[str, str]:
    """Return an event's name in lower case, and our type. The vendor's examples have `Processed`, too."""
    event_name = name.strip().lower()
    return event_name, _TYPES.get(event_name, EventType.UNKNOWN).value


def _flag(value: object, rest: dict[str, Any]) -> bool:
    """Return `sg_machine_open` as a boolean. Any other value counts as false, and is kept in `extra`."""
    text = text_of(value).strip().lower()
    if text not in _TRUE and text not in _FALSE:
        rest["sg_machine_open"] = value
    return text in _TRUE


def _canonical(value: object) -> str:
    """Return a JSON value in a canonical form: keys sorted, and the values of an object as strings."""
    if isinstance(value, dict):
        value = {key: text_of(part) for key, part in value.items()}
    return text_of(value)
