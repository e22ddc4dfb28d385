"""Twilio's webhook: every row of the mapping, and known surprises of its posts. Whole posts are in tests/golden."""

import json
from typing import Any
from urllib.parse import urlencode

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from schemas.decoding.addresses import phone_key
from schemas.decoding.times import DAY_US
from schemas.events import Event, Headers, Rejection, SourcePosition
from schemas.providers.twilio import to_events

RECEIVED_US = 1_795_511_060_000_000  # 2026-11-24T09:04:20Z
SOURCE = SourcePosition("webhooks.twilio", 3, 1042, RECEIVED_US)
ACCOUNT, MESSAGE = "salon-anna", "01a20cc2-7402-7473-9e3a-265e16eee03f"
URL = "https://hooks.example.com/webhooks/twilio"
IDS = f"?sl_account={ACCOUNT}&sl_message={MESSAGE}"
SID = "SM1f0e2d3c4b5a69788796a5b4c3d2e1f0"
TEXT_SID = "SM99887766554433221100ffeeddccbbaa"


def headers(query: str = IDS, content_type: str = "application/x-www-form-urlencoded") -> Headers:
    return [("request_url", (URL + query).encode()), ("content_type", content_type.encode())]


def a_callback(status: str | None = "delivered", **said: str | None) -> dict[str, str]:
    """Return the fields of a status callback, with those in `said` replaced; None leaves a field out."""
    fields = {"MessageSid": SID, "MessageStatus": status, "To": "+14155550123"} | said
    return {name: value for name, value in fields.items() if value is not None}


def a_text(body: str | None = "Hello", **said: str | None) -> dict[str, str]:
    """Return the fields of an inbound message, with those in `said` replaced; None leaves a field out."""
    fields = {"MessageSid": TEXT_SID, "SmsStatus": "received", "Body": body, "From": "+14155550123"} | said
    return {name: value for name, value in fields.items() if value is not None}


def parsed(fields: dict[str, str], query: str = IDS, source: SourcePosition = SOURCE) -> Event:
    events, rejections = to_events(urlencode(fields).encode(), source, headers(query))
    assert rejections == []
    return events[0]


def event_of(status: str | None = "delivered", **said: str | None) -> Event:
    return parsed(a_callback(status, **said))


def text_of(body: str | None = "Hello", **said: str | None) -> Event:
    return parsed(a_text(body, **said), "")


def rejection_of(body: bytes, content_type: str = "") -> Rejection:
    events, rejections = to_events(body, SOURCE, headers(content_type=content_type))
    assert events == []
    return rejections[0]


def extra_of(event: Event) -> Any:
    """Return `extra` without the note that each event of Twilio has."""
    extra = orjson.loads(event.extra)
    assert extra.pop("occurred_at") == "received_at"
    return extra


# Event types


@pytest.mark.parametrize(
    ("status", "type_"),
    [
        ("accepted", "processed"),
        ("scheduled", "processed"),
        ("queued", "processed"),
        ("sending", "processed"),
        ("sent", "sent"),
        ("delivered", "delivered"),
        ("read", "opened"),
        ("undelivered", "failed"),
        ("failed", "failed"),
        ("canceled", "dropped"),
        ("partially_delivered", "unknown"),
        pytest.param("huh", "unknown", id="a status that is not documented"),
        pytest.param("cancelled", "unknown", id="a spelling that Twilio does not use"),
    ],
)
def test_status_maps_to_type(status: str, type_: str) -> None:
    for spelling in (status, f" {status.upper()}\n"):
        assert event_of(spelling).type == type_
        assert event_of(spelling).classification == spelling
        assert event_of(None, SmsStatus=spelling).type == type_


