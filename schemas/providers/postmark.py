"""The adapter for Postmark's webhooks.

In:  the body of one POST: one JSON object with a `RecordType`; a UTF-8 byte order mark is accepted.
Out: one `Event`, or one `Rejection` whose value is the body, byte for byte.
Promise: pure and total. No field is lost: a field without a column is in `extra`.

Postmark posts one event at a time, and only bounces have an id. It does not say whose mail a manual suppression is
about: such a `SubscriptionChange` has `MessageID` null, and has an address, a server and a stream.

docs/reference/providers/postmark.md describes the mapping, the ids and the limits. Sources of the field names:
postmarkapp.com/developer/webhooks; github.com/ActiveCampaign/postmark.js, src/client/models (both read 2026-11-25).
"""

from typing import Any, Final, NamedTuple

import orjson

from schemas.decoding.addresses import email_key
from schemas.decoding.ids import fact_id
from schemas.decoding.json_text import decode_json, text_of
from schemas.events import DeliveryFault, Event, EventType, Headers, Parsed, Rejection, SourcePosition
from schemas.providers.delivery_faults import enhanced_code_in, fault_of
from schemas.providers.echoed_ids import take_echoed_ids
from schemas.providers.event_times import take_time
from schemas.providers.provider_ids import postmark_id_key

__all__ = ["CONTENT_CHARACTERS", "to_events"]

_RECORD_TYPES: Final = {
    "Delivery": (EventType.DELIVERED, "DeliveredAt"),
    "Bounce": (EventType.UNKNOWN, "BouncedAt"),  # depends on its Type: _BOUNCE_TYPES
    "SpamComplaint": (EventType.COMPLAINED, "BouncedAt"),
    "Open": (EventType.OPENED, "ReceivedAt"),
    "Click": (EventType.CLICKED, "ReceivedAt"),
    "SubscriptionChange": (EventType.SUBSCRIPTION_CHANGED, "ChangedAt"),
}
"""RecordType to our type, and to the field with its time."""

# TypeCode is not used: the vendor's own pages give one code to two types, and two codes to one.
_BOUNCE_TYPES: Final[dict[str, tuple[EventType, DeliveryFault | None]]] = {
    "HardBounce": (EventType.BOUNCED, DeliveryFault.RECIPIENT),
    "BadEmailAddress": (EventType.BOUNCED, DeliveryFault.RECIPIENT),
    "SoftBounce": (EventType.BOUNCED, DeliveryFault.MAILBOX),
    "Unknown": (EventType.BOUNCED, None),  # a bounce that Postmark could not classify
    "Unconfirmed": (EventType.BOUNCED, None),
    "Transient": (EventType.DEFERRED, DeliveryFault.MAILBOX),  # Postmark keeps trying
    "DnsError": (EventType.DEFERRED, DeliveryFault.INFRASTRUCTURE),
    "Blocked": (EventType.BLOCKED, DeliveryFault.SENDER),
    "SpamNotification": (EventType.BLOCKED, DeliveryFault.SENDER),
    "DMARCPolicy": (EventType.BLOCKED, DeliveryFault.SENDER),
    "VirusNotification": (EventType.BLOCKED, DeliveryFault.SENDER),
    "ManuallyDeactivated": (EventType.DROPPED, None),
    "SMTPApiError": (EventType.DROPPED, DeliveryFault.SENDER),
    "TemplateRenderingFailed": (EventType.DROPPED, None),
    "SpamComplaint": (EventType.COMPLAINED, None),
    "Unsubscribe": (EventType.UNSUBSCRIBED, None),
    "Subscribe": (EventType.RESUBSCRIBED, None),
    # Known types that are not failures: listed for their spelling.
    "AutoResponder": (EventType.UNKNOWN, None),
    "AddressChange": (EventType.UNKNOWN, None),
    "OpenRelayTest": (EventType.UNKNOWN, None),
    "ChallengeVerification": (EventType.UNKNOWN, None),
    "InboundError": (EventType.UNKNOWN, None),
}
"""Type of a bounce to our type and the fault; None if the enhanced code decides."""

_RENAMED_TYPES: Final = {"softbounce/undeliverable": "softbounce"}
"""Old names of types, which some accounts still send, to the current names."""

_SUPPRESSION_REASONS: Final = ("HardBounce", "SpamComplaint", "ManualSuppression")

