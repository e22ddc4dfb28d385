"""SendGrid's webhook: every row of the mapping, and known surprises of its posts. Whole posts are in tests/golden."""

import json
import re
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from schemas.decoding.addresses import email_key
from schemas.decoding.times import DAY_US
from schemas.events import Event, Rejection, SourcePosition
from schemas.providers.delivery_faults import enhanced_code_in, fault_of_enhanced_code
from schemas.providers.provider_ids import sendgrid_id_key
from schemas.providers.sendgrid import to_events

SENT = 1_795_511_000  # 2026-11-24T09:03:20Z
RECEIVED_US = (SENT + 60) * 1_000_000
SOURCE = SourcePosition("webhooks.sendgrid", 3, 1042, RECEIVED_US)
MESSAGE = "01a20cc2-7402-7473-9e3a-265e16eee03f"


def an_element(event: Any = "delivered", **said: Any) -> dict[str, Any]:
    """Return a SendGrid element of a delivery, with the fields in `said` replaced."""
    return {
        "email": "anna@example.com",
        "timestamp": SENT,
        "event": event,
        "sg_event_id": "ZGVsaXZlcmVk",
        "sg_message_id": "pW9xkD3mQ2y.recvd-6f7d9c-x2k4p-1-6924250B-4.0",
        "sl_account": "salon-anna",
        "sl_message": MESSAGE,
    } | said


def parsed(element: dict[str, Any], source: SourcePosition = SOURCE) -> Event:
    events, rejections = to_events(json.dumps([element]).encode(), source)
    assert rejections == []
    return events[0]


def event_of(event: Any = "delivered", **said: Any) -> Event:
    return parsed(an_element(event, **said))


def without(*names: str, **said: Any) -> Event:
    return parsed({name: value for name, value in an_element(**said).items() if name not in names})


def rejection_of(body: bytes) -> Rejection:
    events, rejections = to_events(body, SOURCE)
    assert events == []
    return rejections[0]


def extra_of(event: Event) -> Any:
    return orjson.loads(event.extra) if event.extra else {}


# Event types


@pytest.mark.parametrize(
    ("name", "type_"),
    [
        ("processed", "processed"),
        ("deferred", "deferred"),
        ("delivered", "delivered"),
        ("dropped", "dropped"),
        ("bounce", "bounced"),
        ("open", "opened"),
        ("click", "clicked"),
        ("spamreport", "complained"),
        ("unsubscribe", "unsubscribed"),
        ("group_unsubscribe", "unsubscribed"),
        ("group_resubscribe", "resubscribed"),
        ("account_status_change", "provider_alert"),
        pytest.param("blocked", "unknown", id="there is no event `blocked`"),
        pytest.param("received", "unknown", id="a name of the logs API only"),
        pytest.param("brand_new", "unknown", id="a name that is not documented"),
    ],
)
def test_name_maps_to_type(name: str, type_: str) -> None:
    assert event_of(name).type == type_
    assert event_of(f" {name.upper()}\n").type == type_


@pytest.mark.parametrize(
    ("kind", "type_"),
    [
        pytest.param("bounce", "bounced", id="a bounce"),
        pytest.param("blocked", "blocked", id="a block comes as a bounce"),
        pytest.param(" Blocked ", "blocked", id="whatever its case"),
        pytest.param("expired", "blocked", id="72 hours of deferrals"),
        pytest.param("brand_new", "bounced", id="a type that is not documented"),
        pytest.param("", "bounced", id="a blank type"),
        pytest.param(None, "bounced", id="null"),
        pytest.param(["blocked"], "bounced", id="not a string"),
    ],
)
def test_type_of_a_bounce(kind: object, type_: str) -> None:
    event = event_of("bounce", type=kind)
    assert event.type == type_
    assert extra_of(event)["type"] == kind


def test_type_counts_for_bounces_only() -> None:
    assert event_of("delivered", type="blocked").type == "delivered"


def test_an_unknown_name_is_kept_as_it_was_written() -> None:
    assert extra_of(event_of(" Brand_New"))["event"] == " Brand_New"
    assert "event" not in extra_of(event_of("Processed"))


def test_an_account_alert_has_no_message_and_no_address() -> None:
    alert = parsed({"event": "account_status_change", "timestamp": SENT, "type": "compliance_suspend"})
    assert alert.type == "provider_alert"
    assert alert.classification == "compliance_suspend"
    assert (alert.address, alert.message_id, alert.provider_message_id, alert.fault, alert.extra) == ("",) * 5


