"""Adapters: pure and total; a bad element does not affect the others; output size is bounded by the input."""

from typing import Final

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.decoding.addresses import address_key
from schemas.events import Event, Parsed
from schemas.providers import ADAPTERS
from tests.building import ACCOUNT, MESSAGE, NOW_US, a_source_position
from tests.hostile.strategies import DEEP, bodies, deep, elements, headers, json_values, texts, times

providers = pytest.mark.parametrize("provider", list(ADAPTERS))

_NAMES: Final = {
    "sendgrid": (
        *("event", "email", "timestamp", "sg_message_id", "smtp-id", "sg_event_id", "type", "status", "reason"),
        *("response", "attempt", "asm_group_id", "url", "url_offset", "sg_machine_open", "bounce_classification"),
        *("sl_account", "sl_message", "custom_args", "unique_args", "ip", "useragent", "category"),
    ),
    "postmark": (
        *("RecordType", "Type", "MessageID", "ID", "Recipient", "Email", "DeliveredAt", "BouncedAt", "ReceivedAt"),
        *("ChangedAt", "Details", "Description", "Metadata", "MessageStream", "ServerID", "SuppressSending"),
        *("SuppressionReason", "Origin", "OriginalLink", "UserAgent", "Geo", "Content", "Tag"),
    ),
    "twilio": (
        *("MessageSid", "SmsSid", "MessageStatus", "SmsStatus", "ErrorCode", "ErrorMessage", "To", "From", "Body"),
        *("OptOutType", "MessagingServiceSid", "RawDlrDoneDate", "EventType", "ChannelStatusMessage"),
    ),
}
_WORDS: Final = {
    "sendgrid": ("event", ["bounce", "delivered", "open", "unsubscribe", "dropped", "Processed", "?"]),
    "postmark": ("RecordType", ["Bounce", "Delivery", "SubscriptionChange", "Open", "SpamComplaint", "?"]),
    "twilio": ("MessageStatus", ["delivered", "failed", "received", "read", "?"]),
}

MOST_BYTES_OUT_PER_BYTE: Final = 8
ROOM_BYTES: Final = 4_096
"""An event may hold a text twice (in a column, and escaped in `extra`), and the fields that every event has."""


def size(parsed: Parsed) -> int:
    return sum(len(orjson.dumps([*event])) for event in parsed.events) + sum(
        len(rejection.value) + len(rejection.detail.encode("utf-8", "replace")) for rejection in parsed.rejections
    )


def check(event: Event) -> None:
    """Check what all later stages rely on."""
    orjson.dumps([*event])  # all strings can be encoded
    for name, value in zip(Event._fields, event, strict=True):
        assert type(value) in (str, int, bool), name
        assert not isinstance(value, str) or value.encode() is not None, name
    assert len(event.event_id) == 32
    assert bool(event.account_id) == bool(event.message_id)
    assert 0 <= event.occurred_us <= event.received_us + 86_400_000_000
    assert len(event.address) <= 400  # a key, whatever the text
    assert event.extra == "" or isinstance(orjson.loads(event.extra), dict)


def parse(provider: str, body: bytes, given_headers: list[tuple[str, bytes]] | None = None) -> Parsed:
    parsed = ADAPTERS[provider](body, a_source_position(topic=f"webhooks.{provider}"), given_headers or [])
    for event in parsed.events:
        check(event)
    return parsed


@providers
@given(body=bodies(), said=headers())
def test_any_body_gives_events_or_rejections(provider: str, body: bytes, said: list[tuple[str, bytes]]) -> None:
    parsed = parse(provider, body, said)
    if provider != "sendgrid":
        assert len(parsed.events) + len(parsed.rejections) == 1


@providers
@given(data=st.data())
def test_known_fields_may_hold_anything(provider: str, data: st.DataObject) -> None:
    name, words = _WORDS[provider]
    fields = data.draw(
        st.dictionaries(st.sampled_from(_NAMES[provider]), st.one_of(json_values(), texts(), times()), max_size=5)
    )
    said = {name: data.draw(st.sampled_from(words)), **fields}
    try:
        body = orjson.dumps([said] if provider == "sendgrid" else said)
    except TypeError:  # an integer of more than 64 bits: only `json` encodes it
        body = repr(said).encode("utf-8", "replace")
    parsed = parse(provider, body)
    assert size(parsed) <= MOST_BYTES_OUT_PER_BYTE * len(body) + ROOM_BYTES


@given(bad=st.lists(elements(), min_size=1, max_size=3), at=st.integers(0, 3))
def test_a_bad_element_does_not_affect_the_others(bad: list[bytes], at: int) -> None:
    good = [
        orjson.dumps({"event": "delivered", "email": f"u{n}@example.com", "sl_account": ACCOUNT, "sl_message": MESSAGE})
        for n in range(4)
    ]
    mixed = [*good[:at], *(element for element in bad if _is_json(element)), *good[at:]]
    parsed = parse("sendgrid", b"[" + b",".join(mixed) + b"]")
    assert {event.address for event in parsed.events} >= {f"u{n}@example.com" for n in range(4)}
    assert len(parsed.events) + len(parsed.rejections) == len(mixed)


def _is_json(element: bytes) -> bool:
    """Whether the element is valid in a list: otherwise the whole body would not be JSON."""
    if element.startswith((b"[" * 30, b'{"a":' * 30)):
        return True
    try:
        orjson.loads(element)
    except orjson.JSONDecodeError:
        return False
    return True


@pytest.mark.parametrize("levels", DEEP)
def test_a_deeply_nested_element_is_rejected_alone(levels: int) -> None:
    good = orjson.dumps({"event": "delivered", "email": "ann@example.com"})
    nested = b'{"event":"open","email":"bob@example.com","x":' + deep(levels) + b"}"
    parsed = parse("sendgrid", b"[" + good + b"," + nested + b"," + good + b"]")
    assert [event.address for event in parsed.events if event.type == "delivered"] == ["ann@example.com"] * 2
    assert all(len(rejection.value) <= len(nested) for rejection in parsed.rejections)
    assert {rejection.position for rejection in parsed.rejections} <= {1}


@given(text=texts(), channel=st.sampled_from(["email", "sms"]))
def test_the_key_of_any_address_is_short_and_idempotent(text: str, channel: str) -> None:
    key = address_key(text, channel)
    assert len(key) <= 1_300  # IDNA may lengthen a domain; no text of more than 320 characters is normalised
    assert address_key(text, channel) == key
    key.encode()


def test_a_time_far_in_the_future_is_replaced_by_the_arrival_time() -> None:
    for timestamp in (10**20, 2**63, -1, "9999-12-31T23:59:59Z", 253402300799, "1e999"):
        [event] = parse("sendgrid", orjson.dumps([{"event": "open", "timestamp": str(timestamp)}])).events
        assert event.occurred_us == NOW_US