@pytest.mark.parametrize(
    ("said", "type_"),
    [
        pytest.param({"MessageStatus": "delivered", "SmsStatus": "sent"}, "delivered", id="the newer name wins"),
        pytest.param({"MessageStatus": "sent", "SmsStatus": "delivered"}, "sent", id="also if it is less specific"),
        pytest.param({"MessageStatus": "huh", "SmsStatus": "delivered"}, "unknown", id="also if it is unknown"),
        pytest.param({"MessageStatus": " ", "SmsStatus": "delivered"}, "delivered", id="a blank is ignored"),
        pytest.param({"MessageStatus": None, "SmsStatus": "sent"}, "sent", id="the older name alone"),
        pytest.param({"MessageStatus": None, "EventType": "READ"}, "opened", id="a receipt alone"),
        pytest.param({"MessageStatus": None, "EventType": " read "}, "opened", id="a receipt in another spelling"),
        pytest.param({"MessageStatus": "delivered", "EventType": "READ"}, "delivered", id="a status beside a receipt"),
        pytest.param(
            {"MessageStatus": None, "SmsStatus": "sent", "EventType": "READ"}, "sent", id="any status beside a receipt"
        ),
    ],
)
def test_one_of_several_field_names_is_used(said: dict[str, str | None], type_: str) -> None:
    assert event_of(**said).type == type_


def test_equal_values_are_kept_once_and_different_ones_in_extra() -> None:
    assert extra_of(event_of("sent", SmsStatus="sent", SmsSid=SID)) == {}
    assert extra_of(event_of("sent", SmsStatus="queued", SmsSid="SM0")) == {"SmsStatus": "queued", "SmsSid": "SM0"}


def test_the_first_callback_may_be_delivered() -> None:
    event = event_of("delivered")
    assert (event.type, event.account_id, event.message_id) == ("delivered", ACCOUNT, MESSAGE)


# Inbound messages


@pytest.mark.parametrize(
    ("body", "said", "type_"),
    [
        *((word, {}, "opted_out") for word in ["STOP", "UNSUBSCRIBE", "END", "QUIT"]),
        *((word, {}, "opted_out") for word in ["STOPALL", "REVOKE", "OPTOUT", "CANCEL"]),
        *((word, {}, "opted_in") for word in ["START", "YES", "UNSTOP"]),
        *((word, {}, "unknown") for word in ["HELP", "INFO", "STOP.", "STOP IT", "NO", "STOP START", "'STOP'"]),
        ("Arret", {"OptOutType": "STOP"}, "opted_out"),
        ("Arret", {"OptOutType": " stop "}, "opted_out"),
        ("Salut", {"OptOutType": "Start"}, "opted_in"),
        ("STOP", {"OptOutType": "HELP"}, "unknown"),
        ("STOP", {"OptOutType": "START"}, "opted_in"),
        ("STOP", {"OptOutType": "huh"}, "unknown"),
        ("STOP", {"OptOutType": " "}, "opted_out"),
        (None, {"OptOutType": "STOP", "SmsStatus": None}, "opted_out"),
        ("STOP", {"SmsStatus": None}, "opted_out"),
        ("STOP", {"SmsStatus": "receiving"}, "opted_out"),
        ("STOP", {"SmsStatus": " Received"}, "opted_out"),
        ("Hello", {"SmsStatus": None}, "unknown"),
        ("", {"NumMedia": "1"}, "unknown"),
        (None, {}, "unknown"),
        pytest.param("STOP", {"SmsStatus": "delivered"}, "delivered", id="not an inbound message"),
        pytest.param("STOP", {"MessageStatus": "huh"}, "unknown", id="neither"),
    ],
)
def test_an_inbound_message(body: str | None, said: dict[str, str | None], type_: str) -> None:
    assert text_of(body, **said).type == type_
    if body:
        assert text_of(f" \r\n{body.lower()}\t", **said).type == type_


def test_an_inbound_message_keeps_its_text_and_the_number_it_was_sent_to() -> None:
    said = {"Body": " Stop ", "To": "+15005550006", "MessagingServiceSid": "MG1", "OptOutType": "STOP"}
    event = text_of(**said, Body2="x")
    assert extra_of(event) == said | {"Body2": "x"}
    assert (event.address, event.provider_message_id, event.classification) == ("+14155550123", TEXT_SID, "received")