# Message ids


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        pytest.param("abc.filterdrecv-p3mdw1-756b-18-5F5FC76C-9.0", "abc", id="until January 2024"),
        pytest.param("abc.recvd-6f7d9c-x2k4p-1-6924250B-4.0", "abc", id="since then"),
        pytest.param("abc", "abc", id="as Mail Send gives it"),
        pytest.param("a.b-c_d.filter0", "a.b-c_d", id="dots before it"),
        pytest.param("a.recvd-1.filter2", "a", id="the first of two"),
        pytest.param("a.filter2.recvd-1", "a", id="the first of two, the other way"),
        pytest.param("abc.stfilter-1.2", "abc", id="another filter"),
        pytest.param(" abc ", "abc", id="blanks"),
        pytest.param("", "", id="blank"),
    ],
)
def test_sg_message_id_is_shortened(text: str, cut: str) -> None:
    assert sendgrid_id_key(text) == cut
    assert sendgrid_id_key(cut) == cut
    assert without("smtp-id", sg_message_id=text).provider_message_id == cut


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        ("<abc@geopod-7>", "abc"),
        ("abc@geopod-7", "abc"),
        (" <abc> ", "abc"),
        ("<abc@x@y>", "abc"),
        ("<>", ""),
        ("", ""),
    ],
)
def test_smtp_id_is_shortened(text: str, cut: str) -> None:
    assert sendgrid_id_key(text) == cut
    assert event_of(sg_message_id=None, **{"smtp-id": text}).provider_message_id == cut


@pytest.mark.parametrize("missing", [None, "", "  ", ".recvd-1"], ids=repr)
def test_a_delayed_bounce_is_identified_by_its_smtp_id(missing: object) -> None:
    event = event_of("bounce", sg_message_id=missing, **{"smtp-id": "<pW9xkD3mQ2y@geopod>"})
    assert event.provider_message_id == "pW9xkD3mQ2y"
    assert event.event_id == event_of("bounce").event_id


@pytest.mark.parametrize(
    ("sg_message_id", "smtp_id", "key"),
    [
        pytest.param("abc.d.recvd-1", "<abc.d@geopod>", "abc.d", id="both have the same id"),
        pytest.param("abc.d.e1.7.0", "<abc.d@ismtpd-5>", "abc.d", id="a tail that is not documented"),
        pytest.param("abc.recvd-1", "<xyz@own.example>", "abc", id="the sender's own Message-ID"),
        pytest.param("filter0425p1mdw1.13037.57F9A1BA1.0", "<abc@ismtpd-5>", "abc", id="a drop of 2016"),
        pytest.param("recvd-6f7d9c-x2k4p-1", "<abc@geopod>", "abc", id="the same since 2024"),
        pytest.param("filter0425p1mdw1.13037.57F9A1BA1.0", "", "filter0425p1mdw1.13037.57F9A1BA1.0", id="alone"),
        pytest.param("", "<abc@geopod>", "abc", id="a delayed bounce"),
        pytest.param("abc.recvd-1", "<>", "abc", id="an empty smtp-id"),
        pytest.param("", "", "", id="neither"),
    ],
)
def test_which_of_the_two_ids_is_used(sg_message_id: str, smtp_id: str, key: str) -> None:
    event = event_of(sg_message_id=sg_message_id, **{"smtp-id": smtp_id})
    assert event.provider_message_id == key
    assert extra_of(event)["smtp-id"] == smtp_id
    assert ("sg_message_id" in extra_of(event)) == (sg_message_id != "" and not sg_message_id.startswith(key))


def test_an_unused_smtp_id_is_kept() -> None:
    assert extra_of(event_of(**{"smtp-id": "<abc@geopod>"})) == {"smtp-id": "<abc@geopod>"}


def test_our_ids_come_from_our_custom_args() -> None:
    event = event_of(sl_message=MESSAGE.upper())
    assert (event.account_id, event.message_id, event.extra) == ("salon-anna", MESSAGE, "")


@pytest.mark.parametrize(
    "said",
    [
        pytest.param({"sl_account": "salon anna"}, id="an invalid account id"),
        pytest.param({"sl_account": None}, id="no account"),
        pytest.param({"sl_account": ""}, id="a blank account"),
        pytest.param({"sl_message": "0b1f6b3e-6c0e-4d6b-9e56-6a6d6c7f8a90"}, id="a UUID of version 4"),
        pytest.param({"sl_message": ["x"]}, id="a list"),
        pytest.param({"sl_account": "x" * 65, "sl_message": "7"}, id="neither"),
    ],
)
def test_an_incomplete_id_pair_is_not_used_and_is_kept_in_extra(said: dict[str, Any]) -> None:
    event = event_of(**said)
    assert (event.account_id, event.message_id) == ("", "")
    assert extra_of(event) == {"sl_account": "salon-anna", "sl_message": MESSAGE} | said


