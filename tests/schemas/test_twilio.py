"""Twilio's webhook: every row of the mapping, and every way in which its posts have surprised somebody.

The numbers of traps are those of the list that this adapter was built against; whole posts are in tests/golden.
"""

import json
from typing import Any
from urllib.parse import urlencode

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from schemas.addresses import phone_key
from schemas.events import Bad, Event, Headers, Place
from schemas.providers.twilio import to_events
from schemas.times import DAY_US

RECEIVED_US = 1_795_511_060_000_000  # 2026-11-24T09:04:20Z
PLACE = Place("webhooks.twilio", 3, 1042, RECEIVED_US)
ACCOUNT, MESSAGE = "salon-anna", "01a20cc2-7402-7473-9e3a-265e16eee03f"
URL = "https://hooks.example.com/webhooks/twilio"
IDS = f"?sl_account={ACCOUNT}&sl_message={MESSAGE}"
SID = "SM1f0e2d3c4b5a69788796a5b4c3d2e1f0"
TEXT_SID = "SM99887766554433221100ffeeddccbbaa"


def headers(query: str = IDS, content_type: str = "application/x-www-form-urlencoded") -> Headers:
    return [("request_url", (URL + query).encode()), ("content_type", content_type.encode())]


def a_callback(status: str | None = "delivered", **said: str | None) -> dict[str, str]:
    """The fields of a status callback, but for what is `said`; None leaves a field out."""
    fields = {"MessageSid": SID, "MessageStatus": status, "To": "+14155550123"} | said
    return {name: value for name, value in fields.items() if value is not None}


def a_text(body: str | None = "Hello", **said: str | None) -> dict[str, str]:
    """The fields of a text to us, but for what is `said`; None leaves a field out."""
    fields = {"MessageSid": TEXT_SID, "SmsStatus": "received", "Body": body, "From": "+14155550123"} | said
    return {name: value for name, value in fields.items() if value is not None}


def parsed(fields: dict[str, str], query: str = IDS, place: Place = PLACE) -> Event:
    events, bad = to_events(urlencode(fields).encode(), place, headers(query))
    assert bad == []
    return events[0]


def event_of(status: str | None = "delivered", **said: str | None) -> Event:
    return parsed(a_callback(status, **said))


def text_of(body: str | None = "Hello", **said: str | None) -> Event:
    return parsed(a_text(body, **said), "")


def bad_of(body: bytes, content_type: str = "") -> Bad:
    events, bad = to_events(body, PLACE, headers(content_type=content_type))
    assert events == []
    return bad[0]


def extra_of(event: Event) -> Any:
    """What `extra` says beside the remark that each event of Twilio has."""
    extra = orjson.loads(event.extra)
    assert extra.pop("occurred_at") == "received_at"
    return extra


# What happened


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
        pytest.param("huh", "unknown", id="trap 15: a status that nobody announced"),
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
        pytest.param(
            {"MessageStatus": "delivered", "SmsStatus": "sent"}, "delivered", id="trap 15: the newer name wins"
        ),
        pytest.param({"MessageStatus": "sent", "SmsStatus": "delivered"}, "sent", id="also where it says less"),
        pytest.param({"MessageStatus": "huh", "SmsStatus": "delivered"}, "unknown", id="also where nobody knows it"),
        pytest.param({"MessageStatus": " ", "SmsStatus": "delivered"}, "delivered", id="a blank says nothing"),
        pytest.param({"MessageStatus": None, "SmsStatus": "sent"}, "sent", id="the older name alone"),
        pytest.param({"MessageStatus": None, "EventType": "READ"}, "opened", id="a receipt alone"),
        pytest.param({"MessageStatus": None, "EventType": " read "}, "opened", id="a receipt in another spelling"),
        pytest.param({"MessageStatus": "delivered", "EventType": "READ"}, "delivered", id="a status beside a receipt"),
        pytest.param(
            {"MessageStatus": None, "SmsStatus": "sent", "EventType": "READ"}, "sent", id="any status beside a receipt"
        ),
    ],
)
def test_one_of_several_names_counts(said: dict[str, str | None], type_: str) -> None:
    assert event_of(**said).type == type_


def test_what_says_the_same_is_kept_once_and_what_differs_stays_visible() -> None:
    assert extra_of(event_of("sent", SmsStatus="sent", SmsSid=SID)) == {}
    assert extra_of(event_of("sent", SmsStatus="queued", SmsSid="SM0")) == {"SmsStatus": "queued", "SmsSid": "SM0"}