def test_an_inbound_message_has_the_address_it_came_from() -> None:
    event = text_of("stop", From="WhatsApp:+1 (415) 555-0123", To="whatsapp:+15005550006")
    assert event.address == "whatsapp:+14155550123"
    assert extra_of(event)["From"] == "WhatsApp:+1 (415) 555-0123"


@pytest.mark.parametrize("body", ["STOP", "Hello"])
def test_ids_in_the_url_are_not_used_for_an_inbound_message(body: str) -> None:
    event = parsed(a_text(body))
    assert (event.account_id, event.message_id) == ("", "")
    assert extra_of(event) == {"Body": body, "sl_account": ACCOUNT, "sl_message": MESSAGE}
    assert event.event_id == text_of(body).event_id


# Message ids


@pytest.mark.parametrize(
    "query",
    [
        pytest.param(IDS, id="both"),
        pytest.param(f"?sl_message={MESSAGE.upper()}&x=y&sl_account={ACCOUNT}", id="in capitals, in another order"),
        pytest.param(f"?sl%5Faccount=salon%2Danna&sl_message={MESSAGE.replace('-', '%2d')}", id="escaped"),
        pytest.param(f"{IDS}&sl_account={ACCOUNT}", id="one of them twice"),
        pytest.param(f"{IDS}#rc=3&rp=all", id="a fragment, which is never sent to a server"),
        pytest.param(f"?&&{IDS[1:]}&bodySHA256=00", id="beside others"),
        pytest.param(f"?SL_Account={ACCOUNT}&sl_MESSAGE={MESSAGE}", id="their names in any case"),
    ],
)
def test_our_ids_come_from_the_query_of_the_url(query: str) -> None:
    event = parsed(a_callback(), query)
    assert (event.account_id, event.message_id) == (ACCOUNT, MESSAGE)
    assert extra_of(event) == {}


@pytest.mark.parametrize(
    ("query", "seen"),
    [
        ("", {}),
        ("?", {}),
        (f"?sl_message={MESSAGE}", {"sl_message": MESSAGE}),
        (f"?sl_account={ACCOUNT}", {"sl_account": ACCOUNT}),
        (f"?sl_account=&sl_message={MESSAGE}", {"sl_account": "", "sl_message": MESSAGE}),
        (f"?sl_account=salon+anna&sl_message={MESSAGE}", {"sl_account": "salon anna", "sl_message": MESSAGE}),
        (f"?sl_account={'x' * 65}&sl_message=7", {"sl_account": "x" * 65, "sl_message": "7"}),
        (
            f"?sl_account={ACCOUNT}&sl_message=0b1f6b3e-6c0e-4d6b-9e56-6a6d6c7f8a90",
            {"sl_account": ACCOUNT, "sl_message": "0b1f6b3e-6c0e-4d6b-9e56-6a6d6c7f8a90"},
        ),
        (f"#{IDS}", {}),
    ],
)
def test_an_incomplete_id_pair_is_not_used_and_is_kept_in_extra(query: str, seen: dict[str, str]) -> None:
    event = parsed(a_callback(), query)
    assert (event.account_id, event.message_id) == ("", "")
    assert extra_of(event) == seen


def test_of_repeated_ids_the_first_is_used_and_all_are_kept_in_extra() -> None:
    event = parsed(a_callback(), IDS + "&sl_account=other")
    assert (event.account_id, event.message_id) == (ACCOUNT, MESSAGE)
    assert extra_of(event) == {"sl_account": [ACCOUNT, "other"]}


def test_fields_with_our_names_in_the_body_are_not_our_ids() -> None:
    event = parsed(a_callback(sl_account=ACCOUNT, sl_message=MESSAGE), "")
    assert (event.account_id, event.message_id) == ("", "")
    assert extra_of(event) == {"sl_account": ACCOUNT, "sl_message": MESSAGE}