@pytest.mark.parametrize(
    ("account", "message"), [("SL_ACCOUNT", "SL_MESSAGE"), ("Sl_Account", "sl_message"), ("sl_account", "SL_Message")]
)
@pytest.mark.parametrize("holder", [None, "custom_args", "unique_args"])
def test_our_ids_may_be_in_any_case_and_in_nested_custom_args(account: str, message: str, holder: str | None) -> None:
    ids = {account: "salon-anna", message: MESSAGE}
    element = {name: value for name, value in an_element().items() if not name.startswith("sl_")}
    event = parsed(element | (ids if holder is None else {holder: ids | {"visit": 1}}))
    assert (event.account_id, event.message_id) == ("salon-anna", MESSAGE)
    assert extra_of(event) == ({} if holder is None else {holder: {"visit": 1}})


def test_our_ids_in_the_event_take_precedence_over_nested_ones() -> None:
    event = event_of(custom_args={"sl_account": "other", "sl_message": MESSAGE.replace("0", "1")})
    assert (event.account_id, event.message_id) == ("salon-anna", MESSAGE)


def test_of_two_spellings_lower_case_takes_precedence() -> None:
    assert event_of(SL_ACCOUNT="other").account_id == "salon-anna"


@pytest.mark.parametrize(
    ("message", "known"),
    [
        pytest.param("0699e991-a7ff-7473-9e3a-265e16eee03f", True, id="the last of 2199"),
        pytest.param("0699e991-a800-7473-9e3a-265e16eee03f", False, id="the first of 2200"),
        pytest.param("ffffffff-ffff-7fff-bfff-ffffffffffff", False, id="the last of all"),
    ],
)
def test_a_message_id_beyond_2200_counts_as_absent(message: str, known: bool) -> None:
    assert bool(event_of(sl_message=message).message_id) is known


def test_custom_args_with_other_names_are_never_our_ids() -> None:
    event = without("sl_account", "sl_message", account_id="salon-anna", message_id=MESSAGE)
    assert (event.account_id, event.message_id) == ("", "")
    assert extra_of(event) == {"account_id": "salon-anna", "message_id": MESSAGE}


@given(
    st.lists(
        st.sampled_from(["550 ", "550-", "Exim ", "said ", "5.1.1", "4.2.2", "4.96.2", " ", ".", "x", "\n"]), max_size=9
    )
)
def test_an_enhanced_code_is_well_formed_and_part_of_the_text(parts: list[str]) -> None:
    text = "".join(parts)
    code = enhanced_code_in(text)
    assert code in ({"5.1.1", "4.2.2", ""})
    assert code in text
    if re.search(r"(?<![\w.])550[ -]5\.1\.1(?![\d]|\.\d)", text) and "4.2.2" not in text:
        assert code == "5.1.1"


# Times


@pytest.mark.parametrize(
    ("timestamp", "us"),
    [
        pytest.param(SENT, SENT * 1_000_000, id="seconds"),
        pytest.param(str(SENT), SENT * 1_000_000, id="text"),
        pytest.param(SENT * 1000 + 372, SENT * 1_000_000 + 372_000, id="milliseconds"),
        pytest.param(f"{SENT * 1000}", SENT * 1_000_000, id="milliseconds as text"),
        pytest.param(SENT + 0.5, SENT * 1_000_000 + 500_000, id="a fraction"),
        pytest.param("2026-11-24T09:03:20Z", SENT * 1_000_000, id="RFC 3339"),
        pytest.param("2026-11-24T10:03:20.25+01:00", SENT * 1_000_000 + 250_000, id="RFC 3339 with an offset"),
        pytest.param(SENT + 60 + 86_400, RECEIVED_US + DAY_US, id="a day ahead"),
    ],
)
def test_occurred_at_is_the_providers_time(timestamp: object, us: int) -> None:
    event = event_of(timestamp=timestamp)
    assert event.occurred_us == us
    assert event.extra == ""


@pytest.mark.parametrize(
    "timestamp",
    [0, "0", -5, "yesterday", "", True, [SENT], {"s": SENT}, 1_230_767_999, SENT + 60 + 86_401, 10**17, float("nan")],
    ids=repr,
)
def test_an_implausible_time_is_replaced_by_the_arrival_time_and_kept(timestamp: object) -> None:
    event = event_of(timestamp=timestamp)
    assert event.occurred_us == event.received_us == RECEIVED_US
    said = "NaN" if isinstance(timestamp, float) else timestamp
    assert extra_of(event) == {"occurred_at": "received_at", "timestamp": said}


@pytest.mark.parametrize("event", [event_of(timestamp=None), without("timestamp")], ids=["null", "absent"])
def test_a_missing_time_is_replaced_by_the_arrival_time(event: Event) -> None:
    assert event.occurred_us == RECEIVED_US
    assert extra_of(event) == {"occurred_at": "received_at"}


