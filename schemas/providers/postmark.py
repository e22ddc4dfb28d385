"""Postmark's webhooks as events.

In:  the body of one POST: one JSON object, named by its `RecordType`; a UTF-8 byte order mark is accepted.
Out: one `Event`, or one `Bad` whose value is the body, byte for byte.
Promise: pure and total. No field is lost: what has no column is in `extra`.

Postmark posts one event at a time, gives none an id but a bounce, and says nowhere whose mail a manual suppression is
about: such a `SubscriptionChange` has `MessageID` null and names an address, a server and a stream.

The mapping, the ids and the limits are told in docs/reference/providers/postmark.md. Sources of the field names:
postmarkapp.com/developer/webhooks; github.com/ActiveCampaign/postmark.js, src/client/models (both read 2026-11-25).
"""

from typing import Any, Final, NamedTuple

import orjson

from schemas.addresses import email_key
from schemas.echoed_ids import take_echoed_ids
from schemas.events import Bad, Event, EventType, Fault, Headers, Parsed, Place
from schemas.faults import enhanced_code_in, fault_of
from schemas.identity import fact_id
from schemas.json_values import decode_json, text_of
from schemas.provider_ids import postmark_id_key
from schemas.times import occurred_us, time_us

__all__ = ["CONTENT_CHARACTERS", "to_events"]

_RECORDS: Final = {
    "Delivery": (EventType.DELIVERED, "DeliveredAt"),
    "Bounce": (EventType.UNKNOWN, "BouncedAt"),  # its Type says what it is: _BOUNCES
    "SpamComplaint": (EventType.COMPLAINED, "BouncedAt"),
    "Open": (EventType.OPENED, "ReceivedAt"),
    "Click": (EventType.CLICKED, "ReceivedAt"),
    "SubscriptionChange": (EventType.SUBSCRIPTION_CHANGED, "ChangedAt"),
}
"""Each RecordType: our type, and the field that has its time."""

# Never by TypeCode: the vendor's own pages give one code to two types, and two codes to one.
_BOUNCES: Final[dict[str, tuple[EventType, Fault | None]]] = {
    "HardBounce": (EventType.BOUNCED, Fault.RECIPIENT),
    "BadEmailAddress": (EventType.BOUNCED, Fault.RECIPIENT),
    "SoftBounce": (EventType.BOUNCED, Fault.MAILBOX),
    "Unknown": (EventType.BOUNCED, None),  # a bounce that Postmark could not classify
    "Unconfirmed": (EventType.BOUNCED, None),
    "Transient": (EventType.DEFERRED, Fault.MAILBOX),  # Postmark goes on trying
    "DnsError": (EventType.DEFERRED, Fault.INFRASTRUCTURE),
    "Blocked": (EventType.BLOCKED, Fault.SENDER),
    "SpamNotification": (EventType.BLOCKED, Fault.SENDER),
    "DMARCPolicy": (EventType.BLOCKED, Fault.SENDER),
    "VirusNotification": (EventType.BLOCKED, Fault.SENDER),
    "ManuallyDeactivated": (EventType.DROPPED, None),
    "SMTPApiError": (EventType.DROPPED, Fault.SENDER),
    "TemplateRenderingFailed": (EventType.DROPPED, None),
    "SpamComplaint": (EventType.COMPLAINED, None),
    "Unsubscribe": (EventType.UNSUBSCRIBED, None),
    "Subscribe": (EventType.RESUBSCRIBED, None),
    # Known, and no failures: listed for their spelling.
    "AutoResponder": (EventType.UNKNOWN, None),
    "AddressChange": (EventType.UNKNOWN, None),
    "OpenRelayTest": (EventType.UNKNOWN, None),
    "ChallengeVerification": (EventType.UNKNOWN, None),
    "InboundError": (EventType.UNKNOWN, None),
}
"""Each Type of a Bounce: our type, and whose fault it is; None leaves that to the enhanced code."""

_OLD_NAMES: Final = {"softbounce/undeliverable": "softbounce"}
"""Types as some accounts still send them, and as they are now."""