@pytest.mark.parametrize(
    "said",
    [
        {"MessageSid": f" {SID} "},
        {"MessageSid": None, "SmsSid": SID},
        {"MessageSid": "", "SmsSid": " ", "SmsMessageSid": SID},
        {"MessageSid": SID, "SmsSid": "SM0"},
    ],
    ids=repr,
)
def test_the_providers_id_has_three_names(said: dict[str, str | None]) -> None:
    assert event_of(**said).provider_message_id == SID


def test_a_callback_has_the_address_it_was_sent_to() -> None:
    event = event_of(To="whatsapp:+1 415-555-0123", From="+15005550006", MessagingServiceSid="MG1")
    assert event.address == "whatsapp:+14155550123"
    assert extra_of(event) == {
        "To": "whatsapp:+1 415-555-0123",
        "From": "+15005550006",
        "MessagingServiceSid": "MG1",
    }


# Times


@pytest.mark.parametrize("said", [{}, {"RawDlrDoneDate": "2501010000"}, {"RawDlrDoneDate": "9912312359"}], ids=repr)
def test_the_carriers_time_is_only_kept_in_extra(said: dict[str, str]) -> None:
    event = event_of(**said)
    assert (event.occurred_us, event.received_us) == (RECEIVED_US, RECEIVED_US)
    assert extra_of(event) == said


# Reason and fault


CODES = {
    "recipient": "30005 30006 21211 21612 21614 21635 63024",
    "mailbox": "30003 30004",
    "sender": "30002 30007 30018 30022 30023 30024 30027 30032 30034 30450 30610 30640 21408 21606 21608 21611 21617 "
    "63016 63018",
    "infrastructure": "30001 30009 30010 30011 30017 30019 30410 30500",
    "unknown": "30008 21610 63014 63033 99999",
}


@pytest.mark.parametrize(("code", "fault"), [(code, fault) for fault in CODES for code in CODES[fault].split()])
def test_fault_by_code(code: str, fault: str) -> None:
    for status in ("failed", "undelivered", "canceled"):
        event = event_of(status, ErrorCode=f" {code}\n")
        assert (event.code, event.fault) == (code, fault)
    assert event_of("sent", ErrorCode=code).fault == ""


def test_the_fault_of_an_unknown_code_is_that_of_the_enhanced_code_in_the_reason() -> None:
    event = event_of("failed", ErrorCode="30008", ErrorMessage="550 5.1.1 no such user")
    assert (event.enhanced_code, event.fault) == ("5.1.1", "recipient")
    assert event_of("failed", ErrorCode="30007", ErrorMessage="550 5.1.1").fault == "sender"


@pytest.mark.parametrize("code", ["", " ", "0", "00", None])
def test_zero_or_blank_is_not_an_error_code(code: str | None) -> None:
    event = event_of("failed", ErrorCode=code)
    assert (event.code, event.fault) == ("", "unknown")
    assert event.event_id == event_of("failed").event_id


def test_a_code_of_zero_is_kept_in_extra() -> None:
    assert extra_of(event_of(ErrorCode="0")) == {"ErrorCode": "0"}


def test_reason_is_the_error_message_else_the_channels() -> None:
    both = event_of("failed", ErrorMessage="why", ChannelStatusMessage="because")
    assert (both.reason, extra_of(both)) == ("why", {"ChannelStatusMessage": "because"})
    assert event_of("failed", ErrorMessage=" ", ChannelStatusMessage="because").reason == "because"
    assert event_of("failed", ChannelStatusMessage="because").reason == "because"


def test_text_of_third_parties_is_kept_byte_for_byte() -> None:
    text = "<script>=1+1\r\n\x00\x1b[31m\u202e\U0001f600"
    assert event_of("failed", ErrorMessage=text).reason == text
    assert extra_of(text_of(text, ProfileName=text)) == {"Body": text, "ProfileName": text}


# The event id