# Address, reason and fault


@pytest.mark.parametrize(
    ("email", "key"),
    [
        pytest.param("Foo@X.com", "foo@x.com", id="capitals"),
        pytest.param("foo+tag@x.com", "foo+tag@x.com", id="a plus-address"),
        pytest.param("foo@bücher.example", "foo@xn--bcher-kva.example", id="an international domain"),
        pytest.param("", "", id="blank"),
        pytest.param(None, "", id="null"),
        pytest.param("no address", "no address", id="no address at all"),
        pytest.param(7, "7", id="a number"),
    ],
)
def test_the_address_is_the_address_key(email: object, key: str) -> None:
    assert event_of("dropped", email=email).address == key


def test_another_spelling_of_the_address_is_kept() -> None:
    assert extra_of(event_of(email="Foo@X.com")) == {"email": "Foo@X.com"}
    assert event_of(email="foo@x.com").extra == ""


@pytest.mark.parametrize(
    ("said", "code", "enhanced_code"),
    [
        pytest.param({"status": "5.1.1"}, "5.1.1", "5.1.1", id="an enhanced code"),
        pytest.param({"status": "5.7.999"}, "5.7.999", "5.7.999", id="three digits"),
        pytest.param({"status": "550"}, "550", "", id="an SMTP code"),
        pytest.param({"status": 550}, "550", "", id="a number"),
        pytest.param({"status": "550", "reason": "550 5.1.1 unknown"}, "550", "5.1.1", id="then the reason's"),
        pytest.param({"reason": "451 4.7.1 later"}, "", "4.7.1", id="no status"),
        pytest.param({"response": "452 4.2.2 full"}, "", "4.2.2", id="the response's"),
        pytest.param({"status": "5.0.0", "reason": "550 5.1.1"}, "5.0.0", "5.0.0", id="the status takes precedence"),
        pytest.param({"reason": "host 192.5.1.1 refused"}, "", "", id="an IP address is not a code"),
        pytest.param({}, "", "", id="nothing"),
    ],
)
def test_codes(said: dict[str, Any], code: str, enhanced_code: str) -> None:
    event = event_of("bounce", **said)
    assert (event.code, event.enhanced_code) == (code, enhanced_code)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("550 5.1.1 unknown; 5.7.1", "5.1.1"),
        ("550-5.7.26 policy", "5.7.26"),
        ("(#5.1.1)", "5.1.1"),
        ("smtp; 550 5.1.1.", "5.1.1"),
        ("5.1.1: x", "5.1.1"),
        ("192.5.1.1", ""),
        ("5.1.1.1", ""),
        ("[4.2.2.1]", ""),
        ("45.1.1", ""),
        ("5.1.1234", ""),
        ("5.11.2026", ""),
        ("Exim 4.96", ""),
        ("Delivery 5.1.1 failed", "5.1.1"),
        ("after RCPT TO 5.1.1", "5.1.1"),
        ("MAIL FROM 5.1.8", "5.1.8"),
        ("Message 5.2.3 too big", "5.2.3"),
        ("10.1.2.250 5.1.1 then 550 5.7.1", "5.7.1"),
        ("v4.9.3", ""),
        ("3.1.1 and 1.2.3", ""),
        ("5.1", ""),
        ("5.\u0661.1", ""),
        ("10.4.2.2 said 4.2.2", "4.2.2"),
        ("Exim 4.96.2: 5.1.1 no such user", "5.1.1"),
        ("CommuniGate Pro SMTP 5.1.16", ""),
        ("CommuniGate Pro SMTP 5.1.16 ready; 550 5.7.1 no", "5.7.1"),
        ("Postfix 2.5.1 said: 5.1.1", "5.1.1"),
        ("exim/4.1.2 (5.2.2)", "5.2.2"),
        ("hMailServer-5.6.7", ""),
        ("by mx.example.com (qmail version 4.2.1)", ""),
        ("4.2.2 first, then 550 5.1.1", "5.1.1"),
        ("4.2.2 first, then 550-5.1.1", "5.1.1"),
        ("250 2.0.0 OK", "2.0.0"),
        ("SMTP error 5.1.1", "5.1.1"),
        ("Status 5.1.1", "5.1.1"),
        ("Error: 5.1.1", "5.1.1"),
        ("host mx.example.com said 5.1.1 unknown", "5.1.1"),
        ("user unknown 5.1.1", "5.1.1"),
        ("Remote server returned '550 5.4.1 denied'", "5.4.1"),
        ("550 5.8.1", ""),
        ("550 5.1.1000", ""),
        ("550 5.7.999", "5.7.999"),
        ("x550 5.2.2, 5.1.1", "5.2.2"),
        ("Exim 4.1.2\nExim 4.1.3", ""),
        ("550 Exim 4.1.2", ""),
    ],
)
def test_an_enhanced_code_is_found_among_other_numbers(text: str, code: str) -> None:
    assert enhanced_code_in(text) == code