_SUPPRESSION_REASONS: Final = ("HardBounce", "SpamComplaint", "ManualSuppression")

_RECORDS_BY_WORD: Final = {name.lower(): row for name, row in _RECORDS.items()}
_BOUNCES_BY_WORD: Final = {name.lower(): (name, *row) for name, row in _BOUNCES.items()}
_REASONS_BY_WORD: Final = {name.lower(): name for name in _SUPPRESSION_REASONS}
_TIME_FIELDS: Final = ("DeliveredAt", "BouncedAt", "ReceivedAt", "ChangedAt")

_TRUTHS: Final = {"1": "true", "0": "false"}
_CHANGES: Final = {"true": "added", "false": "removed"}

CONTENT_CHARACTERS: Final = 16_384
"""How much of a bounce's `Content` an event keeps: the whole of it may be a mail of megabytes, attachments and all."""


def to_events(body: bytes, place: Place, headers: Headers = ()) -> Parsed:  # noqa: ARG001 (its body says all)
    """Return what one POST of Postmark says. Never raises."""
    try:
        said = decode_json(body)
    except (ValueError, RecursionError) as error:
        return _bad("body_not_json", str(error), body)
    if type(said) is not dict:
        return _bad("body_not_object", "a post of Postmark is one object", body)
    name = said.get("RecordType")
    if type(name) is not str or not name.strip():
        inbound = "; this looks like an inbound mail, posted to the wrong URL" if "FromFull" in said else ""
        return _bad("record_type_missing", f"`RecordType` must be a text{inbound}", body)
    try:
        return Parsed([_event(said, name, place)], [])
    except Exception as error:  # a mistake of ours must not cost the other records
        return _bad("body_failed", f"{type(error).__name__}: {error}", body)


def _bad(reason: str, detail: str, body: bytes) -> Parsed:
    return Parsed([], [Bad(reason, detail, body, None)])


def _event(rest: dict[str, Any], name: str, place: Place) -> Event:
    """Return the event of one post. What is left in `rest` at the end has no column: it is the `extra`."""
    take = rest.pop
    kind = text_of(rest.get("Type"))
    meaning = _MEANINGS.get((name, kind)) or _meaning(name, kind)
    type_ = meaning.type
    if meaning.told:
        del rest["RecordType"]
        take("Type", None)

    # Null for a manual suppression: it stays visible then.
    provider_message_id = postmark_id_key(text_of(rest.get("MessageID")))
    if provider_message_id:
        del rest["MessageID"]
    provider_event_id = text_of(take("ID", "")).strip()
    account_id, message_id = _take_our_ids(rest)

    email_field, email = _take_either(rest, "Recipient", "Email")
    address = email_key(email)
    if address != email:
        rest[email_field] = email

    time_field = meaning.time_field or _time_field(rest)
    time = take(time_field, None)
    said_us = time_us(time)
    at_us = occurred_us(said_us, place.received_us)
    if at_us is None:
        at_us = place.received_us
        rest["occurred_at"] = "received_at"
        if time is not None:
            rest[time_field] = time

    # Stays in `extra` as it was sent: a suppression is kept by server, stream and address.
    suppress = ""
    if "SuppressSending" in rest:
        suppress = text_of(rest["SuppressSending"]).strip().lower()
        suppress = _TRUTHS.get(suppress, suppress)
    named_stream = take("MessageStream", "")
    stream = group = text_of(named_stream).strip()
    if stream and type_ == EventType.UNSUBSCRIBED:  # of the sender's mail: the stream is only what the message came by
        rest["MessageStream"], group = named_stream, ""
    url = text_of(take("OriginalLink", ""))
    classification = ""
    if type_ == "subscription_changed":
        classification = _CHANGES.get(suppress, "")
        reason = text_of(take("SuppressionReason", "")).strip()
        reason = _REASONS_BY_WORD.get(reason.lower(), reason)
    else:
        _, reason = _take_either(rest, "Details", "Description")
    enhanced_code = meaning.enhanced_code or enhanced_code_in(reason)
    if "Content" in rest:
        _cut_content(rest)

    return Event._make(  # half the price of its constructor
        (
            fact_id(
                [
                    "postmark",
                    text_of(rest.get("ServerID")).strip(),
                    stream,
                    provider_message_id or provider_event_id or (account_id and f"sl:{account_id}/{message_id}"),
                    meaning.record,
                    meaning.kind,
                    suppress,
                    address,
                    "" if said_us is None else said_us,
                    url,
                ]
            ),
            "postmark",
            type_,
            account_id,
            message_id,
            provider_message_id,
            provider_event_id,
            address,
            at_us,
            place.received_us,
            meaning.code,
            enhanced_code,
            reason,
            classification,
            fault_of(type_, meaning.fault, enhanced_code),
            False,  # Postmark marks no machines
            url,
            text_of(take("UserAgent", "")),
            _take_ip(rest),
            "",
            group,
            orjson.dumps(rest, option=orjson.OPT_SORT_KEYS).decode() if rest else "",
            place.topic,
            place.partition,
            place.offset,
            0,
        )
    )