@pytest.mark.parametrize(
    "said",
    [
        pytest.param({"MessageStatus": " Undelivered"}, id="capitals in the status"),
        pytest.param({"MessageStatus": None, "SmsStatus": "undelivered"}, id="its older name"),
        pytest.param({"SmsStatus": "sent"}, id="an older name that disagrees"),
        pytest.param({"MessageSid": None, "SmsSid": SID}, id="the older name of the id"),
        pytest.param({"ErrorCode": " 30003 "}, id="blanks around the code"),
        pytest.param({"RawDlrDoneDate": " 2611240928"}, id="blanks around the carrier's time"),
        pytest.param({"To": "+15005550001", "ErrorMessage": "x", "New": "y"}, id="fields that are not part of it"),
    ],
)
def test_event_id_is_the_same_for_every_spelling_of_a_fact(said: dict[str, str | None]) -> None:
    fact: dict[str, str | None] = {"ErrorCode": "30003", "RawDlrDoneDate": "2611240928"}
    assert event_of(**{"status": "undelivered"} | fact | said).event_id == event_of("undelivered", **fact).event_id


@pytest.mark.parametrize(
    "said",
    [
        pytest.param({"MessageSid": "SM0"}, id="message"),
        pytest.param({"MessageStatus": "sent"}, id="status"),
        pytest.param({"ErrorCode": "30003"}, id="code"),
        pytest.param({"RawDlrDoneDate": "2611240928"}, id="carrier's time"),
    ],
)
def test_different_facts_have_different_event_ids(said: dict[str, str | None]) -> None:
    assert event_of(**said).event_id != event_of().event_id


def test_event_id_does_not_depend_on_source_position_or_arrival_time() -> None:
    later = SourcePosition("webhooks.twilio", 0, 7, RECEIVED_US + 40 * DAY_US)
    for fields in (a_callback(), a_text(), a_callback(MessageSid=None), a_text(MessageSid=None)):
        assert parsed(fields, source=later).event_id == parsed(fields).event_id
    assert parsed(a_callback(), "").event_id == parsed(a_callback()).event_id


def test_the_event_id_of_an_inbound_message_uses_its_message_id_only() -> None:
    assert text_of("STOP").event_id == text_of("STOP", SmsStatus="receiving", From="+15005550001").event_id
    assert text_of("STOP").event_id != text_of("STOP", MessageSid=SID).event_id


def test_without_the_providers_id_the_event_id_uses_ours() -> None:
    nameless = a_callback(MessageSid=None)
    one, other = parsed(nameless), parsed(nameless, IDS[:-1] + "0")
    assert one.event_id != other.event_id
    assert one.event_id == parsed(nameless | {"To": "+15005550001"}).event_id


def test_without_any_id_the_event_id_uses_the_whole_post() -> None:
    nameless = a_callback(MessageSid=None)
    assert parsed(nameless, "").event_id == parsed(dict(reversed(nameless.items())), "").event_id
    assert parsed(nameless, "").event_id != parsed(nameless | {"To": "+15005550001"}, "").event_id
    assert text_of("STOP", MessageSid=None).event_id != text_of("START", MessageSid=None).event_id


# The body


def test_of_a_repeated_field_the_first_is_used_and_all_are_kept_in_extra() -> None:
    body = f"MessageSid={SID}&MessageStatus=delivered&MessageStatus=failed&To=%2B1&To=%2B1&A=x&A=&A=x".encode()
    (event,) = to_events(body, SOURCE, headers()).events
    assert (event.type, event.address) == ("delivered", "+1")
    assert extra_of(event) == {"MessageStatus": ["delivered", "failed"], "A": ["x", "", "x"]}


@pytest.mark.parametrize(
    ("escaped", "text"),
    [
        ("gr%FCn", "gr\ufffdn"),
        ("gr%C3%BCn", "grün"),
        ("gr%zzn%", "gr%zzn%"),
        ("a+b%2Bc%20d", "a b+c d"),
        ("%ED%A0%80", "\ufffd\ufffd\ufffd"),
        ("a=b", "a=b"),
        ("%00", "\x00"),
    ],
)
def test_escapes_are_decoded_leniently(escaped: str, text: str) -> None:
    body = f"MessageStatus=failed&ErrorMessage={escaped}&{escaped.replace('=', '%3D')}=1".encode()
    (event,) = to_events(body, SOURCE).events
    assert event.reason == text
    assert extra_of(event) == {text: "1"}