@pytest.mark.parametrize(
    ("code", "fault"),
    [
        ("5.1.1", "recipient"),
        ("5.1.10", "recipient"),
        ("5.2.1", "recipient"),
        ("5.1.7", "sender"),
        ("5.1.8", "sender"),
        ("5.2.2", "mailbox"),
        ("4.2.1", "mailbox"),
        ("4.2.2", "mailbox"),
        ("5.5.0", "sender"),
        ("5.6.1", "sender"),
        ("5.7.999", "sender"),
        ("5.3.4", "infrastructure"),
        ("5.4.4", "infrastructure"),
        ("4.4.1", "infrastructure"),
        ("4.1.1", "infrastructure"),
        ("4.1.8", "infrastructure"),
        ("4.7.1", "infrastructure"),
        ("4.0.0", "infrastructure"),
        ("5.0.0", "unknown"),
        ("5.10.1", "unknown"),
        ("2.0.0", "unknown"),
        ("", "unknown"),
    ],
)
def test_fault_by_enhanced_code(code: str, fault: str) -> None:
    assert fault_of_enhanced_code(code) == fault
    assert event_of("bounce", status=code).fault == fault


@pytest.mark.parametrize(
    ("classification", "fault"),
    [
        ("Invalid Address", "recipient"),
        ("Mailbox Unavailable", "mailbox"),
        ("Content", "sender"),
        ("Reputation", "sender"),
        ("Frequency or Volume Too High", "sender"),
        ("Technical", "infrastructure"),
        pytest.param("Technical Failure", "infrastructure", id="the name in the suppression API"),
        pytest.param("technical", "infrastructure", id="lower case"),
        pytest.param(" INVALID ADDRESS ", "recipient", id="capitals and blanks"),
    ],
)
def test_the_classification_takes_precedence_over_the_code(classification: str, fault: str) -> None:
    event = event_of("bounce", bounce_classification=classification, status="5.6.0")
    assert event.fault == fault
    assert event.classification == classification


@pytest.mark.parametrize("classification", ["Unclassified", "", None, "Brand New", 5])
def test_an_unknown_classification_leaves_the_fault_to_the_code(classification: object) -> None:
    assert event_of("bounce", bounce_classification=classification, status="5.1.1").fault == "recipient"
    assert event_of("bounce", bounce_classification=classification).fault == "unknown"


@pytest.mark.parametrize(
    "said", [{"bounce_classification": "Invalid Address"}, {"status": "5.1.1"}], ids=["classification", "code"]
)
def test_a_block_is_never_the_recipients_fault(said: dict[str, Any]) -> None:
    assert event_of("bounce", type="blocked", **said).fault == "sender"
    assert event_of("bounce", type="blocked", status="4.2.2").fault == "mailbox"


@pytest.mark.parametrize("name", ["bounce", "dropped", "deferred"])
def test_failures_have_a_fault(name: str) -> None:
    assert event_of(name, status="5.1.1").fault == "recipient"
    assert event_of(name).fault == "unknown"


@pytest.mark.parametrize("name", ["processed", "delivered", "open", "click", "spamreport", "unsubscribe", "new"])
def test_other_events_have_no_fault(name: str) -> None:
    assert event_of(name, status="5.1.1", bounce_classification="Invalid Address").fault == ""


def test_reason_is_the_reason_else_the_response() -> None:
    assert event_of(reason="why", response="250 OK").reason == "why"
    assert extra_of(event_of(reason="why", response="250 OK")) == {"response": "250 OK"}
    assert event_of(reason="", response="250 OK").reason == "250 OK"
    assert event_of(response="250 OK").extra == ""


def test_text_of_third_parties_is_kept_byte_for_byte() -> None:
    text = "<script>=1+1\r\n\x00\x1b[31m\u202e"
    event = event_of("bounce", reason=text, useragent=text, url=text)
    assert (event.reason, event.user_agent, event.url) == (text, text, text)


# Other fields


@pytest.mark.parametrize(
    ("value", "machine"),
    [(True, True), (1, True), ("true", True), ("TRUE ", True), ("1", True)]
    + [(False, False), (0, False), ("false", False), ("0", False), ("", False), (None, False)],
    ids=repr,
)
def test_machine_is_the_flag_of_the_provider(value: object, machine: bool) -> None:
    event = event_of("open", sg_machine_open=value)
    assert event.machine is machine
    assert event.extra == ""