_RECORD_TYPES_BY_KEY: Final = {name.lower(): row for name, row in _RECORD_TYPES.items()}
_BOUNCE_TYPES_BY_KEY: Final = {name.lower(): (name, *row) for name, row in _BOUNCE_TYPES.items()}
_REASONS_BY_KEY: Final = {name.lower(): name for name in _SUPPRESSION_REASONS}
_TIME_FIELDS: Final = ("DeliveredAt", "BouncedAt", "ReceivedAt", "ChangedAt")

_BOOLEANS: Final = {"1": "true", "0": "false"}
_CHANGES: Final = {"true": "added", "false": "removed"}

CONTENT_CHARACTERS: Final = 16_384
"""How much of a bounce's `Content` an event keeps: it may be a whole mail of megabytes, with attachments."""


def to_events(body: bytes, source: SourcePosition, headers: Headers = ()) -> Parsed:  # noqa: ARG001 (the body suffices)
    """Return the event or the rejection of one POST of Postmark. Never raises."""
    try:
        post = decode_json(body)
    except (ValueError, RecursionError) as error:
        return _rejected("body_not_json", str(error), body)
    if type(post) is not dict:
        return _rejected("body_not_object", "a post of Postmark is one object", body)
    name = post.get("RecordType")
    if type(name) is not str or not name.strip():
        inbound = "; this looks like an inbound mail, posted to the wrong URL" if "FromFull" in post else ""
        return _rejected("record_type_missing", f"`RecordType` must be a text{inbound}", body)
    try:
        return Parsed([_event(post, name, source)], [])
    except Exception as error:  # a bug of ours must not stop the other records
        return _rejected("body_failed", f"{type(error).__name__}: {error}", body)


def _rejected(reason: str, detail: str, body: bytes) -> Parsed:
    return Parsed([], [Rejection(reason, detail, body, None)])


def _event(rest: dict[str, Any], name: str, source: SourcePosition) -> Event:
    """Return the event of one post. The fields that are left in `rest` at the end have no column: they are `extra`."""
    take = rest.pop
    kind = text_of(rest.get("Type"))
    meaning = _MEANINGS.get((name, kind)) or _meaning(name, kind)
    type_ = meaning.type
    if meaning.in_columns:
        del rest["RecordType"]
        take("Type", None)

    provider_message_id, provider_event_id = _take_postmark_ids(rest)
    account_id, message_id = _take_our_ids(rest)
    address = _take_address(rest)
    provider_us, at_us = take_time(rest, meaning.time_field or _time_field(rest), source.received_us)

    # Also kept in `extra` as it was sent: a suppression is stored by server, stream and address.
    suppress = text_of(rest["SuppressSending"]).strip().lower() if "SuppressSending" in rest else ""
    suppress = _BOOLEANS.get(suppress, suppress)
    given_stream = take("MessageStream", "")
    stream = group = text_of(given_stream).strip()
    if stream and type_ == EventType.UNSUBSCRIBED:  # from all mail; the stream is that of the message
        rest["MessageStream"], group = given_stream, ""
    url = text_of(take("OriginalLink", ""))
    natural_key = (
        "postmark",
        text_of(rest.get("ServerID")).strip(),
        stream,
        provider_message_id or provider_event_id or (account_id and f"sl:{account_id}/{message_id}"),
        meaning.record,
        meaning.kind,
        suppress,
        address,
        "" if provider_us is None else provider_us,
        url,
    )
    classification, reason = _take_reason(rest, type_, suppress)
    enhanced_code = meaning.enhanced_code or enhanced_code_in(reason)
    if "Content" in rest:
        _cut_content(rest)
    return Event._make((  # in the order of its fields: by keyword it takes 1.7 µs more, an eighth of an event
        fact_id(natural_key), "postmark", type_, account_id, message_id,
        provider_message_id, provider_event_id, address, at_us, source.received_us,
        meaning.code, enhanced_code, reason, classification, fault_of(type_, meaning.fault, enhanced_code),
        False,  # Postmark does not mark opens by machines
        url, text_of(take("UserAgent", "")), _take_ip(rest), "", group,
        orjson.dumps(rest, option=orjson.OPT_SORT_KEYS).decode() if rest else "",
        source.topic, source.partition, source.offset, 0,
    ))  # fmt: skip