def test_bytes_that_are_not_utf_8_are_replaced() -> None:
    assert to_events(b"MessageStatus=failed&ErrorMessage=gr\xfcn", SOURCE).events[0].reason == "gr\ufffdn"


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        pytest.param(orjson.dumps(a_callback()), "application/json", id="as its header says"),
        pytest.param(orjson.dumps(a_callback()), "Application/JSON; charset=utf-8", id="in another spelling"),
        pytest.param(orjson.dumps(a_callback()), "application/x-www-form-urlencoded", id="whatever its header says"),
        pytest.param(orjson.dumps(a_callback()), "", id="without a header"),
        pytest.param(b"\r\n" + orjson.dumps(a_callback(), option=orjson.OPT_INDENT_2), "text/json", id="with blanks"),
        pytest.param(b"\xef\xbb\xbf" + orjson.dumps(a_callback()), "text/json", id="with a byte order mark"),
    ],
)
def test_a_json_object_gives_the_same_event_as_a_form(body: bytes, content_type: str) -> None:
    assert to_events(body, SOURCE, headers(content_type=content_type)).events == [event_of()]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("x", "x"),
        (1, "1"),
        (1.0, "1"),
        (1.5, "1.5"),
        (True, "true"),
        (None, ""),
        ([1, "a"], '[1,"a"]'),
        ("\ud83d", "\ufffd"),
    ],
    ids=repr,
)
def test_a_value_of_any_json_type_becomes_text(value: object, text: str) -> None:
    body = json.dumps(a_callback("failed") | {"ErrorMessage": value, "New": value}).encode()
    (event,) = to_events(body, SOURCE, headers()).events
    assert event.reason == text
    assert extra_of(event) == {"New": text}


@pytest.mark.parametrize(
    ("body", "content_type", "reason"),
    [
        (b"", "", "body_not_form"),
        (b" \r\n", "", "body_not_form"),
        (b"&=&", "", "body_not_form"),
        (b"no form", "", "body_not_form"),
        (b"\xff\xfe\x00", "", "body_not_form"),
        (b"MessageStatus", "", "body_not_form"),
        (b"a=b", "", "status_missing"),
        (b"MessageStatus=&SmsStatus=+&MessageSid=SM1", "", "status_missing"),
        (b"MessageSid=SM1&Body=&OptOutType=+", "", "status_missing"),
        (b"messagestatus=sent", "", "status_missing"),
        (b"CallSid=CA1&CallStatus=completed", "", "status_missing"),
        (b"MessageSid=SM1&EventType=DELIVERED", "", "status_missing"),
        (b"{}", "", "body_not_form"),
        (b'{"a": 1}', "", "status_missing"),
        (b"{", "", "body_not_json"),
        (b"", "application/json", "body_not_json"),
        (b"MessageStatus=sent", "application/json", "body_not_json"),
        (b"[" * 9999, "application/json", "body_not_json"),
        (b'{"MessageStatus": ' + b"[" * 400 + b"]" * 400 + b"}", "", "body_not_json"),
        (b'[{"MessageStatus": "sent"}]', "application/json", "body_not_object"),
        (b"null", "application/json", "body_not_object"),
    ],
)
def test_a_body_that_cannot_be_read_is_one_rejection(body: bytes, content_type: str, reason: str) -> None:
    rejection = rejection_of(body, content_type)
    assert (rejection.reason, rejection.value, rejection.position) == (reason, body, None)


def test_an_event_has_its_source_position() -> None:
    assert event_of()[-4:] == (*SOURCE[:3], 0)