@pytest.mark.parametrize("value", ["perhaps", 2, [True]], ids=repr)
def test_a_flag_that_is_neither_true_nor_false_is_false_and_kept_in_extra(value: object) -> None:
    event = event_of("open", sg_machine_open=value)
    assert event.machine is False
    assert extra_of(event) == {"sg_machine_open": value}


@pytest.mark.parametrize(
    ("value", "text"),
    [("x", "x"), (1, "1"), (1.0, "1"), (1.5, "1.5"), (True, "true"), (False, "false"), (None, "")]
    + [([1, "a"], '[1,"a"]'), ({"b": 1, "a": None}, '{"a":null,"b":1}'), ([], "[]")],
    ids=repr,
)
def test_a_value_of_any_json_type_becomes_text(value: object, text: str) -> None:
    event = event_of(
        ip=value, useragent=value, url=value, attempt=value, asm_group_id=value, status=value, sg_event_id=value
    )
    texts = (event.ip, event.user_agent, event.url, event.attempt, event.group, event.code, event.provider_event_id)
    assert texts == (text,) * 7
    assert event.extra == ""


@pytest.mark.parametrize(
    ("name", "group", "extra"),
    [
        pytest.param("unsubscribe", "", {"asm_group_id": 10}, id="all mail of the account"),
        pytest.param(" Unsubscribe", "", {"asm_group_id": 10}, id="in any case"),
        pytest.param("group_unsubscribe", "10", {}, id="the group"),
        pytest.param("group_resubscribe", "10", {}, id="the group again"),
    ],
)
def test_the_group_of_a_global_unsubscribe_is_not_what_was_unsubscribed(
    name: str, group: str, extra: dict[str, Any]
) -> None:
    event = event_of(event=name, asm_group_id=10)
    assert event.group == group
    assert extra_of(event) == extra
    assert event.event_id != event_of(event=name).event_id


@pytest.mark.parametrize("value", ["cats", ["cats", "dogs"], []], ids=repr)
def test_category_is_kept_as_sent(value: object) -> None:
    assert extra_of(event_of(category=value)) == {"category": value}


@pytest.mark.parametrize("value", [{"id": 12}, {"id": "12"}, 0, 1, "1"], ids=repr)
def test_fields_without_a_column_are_kept_as_sent(value: object) -> None:
    assert extra_of(event_of(pool=value, tls=value)) == {"pool": value, "tls": value}


def test_an_event_has_its_source_position() -> None:
    body = orjson.dumps([an_element(), an_element("open")])
    assert [event[-4:] for event in to_events(body, SOURCE).events] == [(*SOURCE[:3], 0), (*SOURCE[:3], 1)]
    assert {event.received_us for event in to_events(body, SOURCE).events} == {RECEIVED_US}


# The event id


@pytest.mark.parametrize(
    "said",
    [
        pytest.param({"sg_event_id": "another"}, id="another sg_event_id"),
        pytest.param({"sg_event_id": None}, id="no sg_event_id"),
        pytest.param({"event": " Click "}, id="capitals in the name"),
        pytest.param({"email": " ANNA@example.COM"}, id="capitals in the address"),
        pytest.param({"timestamp": str(SENT)}, id="a time as text"),
        pytest.param({"timestamp": "2026-11-24T09:03:20.000Z"}, id="a time in RFC 3339"),
        pytest.param({"timestamp": SENT * 1000}, id="a time in milliseconds"),
        pytest.param({"attempt": "1"}, id="a number as text"),
        pytest.param({"asm_group_id": 10.0}, id="a number as a float"),
        pytest.param({"url_offset": {"type": "html", "index": "0"}}, id="another order of keys"),
        pytest.param({"sg_machine_open": False}, id="a flag with its default value"),
        pytest.param({"type": None}, id="null for an absent field"),
        pytest.param({"sg_message_id": "pW9xkD3mQ2y.filter0001"}, id="another tail of the id"),
        pytest.param(
            {"ip": "192.0.2.1", "useragent": "x", "reason": "y", "category": ["z"]}, id="fields that are not part of it"
        ),
        pytest.param({"sl_account": None, "sl_message": None}, id="without our ids"),
    ],
)
def test_event_id_is_the_same_for_every_spelling_of_a_fact(said: dict[str, Any]) -> None:
    click = {
        "event": "click",
        "url": "https://x.com",
        "url_offset": {"index": 0, "type": "html"},
        "attempt": 1,
        "asm_group_id": "10",
    }
    assert parsed(an_element(**click | said)).event_id == parsed(an_element(**click)).event_id