def test_trap_16_the_first_callback_may_say_delivered() -> None:
    event = event_of("delivered")
    assert (event.type, event.account_id, event.message_id) == ("delivered", ACCOUNT, MESSAGE)


# A text to us


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
        pytest.param("STOP", {"SmsStatus": "delivered"}, "delivered", id="not a text to us"),
        pytest.param("STOP", {"MessageStatus": "huh"}, "unknown", id="not one either"),
    ],
)
def test_a_text_to_us(body: str | None, said: dict[str, str | None], type_: str) -> None:
    assert text_of(body, **said).type == type_
    if body:
        assert text_of(f" \r\n{body.lower()}\t", **said).type == type_


def test_a_text_keeps_what_was_said_and_the_senders_it_was_sent_to() -> None:
    said = {"Body": " Stop ", "To": "+15005550006", "MessagingServiceSid": "MG1", "OptOutType": "STOP"}
    event = text_of(**said, Body2="x")
    assert extra_of(event) == said | {"Body2": "x"}
    assert (event.address, event.provider_message_id, event.classification) == ("+14155550123", TEXT_SID, "received")


def test_trap_13_a_text_is_of_the_number_that_it_came_from() -> None:
    event = text_of("stop", From="WhatsApp:+1 (415) 555-0123", To="whatsapp:+15005550006")
    assert event.address == "whatsapp:+14155550123"
    assert extra_of(event)["From"] == "WhatsApp:+1 (415) 555-0123"


@pytest.mark.parametrize("body", ["STOP", "Hello"])
def test_ids_in_the_url_never_make_a_text_an_event_of_a_message(body: str) -> None:
    event = parsed(a_text(body))
    assert (event.account_id, event.message_id) == ("", "")
    assert extra_of(event) == {"Body": body, "sl_account": ACCOUNT, "sl_message": MESSAGE}
    assert event.event_id == text_of(body).event_id


# Which message