class _Meaning(NamedTuple):
    """What a RecordType and a Type mean together."""

    record: str
    """The RecordType as it is compared, and so the Type in `kind`."""
    kind: str
    type: str
    code: str
    """The Type in the vendor's spelling, where it is one of the vendor's."""
    enhanced_code: str
    fault: Fault | None
    time_field: str
    """Blank for a RecordType that we don't know."""
    told: bool
    """Whether our type and the code tell the two names; where they don't, `extra` keeps them."""


def _meaning(name: str, kind: str) -> _Meaning:
    record, spelled = name.strip().lower(), kind.strip().lower()
    word = _OLD_NAMES.get(spelled, spelled)
    type_, time_field = _RECORDS_BY_WORD.get(record, (EventType.UNKNOWN, ""))
    code, bounce_type, fault = _BOUNCES_BY_WORD.get(word, (kind.strip(), EventType.UNKNOWN, None))
    if record == "bounce":
        type_ = bounce_type
    told = (
        word == spelled
        and type_ is not EventType.UNKNOWN
        and not (record == "bounce" and type_ is EventType.COMPLAINED)
    )
    return _Meaning(record, word, type_.value, code, enhanced_code_in(code), fault, time_field, told)


_MEANINGS: Final = {(name, kind): _meaning(name, kind) for name in _RECORDS for kind in ("", *_BOUNCES)}
"""What the vendor's own spellings mean: a table, so that nothing that somebody posts is remembered."""


def _take_our_ids(rest: dict[str, Any]) -> tuple[str, str]:
    """Take our account and message id out of `Metadata`; both blank, and left there, unless both are valid."""
    metadata = rest.get("Metadata")
    if type(metadata) is not dict:
        return "", ""
    account_id, message_id = take_echoed_ids(metadata)
    if account_id and not metadata:
        del rest["Metadata"]
    return account_id, message_id


def _take_ip(rest: dict[str, Any]) -> str:
    geo = rest.get("Geo")
    if type(geo) is not dict or "IP" not in geo:
        return ""
    ip = text_of(geo.pop("IP"))
    if not geo:
        del rest["Geo"]
    return ip


def _take_either(rest: dict[str, Any], field: str, other: str) -> tuple[str, str]:
    """Take `field`, or `other` where that is blank; return which one it was, and its text."""
    text = text_of(rest.pop(field, ""))
    return (field, text) if text.strip() else (other, text_of(rest.pop(other, "")))


def _time_field(rest: dict[str, Any]) -> str:
    """Return the field that has the time of a record that we don't know, if any has."""
    return next((field for field in _TIME_FIELDS if field in rest), _TIME_FIELDS[0])


def _cut_content(rest: dict[str, Any]) -> None:
    """Keep the start of `Content`, and its length; the whole of it stays in the record that the event names."""
    content = rest["Content"]
    if type(content) is str and len(content) > CONTENT_CHARACTERS:
        rest["Content"] = content[:CONTENT_CHARACTERS]
        rest["content_characters"] = len(content)