@pytest.mark.parametrize(
    "said",
    [
        pytest.param({"sg_message_id": "other"}, id="message"),
        pytest.param({"email": "office@example.com"}, id="the CC of one send"),
        pytest.param({"event": "processed"}, id="name"),
        pytest.param({"type": "blocked"}, id="type"),
        pytest.param({"timestamp": SENT + 1}, id="time"),
        pytest.param({"attempt": "2"}, id="attempt"),
        pytest.param({"url": "https://x.com/"}, id="link"),
        pytest.param({"url_offset": {"index": 1}}, id="position of the link"),
        pytest.param({"asm_group_id": 11}, id="group"),
        pytest.param({"sg_machine_open": True}, id="machine"),
    ],
)
def test_different_facts_have_different_event_ids(said: dict[str, Any]) -> None:
    assert parsed(an_element() | said).event_id != event_of().event_id


def test_event_id_does_not_depend_on_source_position_or_arrival_time() -> None:
    later = SourcePosition("webhooks.sendgrid", 0, 7, RECEIVED_US + 40 * DAY_US)
    for element in (an_element(), an_element(timestamp=None), an_element(timestamp=SENT + 30 * 86_400)):
        assert parsed(element, later).event_id == parsed(element).event_id


def test_two_recipients_share_only_the_provider_message_id() -> None:
    to = event_of(sg_message_id="abc.recvd-1-4.0")
    cc = event_of(sg_message_id="abc.recvd-1-4.1", email="office@example.com")
    assert to.provider_message_id == cc.provider_message_id
    assert to.event_id != cc.event_id


def test_without_an_id_of_the_provider_the_event_id_uses_ours() -> None:
    one = event_of("bounce", sg_message_id=None)
    other = event_of("bounce", sg_message_id=None, sl_message=MESSAGE[:-1] + "0")
    assert one.event_id != other.event_id


# The body


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(orjson.dumps(an_element()), id="an element that is not in a list"),
        pytest.param(b"\xef\xbb\xbf" + orjson.dumps([an_element()]), id="a byte order mark"),
        pytest.param(b"\r\n " + json.dumps([an_element()], indent=1).encode().replace(b"\n", b"\r\n"), id="CR LF"),
        pytest.param(b"\xef\xbb\xbf" + json.dumps([an_element(), "\ud800"]).encode(), id="strict and lenient decoder"),
    ],
)
def test_a_body_is_accepted(body: bytes) -> None:
    (event,) = to_events(body, SOURCE).events
    assert event == event_of()


@pytest.mark.parametrize(
    "body", [b"", b" ", b"[", b"{'event':1}", b"a=b", b"[1] [2]", b"\xff\xfe[\x00]\x00", b"[" * 9999]
)
def test_a_body_that_is_not_json_is_one_rejection(body: bytes) -> None:
    assert rejection_of(body)[::2] == ("body_not_json", body)
    assert rejection_of(body).position is None


@pytest.mark.parametrize("body", [b"null", b"1", b'"[]"', b"true", b"NaN", b'\xef\xbb\xbf"x"'])
def test_a_body_that_is_not_a_list_is_one_rejection(body: bytes) -> None:
    assert rejection_of(body) == Rejection("body_not_events", "neither a list nor an object", body, None)


def test_an_empty_list_has_no_events() -> None:
    assert to_events(b"[]", SOURCE) == ([], [])


@pytest.mark.parametrize(
    ("element", "reason"),
    [(7, "element_not_object"), (None, "element_not_object"), ([{"event": "open"}], "element_not_object")]
    + [({}, "event_missing"), ({"event": None}, "event_missing"), ({"event": " \n"}, "event_missing")]
    + [({"event": 7, "x": "\u2028"}, "event_missing"), ({"event": ["open"]}, "event_missing")],
    ids=repr,
)
def test_a_bad_element_does_not_affect_the_others(element: object, reason: str) -> None:
    body = orjson.dumps([an_element("open"), element, an_element("click")])
    events, (rejection,) = to_events(body, SOURCE)
    assert [(event.type, event.position) for event in events] == [("opened", 0), ("clicked", 2)]
    assert (rejection.reason, rejection.position, orjson.loads(rejection.value)) == (reason, 1, element)


def test_half_a_surrogate_pair_is_replaced() -> None:
    body = json.dumps([an_element(), an_element("open", useragent="\ud83d", **{"\udc00": ["\ud800"]})]).encode()
    events, rejections = to_events(body, SOURCE)
    assert rejections == []
    assert events[0] == event_of()
    assert events[1].user_agent == "\ufffd"
    assert extra_of(events[1]) == {"\ufffd": ["\ufffd"]}


def test_nan_and_infinite_numbers_are_kept_as_texts() -> None:
    body = orjson.dumps([an_element(score="@")]).replace(
        b'"@"', b"[NaN,-Infinity,1e999,%s,18446744073709551615]" % (b"9" * 5000)
    )
    (event,) = to_events(body, SOURCE).events
    assert extra_of(event) == {"score": ["NaN", "-Infinity", "1e999", "9" * 5000, 18446744073709551615]}