class _Meaning(NamedTuple):
    """How a RecordType and a Type are mapped together."""

    record: str
    """The RecordType, normalised for comparison; `kind` is the Type, likewise."""
    kind: str
    type: str
    code: str
    """The Type; in the vendor's spelling if it is one of the vendor's types."""
    enhanced_code: str
    fault: DeliveryFault | None
    time_field: str
    """Blank for an unknown RecordType."""
    in_columns: bool
    """Whether our type and the code determine RecordType and Type; if not, `extra` keeps both."""


def _meaning(name: str, kind: str) -> _Meaning:
    record, given_key = name.strip().lower(), kind.strip().lower()
    type_key = _RENAMED_TYPES.get(given_key, given_key)
    type_, time_field = _RECORD_TYPES_BY_KEY.get(record, (EventType.UNKNOWN, ""))
    code, bounce_type, fault = _BOUNCE_TYPES_BY_KEY.get(type_key, (kind.strip(), EventType.UNKNOWN, None))
    if record == "bounce":
        type_ = bounce_type
    in_columns = (
        type_key == given_key
        and type_ is not EventType.UNKNOWN
        and not (record == "bounce" and type_ is EventType.COMPLAINED)
    )
    return _Meaning(record, type_key, type_.value, code, enhanced_code_in(code), fault, time_field, in_columns)


_MEANINGS: Final = {(name, kind): _meaning(name, kind) for name in _RECORD_TYPES for kind in ("", *_BOUNCE_TYPES)}
"""The mapping of the vendor's own spellings. A fixed table, not a cache: nothing that is posted is kept in memory."""


def _take_postmark_ids(rest: dict[str, Any]) -> tuple[str, str]:
    """Take the ids of the message and of the event. The first is null for a manual suppression, and stays then."""
    provider_message_id = postmark_id_key(text_of(rest.get("MessageID")))
    if provider_message_id:
        del rest["MessageID"]
    return provider_message_id, text_of(rest.pop("ID", "")).strip()


def _take_our_ids(rest: dict[str, Any]) -> tuple[str, str]:
    """Remove our account and message id from `Metadata` and return them; blanks, with nothing removed, if invalid."""
    metadata = rest.get("Metadata")
    if type(metadata) is not dict:
        return "", ""
    account_id, message_id = take_echoed_ids(metadata)
    if account_id and not metadata:
        del rest["Metadata"]
    return account_id, message_id


def _take_address(rest: dict[str, Any]) -> str:
    """Take the address and return its key. An address that is not its own key stays, too."""
    field, email = _take_either(rest, "Recipient", "Email")
    address = email_key(email)
    if address != email:
        rest[field] = email
    return address


def _take_reason(rest: dict[str, Any], type_: str, suppress: str) -> tuple[str, str]:
    """Take the reason; return the classification and it. `suppress`: `true` if the address is suppressed now."""
    if type_ != "subscription_changed":
        return "", _take_either(rest, "Details", "Description")[1]
    reason = text_of(rest.pop("SuppressionReason", "")).strip()
    return _CHANGES.get(suppress, ""), _REASONS_BY_KEY.get(reason.lower(), reason)


def _take_ip(rest: dict[str, Any]) -> str:
    geo = rest.get("Geo")
    if type(geo) is not dict or "IP" not in geo:
        return ""
    ip = text_of(geo.pop("IP"))
    if not geo:
        del rest["Geo"]
    return ip


def _take_either(rest: dict[str, Any], field: str, other: str) -> tuple[str, str]:
    """Remove `field`, or `other` if that is blank; return the name of the field, and its text."""
    text = text_of(rest.pop(field, ""))
    return (field, text) if text.strip() else (other, text_of(rest.pop(other, "")))


def _time_field(rest: dict[str, Any]) -> str:
    """Return the field with the time of an unknown RecordType, if there is one."""
    return next((field for field in _TIME_FIELDS if field in rest), _TIME_FIELDS[0])


def _cut_content(rest: dict[str, Any]) -> None:
    """Keep the start of `Content`, and its length. The Kafka record to which the event refers has all of it."""
    content = rest["Content"]
    if type(content) is str and len(content) > CONTENT_CHARACTERS:
        rest["Content"] = content[:CONTENT_CHARACTERS]
        rest["content_characters"] = len(content)