@pytest.mark.parametrize(
    "query",
    [
        pytest.param(IDS, id="both"),
        pytest.param(f"?sl_message={MESSAGE.upper()}&x=y&sl_account={ACCOUNT}", id="in capitals, in another order"),
        pytest.param(f"?sl%5Faccount=salon%2Danna&sl_message={MESSAGE.replace('-', '%2d')}", id="escaped"),
        pytest.param(f"{IDS}&sl_account={ACCOUNT}", id="one of them twice"),
        pytest.param(f"{IDS}#rc=3&rp=all", id="a fragment, which no server is sent"),
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
def test_half_a_pair_is_no_pair_and_stays_visible(query: str, seen: dict[str, str]) -> None:
    event = parsed(a_callback(), query)
    assert (event.account_id, event.message_id) == ("", "")
    assert extra_of(event) == seen


def test_of_ids_that_are_given_twice_the_first_counts_and_all_stay_visible() -> None:
    event = parsed(a_callback(), IDS + "&sl_account=other")
    assert (event.account_id, event.message_id) == (ACCOUNT, MESSAGE)
    assert extra_of(event) == {"sl_account": [ACCOUNT, "other"]}


def test_fields_of_our_names_in_the_body_are_not_our_ids() -> None:
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


def test_a_callback_is_of_the_number_that_it_went_to() -> None:
    event = event_of(To="whatsapp:+1 415-555-0123", From="+15005550006", MessagingServiceSid="MG1")
    assert event.address == "whatsapp:+14155550123"
    assert extra_of(event) == {
        "To": "whatsapp:+1 415-555-0123",
        "From": "+15005550006",
        "MessagingServiceSid": "MG1",
    }


# When


@pytest.mark.parametrize("said", [{}, {"RawDlrDoneDate": "2501010000"}, {"RawDlrDoneDate": "9912312359"}], ids=repr)
def test_trap_17_the_carriers_clock_is_a_hint_and_no_time(said: dict[str, str]) -> None:
    event = event_of(**said)
    assert (event.occurred_us, event.received_us) == (RECEIVED_US, RECEIVED_US)
    assert extra_of(event) == said


# Why


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


def test_fault_by_an_enhanced_code_in_the_reason_where_the_code_tells_nothing() -> None:
    event = event_of("failed", ErrorCode="30008", ErrorMessage="550 5.1.1 no such user")
    assert (event.enhanced_code, event.fault) == ("5.1.1", "recipient")
    assert event_of("failed", ErrorCode="30007", ErrorMessage="550 5.1.1").fault == "sender"


@pytest.mark.parametrize("code", ["", " ", "0", "00", None])
def test_no_error_has_no_code(code: str | None) -> None:
    event = event_of("failed", ErrorCode=code)
    assert (event.code, event.fault) == ("", "unknown")
    assert event.event_id == event_of("failed").event_id


def test_a_code_of_zero_stays_visible() -> None:
    assert extra_of(event_of(ErrorCode="0")) == {"ErrorCode": "0"}


def test_reason_is_twilios_else_the_channels() -> None:
    both = event_of("failed", ErrorMessage="why", ChannelStatusMessage="because")
    assert (both.reason, extra_of(both)) == ("why", {"ChannelStatusMessage": "because"})
    assert event_of("failed", ErrorMessage=" ", ChannelStatusMessage="because").reason == "because"
    assert event_of("failed", ChannelStatusMessage="because").reason == "because"


def test_trap_25_text_of_strangers_is_kept_byte_for_byte() -> None:
    text = "<script>=1+1\r\n\x00\x1b[31m\u202e\U0001f600"
    assert event_of("failed", ErrorMessage=text).reason == text
    assert extra_of(text_of(text, ProfileName=text)) == {"Body": text, "ProfileName": text}


# The id of the fact


@pytest.mark.parametrize(
    "said",
    [
        pytest.param({"MessageStatus": " Undelivered"}, id="capitals in the status"),
        pytest.param({"MessageStatus": None, "SmsStatus": "undelivered"}, id="its older name"),
        pytest.param({"SmsStatus": "sent"}, id="an older name that disagrees"),
        pytest.param({"MessageSid": None, "SmsSid": SID}, id="the older name of the id"),
        pytest.param({"ErrorCode": " 30003 "}, id="blanks about the code"),
        pytest.param({"RawDlrDoneDate": " 2611240928"}, id="blanks about the carrier's time"),
        pytest.param({"To": "+15005550001", "ErrorMessage": "x", "New": "y"}, id="what is no part of it"),
    ],
)
def test_event_id_is_the_same_for_every_spelling_of_one_fact(said: dict[str, str | None]) -> None:
    fact: dict[str, str | None] = {"ErrorCode": "30003", "RawDlrDoneDate": "2611240928"}
    assert event_of(**{"status": "undelivered"} | fact | said).event_id == event_of("undelivered", **fact).event_id


@pytest.mark.parametrize(
    "said",
    [
        pytest.param({"MessageSid": "SM0"}, id="message"),
        pytest.param({"MessageStatus": "sent"}, id="status"),
        pytest.param({"ErrorCode": "30003"}, id="trap 15: code"),
        pytest.param({"RawDlrDoneDate": "2611240928"}, id="carrier's time"),
    ],
)
def test_event_id_tells_two_facts_apart(said: dict[str, str | None]) -> None:
    assert event_of(**said).event_id != event_of().event_id


def test_event_id_does_not_depend_on_where_and_when_it_came() -> None:
    later = Place("webhooks.twilio", 0, 7, RECEIVED_US + 40 * DAY_US)
    for fields in (a_callback(), a_text(), a_callback(MessageSid=None), a_text(MessageSid=None)):
        assert parsed(fields, place=later).event_id == parsed(fields).event_id
    assert parsed(a_callback(), "").event_id == parsed(a_callback()).event_id


def test_a_text_is_named_by_its_id_alone() -> None:
    assert text_of("STOP").event_id == text_of("STOP", SmsStatus="receiving", From="+15005550001").event_id
    assert text_of("STOP").event_id != text_of("STOP", MessageSid=SID).event_id


def test_without_the_providers_id_ours_names_the_fact() -> None:
    nameless = a_callback(MessageSid=None)
    one, other = parsed(nameless), parsed(nameless, IDS[:-1] + "0")
    assert one.event_id != other.event_id
    assert one.event_id == parsed(nameless | {"To": "+15005550001"}).event_id


def test_without_any_id_the_whole_post_names_the_fact() -> None:
    nameless = a_callback(MessageSid=None)
    assert parsed(nameless, "").event_id == parsed(dict(reversed(nameless.items())), "").event_id
    assert parsed(nameless, "").event_id != parsed(nameless | {"To": "+15005550001"}, "").event_id
    assert text_of("STOP", MessageSid=None).event_id != text_of("START", MessageSid=None).event_id


# The body


def test_of_a_field_that_is_given_twice_the_first_counts_and_all_stay_visible() -> None:
    body = f"MessageSid={SID}&MessageStatus=delivered&MessageStatus=failed&To=%2B1&To=%2B1&A=x&A=&A=x".encode()
    (event,) = to_events(body, PLACE, headers()).events
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
def test_escapes_are_read_leniently(escaped: str, text: str) -> None:
    body = f"MessageStatus=failed&ErrorMessage={escaped}&{escaped.replace('=', '%3D')}=1".encode()
    (event,) = to_events(body, PLACE).events
    assert event.reason == text
    assert extra_of(event) == {text: "1"}


def test_bytes_that_are_no_utf_8_cost_nobody_anything() -> None:
    assert to_events(b"MessageStatus=failed&ErrorMessage=gr\xfcn", PLACE).events[0].reason == "gr\ufffdn"


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
def test_an_object_says_what_a_form_says(body: bytes, content_type: str) -> None:
    assert to_events(body, PLACE, headers(content_type=content_type)).events == [event_of()]


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
    (event,) = to_events(body, PLACE, headers()).events
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
def test_a_body_that_says_nothing_to_us_is_one_bad(body: bytes, content_type: str, reason: str) -> None:
    bad = bad_of(body, content_type)
    assert (bad.reason, bad.value, bad.position) == (reason, body, None)


def test_an_event_knows_its_place() -> None:
    assert event_of()[-4:] == (*PLACE[:3], 0)


def test_headers_may_be_missing_or_empty() -> None:
    body = urlencode(a_callback()).encode()
    without = parsed(a_callback(), "")
    assert to_events(body, PLACE).events == [without]
    nothing: Any = [("content_type", None), ("request_url", None), ("peer", b"\xff")]
    assert to_events(body, PLACE, nothing).events == [without]


# Laws

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
def test_every_form_becomes_an_event_or_a_bad_one(form: list[tuple[str, str]], query: str) -> None:
    body = urlencode(form).encode()
    events, bad = to_events(body, PLACE, headers(query))
    assert len(events) + len(bad) == 1
    assert all(one.reason in {"status_missing", "body_not_form"} and one.value == body for one in bad)
    for event in events:
        for value, kind in zip(event, Event.__annotations__.values(), strict=True):
            assert type(value) is kind
        "".join(value for value in event if isinstance(value, str)).encode()  # no half of a surrogate pair
        assert event.address == phone_key(event.address)
        assert bool(event.account_id) == bool(event.message_id)
        assert orjson.loads(event.extra)["occurred_at"] == "received_at"


@given(st.binary(max_size=60), st.binary(max_size=60), st.sampled_from([b"", b"application/json"]))
def test_any_bytes_are_taken(body: bytes, url: bytes, content_type: bytes) -> None:
    events, bad = to_events(body, PLACE, [("request_url", url), ("content_type", content_type)])
    assert len(events) + len(bad) == 1
    assert all(one.reason != "body_failed" for one in bad)


@given(st.dictionaries(st.sampled_from(FIELDS), VALUE, max_size=10), QUERY)
def test_a_form_in_another_order_and_as_json_says_the_same(fields: dict[str, str], query: str) -> None:
    said = to_events(urlencode(fields).encode(), PLACE, headers(query)).events
    backwards = urlencode(dict(reversed(fields.items()))).encode()
    assert to_events(backwards, PLACE, headers(query)).events == said
    assert to_events(orjson.dumps(fields), PLACE, headers(query)).events == said


@pytest.mark.parametrize("field", [*FIELDS, "AccountSid", "ApiVersion", "MediaUrl0"])
@pytest.mark.parametrize("fields", [a_callback(), a_callback("failed"), a_text()], ids=["sent", "failed", "text"])
def test_no_field_is_lost(fields: dict[str, str], field: str) -> None:
    """Whatever a field says stands in a column, or under the field's own name in `extra`."""
    event = parsed(fields | {field: "+7~said~"}, "")
    assert orjson.loads(event.extra).get(field) == "+7~said~" or "+7~said~" in event or field == "occurred_at"


def test_our_remark_about_the_time_hides_a_field_of_its_name() -> None:
    assert orjson.loads(event_of(occurred_at="noon").extra) == {"occurred_at": "received_at"}