def test_bytes_that_are_not_utf_8_are_replaced() -> None:
    body = (
        orjson.dumps([an_element("bounce", reason="gr@n")])
        .replace(b"@", b"\xfc", 2)
        .replace(b"\xfcexample", b"@example")
    )
    assert to_events(body, SOURCE).events[0].reason == "gr\ufffdn"


def test_an_element_that_nests_too_deep_does_not_affect_the_others() -> None:
    deep: object = "x"
    for _ in range(400):
        deep = [deep]
    events, (rejection,) = to_events(json.dumps([an_element(), an_element(deep=deep)]).encode(), SOURCE)
    assert events == [event_of()]
    assert (rejection.reason, rejection.position) == ("element_failed", 1)
    assert json.loads(rejection.value) == an_element(deep=deep)


def test_a_redriven_element_is_rejected_again() -> None:
    _, (rejection,) = to_events(orjson.dumps([an_element(), {"email": "anna@example.com"}]), SOURCE)
    assert rejection_of(rejection.value) == rejection._replace(position=0)


# Properties

FIELDS = ["email", "timestamp", "event", "type", "sg_event_id", "sg_message_id", "smtp-id", "sl_account", "sl_message"]
FIELDS += ["attempt", "asm_group_id", "url", "url_offset", "sg_machine_open", "status", "reason", "response", "ip"]
FIELDS += ["useragent", "bounce_classification", "category", "occurred_at", "x"]
NAMES = ["bounce", "open", "click", "delivered", "account_status_change", "Processed", "new"]
ANY_TEXT = st.text(st.characters(), max_size=10)  # with half surrogate pairs
SCALAR = st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT
JSON = st.recursive(SCALAR, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANY_TEXT, inner, max_size=3))
SENSIBLE = st.sampled_from(["anna@Example.com", SENT, "5.1.1", "blocked", MESSAGE, "salon-anna", "abc.recvd-1", "1", 1])
ELEMENT = st.builds(
    lambda name, rest: {"event": name} | rest,
    st.sampled_from(NAMES),
    st.dictionaries(st.sampled_from(FIELDS), SENSIBLE | JSON, max_size=10),
)


@given(st.lists(ELEMENT | JSON, max_size=4))
@example([{"event": "open", "sg_machine_open": float("inf")}])
def test_every_element_becomes_an_event_or_a_rejection(elements: list[Any]) -> None:
    events, rejections = to_events(json.dumps(elements).encode(), SOURCE)
    positions = [event.position for event in events] + [one.position for one in rejections]
    assert sorted(positions, key=str) == sorted(range(len(elements)), key=str)
    assert all(one.reason != "element_failed" for one in rejections)


@given(st.binary(max_size=60))
def test_any_bytes_are_handled(body: bytes) -> None:
    to_events(body, SOURCE)


@given(ELEMENT)
def test_an_event_has_only_strings_and_numbers(element: dict[str, Any]) -> None:
    for event in to_events(json.dumps([element]).encode(), SOURCE).events:
        for value, kind in zip(event, Event.__annotations__.values(), strict=True):
            assert type(value) is kind
        "".join(value for value in event if isinstance(value, str)).encode()  # no half surrogate pairs
        assert event.address == email_key(event.address)


@given(ELEMENT)
def test_reading_the_fields_in_another_order_gives_the_same_event(element: dict[str, Any]) -> None:
    backwards = dict(reversed(element.items()))
    events = to_events(json.dumps([element]).encode(), SOURCE).events
    assert to_events(json.dumps([backwards]).encode(), SOURCE).events == events


@pytest.mark.parametrize("field", [*FIELDS, "tls", "pool", "domain", "send_at"])
@pytest.mark.parametrize("name", NAMES)
def test_no_field_is_lost(name: str, field: str) -> None:
    """The value of any field is in a column, or in `extra` under the field's name."""
    event = event_of(**({"event": name} | {field: "~Said~"}))
    assert extra_of(event).get(field) == "~Said~" or "~Said~" in event


def test_our_note_about_the_time_replaces_a_custom_arg_of_its_name_only_if_the_time_is_implausible() -> None:
    assert extra_of(event_of(occurred_at="noon")) == {"occurred_at": "noon"}
    assert extra_of(event_of(occurred_at="noon", timestamp=None)) == {"occurred_at": "received_at"}


def test_a_field_without_a_name_is_not_used_as_our_ids() -> None:
    element = {name: value for name, value in an_element().items() if not name.startswith("sl_")}
    event = parsed(element | {"": MESSAGE})
    assert (event.account_id, event.message_id, extra_of(event)) == ("", "", {"": MESSAGE})