def test_headers_may_be_missing_or_empty() -> None:
    body = urlencode(a_callback()).encode()
    without = parsed(a_callback(), "")
    assert to_events(body, SOURCE).events == [without]
    nothing: Any = [("content_type", None), ("request_url", None), ("peer", b"\xff")]
    assert to_events(body, SOURCE, nothing).events == [without]


# Properties

FIELDS = [
    "MessageSid",
    "SmsSid",
    "SmsMessageSid",
    "MessageStatus",
    "SmsStatus",
    "ErrorCode",
    "ErrorMessage",
    "To",
    "From",
]
FIELDS += ["ChannelStatusMessage", "EventType", "Body", "OptOutType", "RawDlrDoneDate", "MessagingServiceSid", "x", ""]
FIELDS += ["occurred_at", "sl_account", "sl_message"]
STATUSES = ["sent", "delivered", "undelivered", "canceled", "Read", "received", "huh"]
ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=10)
VALUE = (
    st.sampled_from([*STATUSES, SID, "+1 415 555 0123", "0", "30003", "STOP", "READ", "2611240928", " ", ""]) | ANY_TEXT
)
FORM = st.lists(st.tuples(st.sampled_from(FIELDS) | ANY_TEXT, VALUE), max_size=10)
QUERY = st.sampled_from([IDS, "", IDS[:-1], "?sl_account=a&sl_account=b"]) | ANY_TEXT


@given(FORM, QUERY)
@example([("MessageStatus", "sent"), ("MessageStatus", "")], IDS)
def test_every_form_becomes_an_event_or_a_rejection(form: list[tuple[str, str]], query: str) -> None:
    body = urlencode(form).encode()
    events, rejections = to_events(body, SOURCE, headers(query))
    assert len(events) + len(rejections) == 1
    assert all(one.reason in {"status_missing", "body_not_form"} and one.value == body for one in rejections)
    for event in events:
        for value, kind in zip(event, Event.__annotations__.values(), strict=True):
            assert type(value) is kind
        "".join(value for value in event if isinstance(value, str)).encode()  # no half surrogate pairs
        assert event.address == phone_key(event.address)
        assert bool(event.account_id) == bool(event.message_id)
        assert orjson.loads(event.extra)["occurred_at"] == "received_at"


@given(st.binary(max_size=60), st.binary(max_size=60), st.sampled_from([b"", b"application/json"]))
def test_any_bytes_are_handled(body: bytes, url: bytes, content_type: bytes) -> None:
    events, rejections = to_events(body, SOURCE, [("request_url", url), ("content_type", content_type)])
    assert len(events) + len(rejections) == 1
    assert all(one.reason != "body_failed" for one in rejections)


@given(st.dictionaries(st.sampled_from(FIELDS), VALUE, max_size=10), QUERY)
def test_a_form_in_another_order_or_as_json_gives_the_same_event(fields: dict[str, str], query: str) -> None:
    said = to_events(urlencode(fields).encode(), SOURCE, headers(query)).events
    backwards = urlencode(dict(reversed(fields.items()))).encode()
    assert to_events(backwards, SOURCE, headers(query)).events == said
    assert to_events(orjson.dumps(fields), SOURCE, headers(query)).events == said


@pytest.mark.parametrize("field", [*FIELDS, "AccountSid", "ApiVersion", "MediaUrl0"])
@pytest.mark.parametrize("fields", [a_callback(), a_callback("failed"), a_text()], ids=["sent", "failed", "text"])
def test_no_field_is_lost(fields: dict[str, str], field: str) -> None:
    """The value of any field is in a column, or in `extra` under the field's name."""
    event = parsed(fields | {field: "+7~said~"}, "")
    assert orjson.loads(event.extra).get(field) == "+7~said~" or "+7~said~" in event or field == "occurred_at"


def test_our_note_about_the_time_replaces_a_field_of_its_name() -> None:
    assert orjson.loads(event_of(occurred_at="noon").extra) == {"occurred_at": "received_at"}
