"""Postmark's webhooks: every row of the mapping, and known surprises of its posts. Whole posts are in tests/golden."""

import json
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from schemas.decoding.addresses import email_key
from schemas.decoding.times import DAY_US
from schemas.events import Event, Rejection, SourcePosition
from schemas.providers.postmark import CONTENT_CHARACTERS, to_events
from schemas.providers.provider_ids import postmark_id_key

SENT_US = 1_795_511_000_000_000  # 2026-11-24T09:03:20Z
SENT = "2026-11-24T09:03:20.0000000Z"
RECEIVED_US = SENT_US + 60_000_000
SOURCE = SourcePosition("webhooks.postmark", 3, 1042, RECEIVED_US)
MESSAGE = "01a20cc2-7402-7473-9e3a-265e16eee03f"
MESSAGE_ID = "883953f4-6105-42a2-a16a-77a8eac79483"
OURS = {"sl_account": "salon-anna", "sl_message": MESSAGE}
TIME_FIELDS = {
    "Delivery": "DeliveredAt",
    "Bounce": "BouncedAt",
    "SpamComplaint": "BouncedAt",
    "Open": "ReceivedAt",
    "Click": "ReceivedAt",
    "SubscriptionChange": "ChangedAt",
}
RECORDS = [*TIME_FIELDS, "Rescheduled"]


def a_post(record: Any = "Delivery", **said: Any) -> dict[str, Any]:
    """Return a post of Postmark about one mail, with the fields in `said` replaced."""
    recipient = "Email" if record in ("Bounce", "SpamComplaint") else "Recipient"
    return {
        "RecordType": record,
        "ServerID": 23,
        "MessageStream": "outbound",
        "MessageID": MESSAGE_ID,
        recipient: "anna@example.com",
        TIME_FIELDS.get(record, "DeliveredAt") if isinstance(record, str) else "DeliveredAt": SENT,
        "Metadata": dict(OURS),
    } | said


def parsed(post: dict[str, Any], source: SourcePosition = SOURCE) -> Event:
    events, rejections = to_events(json.dumps(post).encode(), source)
    assert rejections == []
    return events[0]


def event_of(record: Any = "Delivery", **said: Any) -> Event:
    return parsed(a_post(record, **said))


def without(*names: str, record: str = "Delivery", **said: Any) -> Event:
    return parsed({name: value for name, value in a_post(record, **said).items() if name not in names})


def bounce_of(type_: Any, **said: Any) -> Event:
    return event_of("Bounce", Type=type_, **said)


def change_of(suppress: Any = True, **said: Any) -> Event:
    return event_of("SubscriptionChange", SuppressSending=suppress, **said)


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
        ("Delivery", "delivered"),
        ("Open", "opened"),
        ("Click", "clicked"),
        ("SpamComplaint", "complained"),
        ("SubscriptionChange", "subscription_changed"),
        pytest.param("Inbound", "unknown", id="a name of another webhook"),
        pytest.param("BrandNew", "unknown", id="a name that is not documented"),
    ],
)
def test_record_type_maps_to_type(name: str, type_: str) -> None:
    assert event_of(name).type == type_
    assert event_of(f" {name.upper()}\n").type == type_


@pytest.mark.parametrize(
    ("name", "type_", "fault"),
    [
        ("HardBounce", "bounced", "recipient"),
        ("BadEmailAddress", "bounced", "recipient"),
        ("SoftBounce", "bounced", "mailbox"),
        ("Unknown", "bounced", "unknown"),
        ("Unconfirmed", "bounced", "unknown"),
        ("Transient", "deferred", "mailbox"),
        ("DnsError", "deferred", "infrastructure"),
        ("Blocked", "blocked", "sender"),
        ("SpamNotification", "blocked", "sender"),
        ("DMARCPolicy", "blocked", "sender"),
        ("VirusNotification", "blocked", "sender"),
        ("ManuallyDeactivated", "dropped", "unknown"),
        ("SMTPApiError", "dropped", "sender"),
        ("TemplateRenderingFailed", "dropped", "unknown"),
        ("SpamComplaint", "complained", ""),
        ("Unsubscribe", "unsubscribed", ""),
        ("Subscribe", "resubscribed", ""),
        ("AutoResponder", "unknown", ""),
        ("AddressChange", "unknown", ""),
        ("OpenRelayTest", "unknown", ""),
        ("ChallengeVerification", "unknown", ""),
        ("InboundError", "unknown", ""),
        pytest.param("BrandNew", "unknown", "", id="a type that is not documented"),
    ],
)
def test_type_of_a_bounce(name: str, type_: str, fault: str) -> None:
    event = bounce_of(name)
    assert (event.type, event.code, event.fault) == (type_, name, fault)
    assert bounce_of(f" {name.upper()} ").type == bounce_of(name.lower()).type == type_


@pytest.mark.parametrize("name", ["SoftBounce/Undeliverable", " softbounce/undeliverable"])
def test_an_old_type_name_is_mapped_and_kept_in_extra(name: str) -> None:
    event = bounce_of(name)
    assert (event.type, event.code, event.fault) == ("bounced", "SoftBounce", "mailbox")
    assert extra_of(event)["Type"] == name
    assert event.event_id == bounce_of("SoftBounce").event_id


@pytest.mark.parametrize("type_", [None, "", "  ", 1, True, ["HardBounce"]], ids=repr)
def test_a_bounce_without_a_type_is_unknown(type_: object) -> None:
    assert bounce_of(type_).type == "unknown"
    assert without("Type", record="Bounce", TypeCode=1).type == "unknown"


@pytest.mark.parametrize(
    ("type_", "code"),
    [
        pytest.param("Blocked", 16, id="16 is an unsubscribe, elsewhere"),
        pytest.param("DMARCPolicy", 100000, id="100000 is a bad address, elsewhere"),
        pytest.param("SpamComplaint", 512, id="512 is a spam notification, elsewhere"),
        pytest.param("SpamComplaint", 100001, id="the client's own number"),
        pytest.param("SoftBounce", 1, id="1 is a hard bounce, elsewhere"),
        pytest.param("HardBounce", "2", id="text"),
    ],
)
def test_type_code_is_ignored_and_kept(type_: str, code: object) -> None:
    assert bounce_of(type_, TypeCode=code).type == bounce_of(type_).type
    assert extra_of(bounce_of(type_, TypeCode=code))["TypeCode"] == code


@pytest.mark.parametrize("type_", ["SpamComplaint", "HardBounce", "BrandNew", None])
def test_a_complaint_is_mapped_regardless_of_its_type(type_: object) -> None:
    assert event_of("SpamComplaint", Type=type_, TypeCode=512).type == "complained"


@pytest.mark.parametrize("record", ["Delivery", "Open", "SubscriptionChange"])
def test_the_type_is_used_for_bounces_only(record: str) -> None:
    assert event_of(record, Type="HardBounce").type == event_of(record).type
    assert event_of(record, Type="HardBounce").fault == ""


def test_names_that_our_type_does_not_determine_are_kept_as_written() -> None:
    assert extra_of(event_of(" Brand_New"))["RecordType"] == " Brand_New"
    assert extra_of(bounce_of(" Brand_New")) == {"RecordType": "Bounce", "Type": " Brand_New", "ServerID": 23}
    assert extra_of(bounce_of("spamcomplaint")) == {"RecordType": "Bounce", "Type": "spamcomplaint", "ServerID": 23}
    for event in (event_of(), bounce_of("HardBounce"), event_of("SpamComplaint", Type="SpamComplaint")):
        assert extra_of(event) == {"ServerID": 23}


@pytest.mark.parametrize(("said", "code"), [("hardbounce", "HardBounce"), ("dmarcPOLICY ", "DMARCPolicy")])
def test_a_code_has_the_vendors_spelling(said: str, code: str) -> None:
    """Later comparisons of codes (a drop of `ManuallyDeactivated`) can be case-sensitive."""
    assert bounce_of(said).code == code
    assert bounce_of(" Brand_New ").code == "Brand_New"


# Message ids


@pytest.mark.parametrize(
    ("text", "key"),
    [
        pytest.param(MESSAGE_ID, MESSAGE_ID, id="a UUID"),
        pytest.param(MESSAGE_ID.upper(), MESSAGE_ID, id="a UUID in capitals"),
        pytest.param(f" {MESSAGE_ID}\n", MESSAGE_ID, id="blanks"),
        pytest.param("PM-Abc_7", "PM-Abc_7", id="not a UUID: case-sensitive"),
        pytest.param("", "", id="blank"),
        pytest.param("00000000-0000-0000-0000-000000000000", "", id="the nil UUID is not an id"),
    ],
)
def test_message_id_has_the_same_form_as_in_the_dispatch(text: str, key: str) -> None:
    assert postmark_id_key(text) == key
    assert postmark_id_key(key) == key
    assert event_of(MessageID=text).provider_message_id == key


@pytest.mark.parametrize("missing", [None, "", "  "], ids=repr)
def test_a_missing_message_id_is_kept_in_extra(missing: object) -> None:
    event = change_of(MessageID=missing, Metadata={})
    assert (event.provider_message_id, event.message_id, event.address) == ("", "", "anna@example.com")
    assert extra_of(event)["MessageID"] == missing


@pytest.mark.parametrize("spell", [str.upper, str.title, str.lower])
def test_the_names_of_our_ids_may_be_in_any_case(spell: Callable[[str], str]) -> None:
    event = event_of(Metadata={spell(name): value for name, value in OURS.items()})
    assert (event.account_id, event.message_id) == (OURS["sl_account"], MESSAGE)
    assert "Metadata" not in extra_of(event)


def test_a_change_with_the_nil_uuid_has_no_message() -> None:
    nil = "00000000-0000-0000-0000-000000000000"
    event = change_of(MessageID=nil, Metadata={})
    assert (event.provider_message_id, extra_of(event)["MessageID"]) == ("", nil)
    assert event.event_id == change_of(MessageID=None, Metadata={}).event_id


def test_our_ids_come_from_metadata() -> None:
    event = event_of(Metadata=OURS | {"sl_message": MESSAGE.upper(), "visit": "7"})
    assert (event.account_id, event.message_id) == ("salon-anna", MESSAGE)
    assert extra_of(event) == {"ServerID": 23, "Metadata": {"visit": "7"}}


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
    event = event_of(Metadata=OURS | said)
    assert (event.account_id, event.message_id) == ("", "")
    assert extra_of(event)["Metadata"] == OURS | said


@pytest.mark.parametrize("metadata", [None, [], "sl_account", {}, {"visit": "7"}, {"SL_ACCOUNT": "x"}], ids=repr)
def test_other_metadata_is_kept_as_sent(metadata: object) -> None:
    event = event_of(Metadata=metadata)
    assert (event.account_id, event.message_id) == ("", "")
    assert extra_of(event)["Metadata"] == metadata


def test_our_ids_outside_metadata_are_not_used() -> None:
    assert without("Metadata", **OURS).message_id == ""
    assert extra_of(without("Metadata", **OURS)) == {"ServerID": 23} | OURS


# Times


@pytest.mark.parametrize("record", TIME_FIELDS)
def test_each_record_type_has_its_own_time_field(record: str) -> None:
    others = dict.fromkeys(set(TIME_FIELDS.values()) - {TIME_FIELDS[record]}, "2026-11-23T00:00:00Z")
    event = event_of(record, **others)
    assert event.occurred_us == SENT_US
    assert extra_of(event) == {"ServerID": 23} | others | ({"RecordType": "Bounce"} if record == "Bounce" else {})


@pytest.mark.parametrize("field", sorted(set(TIME_FIELDS.values())))
def test_an_unknown_record_type_may_have_any_of_the_time_fields(field: str) -> None:
    event = parsed({"RecordType": "BrandNew", field: SENT, "": SENT})
    assert event.occurred_us == SENT_US
    assert extra_of(event) == {"RecordType": "BrandNew", "": SENT}


@pytest.mark.parametrize(
    ("time", "us"),
    [
        pytest.param("2026-11-24T09:03:20.9070259Z", SENT_US + 907_025, id="seven digits"),
        pytest.param("2026-11-24T04:03:20.9070259-05:00", SENT_US + 907_025, id="an offset"),
        pytest.param("2026-11-24T09:03:20Z", SENT_US, id="no fraction"),
        pytest.param("2026-11-24 09:03:20+00:00", SENT_US, id="a space for the T"),
        pytest.param(SENT_US // 1_000_000, SENT_US, id="seconds"),
        pytest.param(SENT_US // 1000 + 372, SENT_US + 372_000, id="milliseconds"),
        pytest.param(str(SENT_US // 1000), SENT_US, id="milliseconds as text"),
        pytest.param("2026-11-25T09:04:20Z", RECEIVED_US + DAY_US, id="a day ahead"),
    ],
)
def test_occurred_at_is_the_providers_time(time: object, us: int) -> None:
    event = event_of(DeliveredAt=time)
    assert event.occurred_us == us
    assert extra_of(event) == {"ServerID": 23}


@pytest.mark.parametrize(
    "time",
    [
        "yesterday",
        "",
        0,
        True,
        [SENT],
        {"at": SENT},
        "0001-01-01T00:00:00Z",
        "2008-12-31T23:59:59Z",
        "2026-11-25T09:04:20.000001Z",
        "2026-11-24T09:03:20",
        "2026-02-30T00:00:00Z",
        10**17,
    ],
    ids=repr,
)
def test_an_implausible_time_is_replaced_by_the_arrival_time_and_kept(time: object) -> None:
    event = event_of("Open", ReceivedAt=time)
    assert event.occurred_us == event.received_us == RECEIVED_US
    assert extra_of(event) == {"ServerID": 23, "occurred_at": "received_at", "ReceivedAt": time}


@pytest.mark.parametrize("event", [event_of(DeliveredAt=None), without("DeliveredAt")], ids=["null", "absent"])
def test_a_missing_time_is_replaced_by_the_arrival_time(event: Event) -> None:
    assert event.occurred_us == RECEIVED_US
    assert extra_of(event) == {"ServerID": 23, "occurred_at": "received_at"}


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
    assert event_of(Recipient=email).address == key
    assert bounce_of("HardBounce", Email=email).address == key


def test_another_spelling_of_the_address_is_kept() -> None:
    assert extra_of(event_of(Recipient="Foo@X.com")) == {"ServerID": 23, "Recipient": "Foo@X.com"}
    assert extra_of(bounce_of("HardBounce", Email="Foo@X.com")) == {"ServerID": 23, "Email": "Foo@X.com"}


def test_recipient_takes_precedence_over_email_unless_blank() -> None:
    event = event_of(Recipient="a@example.com", Email="b@example.com")
    assert event.address == "a@example.com"
    assert extra_of(event)["Email"] == "b@example.com"
    assert event_of(Recipient=" ", Email="b@example.com").address == "b@example.com"
    assert event_of(Recipient=None, Email="b@example.com").address == "b@example.com"


@pytest.mark.parametrize(
    ("said", "reason", "enhanced_code"),
    [
        pytest.param({"Details": "550 5.1.1 x", "Description": "5.7.1 y"}, "550 5.1.1 x", "5.1.1", id="the details"),
        pytest.param({"Details": "", "Description": "y 5.7.1"}, "y 5.7.1", "5.7.1", id="else the description"),
        pytest.param({"Details": None, "Description": "y"}, "y", "", id="null"),
        pytest.param({"Details": " ", "Description": "y"}, "y", "", id="blanks"),
        pytest.param({"Description": "y"}, "y", "", id="absent"),
        pytest.param(
            {"Details": "550 x", "Description": "5.1.1"}, "550 x", "", id="the code comes from the reason only"
        ),
        pytest.param({"Details": 550}, "550", "", id="a number"),
        pytest.param({}, "", "", id="neither"),
    ],
)
def test_reason_and_enhanced_code(said: dict[str, Any], reason: str, enhanced_code: str) -> None:
    event = bounce_of("Unknown", **said)
    assert (event.reason, event.enhanced_code) == (reason, enhanced_code)


def test_an_unused_description_is_kept() -> None:
    event = bounce_of("HardBounce", Details="why", Description="what")
    assert extra_of(event) == {"ServerID": 23, "Description": "what"}


@pytest.mark.parametrize(
    ("type_", "details", "fault"),
    [
        pytest.param("SoftBounce", "550 5.1.1", "mailbox", id="the type takes precedence"),
        pytest.param("HardBounce", "550 5.7.1", "recipient", id="the type takes precedence, for a hard bounce"),
        pytest.param("Unknown", "550 5.1.1", "recipient", id="then the enhanced code"),
        pytest.param("Unconfirmed", "452 4.2.2", "mailbox", id="then the enhanced code, of a mailbox"),
        pytest.param("ManuallyDeactivated", "550 5.7.1", "sender", id="then the enhanced code, of a drop"),
        pytest.param("TemplateRenderingFailed", "no code", "unknown", id="else unknown"),
        pytest.param("Blocked", "550 5.1.1", "sender", id="a block is never the recipient's"),
    ],
)
def test_fault(type_: str, details: str, fault: str) -> None:
    assert bounce_of(type_, Details=details).fault == fault


@pytest.mark.parametrize("record", ["Delivery", "Open", "Click", "SpamComplaint", "SubscriptionChange", "New"])
def test_other_events_have_no_fault(record: str) -> None:
    assert event_of(record, Details="550 5.1.1", Type="HardBounce").fault == ""


def test_text_of_third_parties_is_kept_byte_for_byte() -> None:
    text = "<script>=1+1\r\n\x00\x1b[31m\u202e"
    event = bounce_of("HardBounce", Details=text, Subject=text, UserAgent=text, OriginalLink=text)
    assert (event.reason, event.user_agent, event.url, extra_of(event)["Subject"]) == (text, text, text, text)


# Changes of a suppression list


@pytest.mark.parametrize(
    ("suppress", "classification"),
    [(True, "added"), ("true", "added"), (" TRUE", "added"), (1, "added"), ("1", "added"), (1.0, "added")]
    + [(False, "removed"), ("False", "removed"), (0, "removed"), ("0", "removed")]
    + [(None, ""), ("", ""), ("perhaps", ""), (2, ""), ([True], "")],
    ids=repr,
)
def test_a_change_is_classified_as_added_or_removed_or_not_at_all(suppress: object, classification: str) -> None:
    event = change_of(suppress)
    assert (event.type, event.classification) == ("subscription_changed", classification)
    assert extra_of(event)["SuppressSending"] == suppress


def test_a_change_without_any_fields_is_still_a_change() -> None:
    assert event_of("SubscriptionChange").classification == ""


@pytest.mark.parametrize(
    ("said", "reason"),
    [("HardBounce", "HardBounce"), ("spamcomplaint", "SpamComplaint"), (" MANUALSUPPRESSION", "ManualSuppression")]
    + [("Brand_New", "Brand_New"), (None, ""), ("", "")],
    ids=repr,
)
def test_the_reason_of_a_change_is_its_suppression_reason(said: object, reason: str) -> None:
    assert change_of(SuppressionReason=said, Details="elsewhere").reason == reason
    assert extra_of(change_of(SuppressionReason=said, Details="elsewhere"))["Details"] == "elsewhere"


@pytest.mark.parametrize("origin", ["Recipient", "Customer", "Admin", "brand new", None])
def test_a_change_keeps_the_fields_about_its_origin(origin: object) -> None:
    event = change_of(SuppressionReason="ManualSuppression", Origin=origin, MessageID=None, Metadata={})
    assert (event.group, event.reason, event.classification) == ("outbound", "ManualSuppression", "added")
    assert extra_of(event) == {
        "MessageID": None,
        "Metadata": {},
        "Origin": origin,
        "ServerID": 23,
        "SuppressSending": True,
    }


def test_a_hard_bounce_and_its_suppression_are_two_events_of_one_message() -> None:
    bounce, change = bounce_of("HardBounce"), change_of(SuppressionReason="HardBounce")
    assert (bounce.type, change.type, change.fault) == ("bounced", "subscription_changed", "")
    assert bounce.provider_message_id == change.provider_message_id
    assert bounce.event_id != change.event_id


def test_a_change_has_the_time_of_the_change_however_late_it_arrives() -> None:
    event = change_of(False, ChangedAt="2026-11-20T09:03:20Z")
    assert event.occurred_us == SENT_US - 4 * DAY_US


# Other fields


def test_an_open_has_its_user_agent_and_ip() -> None:
    geo, client = {"City": "Berlin", "IP": "203.0.113.9"}, {"Name": "Chrome"}
    event = event_of("Open", UserAgent="Mozilla", Geo=geo, Client=client, Platform="Desktop", FirstOpen=True)
    assert (event.user_agent, event.ip, event.machine) == ("Mozilla", "203.0.113.9", False)
    more = {"Geo": {"City": "Berlin"}, "Client": client, "Platform": "Desktop", "FirstOpen": True}
    assert extra_of(event) == {"ServerID": 23} | more


@pytest.mark.parametrize(
    ("geo", "ip", "left"),
    [({"IP": "::1"}, "::1", {}), ({"IP": None}, "", {}), ({"IP": 7, "Zip": 1}, "7", {"Geo": {"Zip": 1}})]
    + [
        ({}, "", {"Geo": {}}),
        (None, "", {"Geo": None}),
        ("Berlin", "", {"Geo": "Berlin"}),
        (["IP"], "", {"Geo": ["IP"]}),
    ],
    ids=repr,
)
def test_ip_is_taken_from_geo(geo: object, ip: str, left: dict[str, Any]) -> None:
    event = event_of("Click", Geo=geo)
    assert event.ip == ip
    assert extra_of(event) == {"ServerID": 23} | left


def test_a_click_has_its_link() -> None:
    event = event_of("Click", OriginalLink=" https://x.com/A", ClickLocation="HTML")
    assert event.url == " https://x.com/A"
    assert extra_of(event) == {"ServerID": 23, "ClickLocation": "HTML"}


@pytest.mark.parametrize("flag", ["Bot", "IsMachine", "sg_machine_open"])
def test_machine_opens_are_not_guessed(flag: str) -> None:
    assert event_of("Open", UserAgent="GoogleImageProxy", **{flag: True}).machine is False


@pytest.mark.parametrize("record", RECORDS)
def test_the_stream_is_the_group_of_every_record_type(record: str) -> None:
    assert event_of(record, MessageStream=" newsletter ").group == "newsletter"
    assert event_of(record, MessageStream=None).group == ""


@pytest.mark.parametrize(
    ("value", "text"),
    [("x", "x"), (1, "1"), (1.0, "1"), (1.5, "1.5"), (True, "true"), (False, "false"), (None, "")]
    + [([1, "a"], '[1,"a"]'), ({"b": 1, "a": None}, '{"a":null,"b":1}'), ([], "[]")],
    ids=repr,
)
def test_a_value_of_any_json_type_becomes_text(value: object, text: str) -> None:
    event = event_of("Click", ID=value, MessageStream=value, UserAgent=value, OriginalLink=value, Type=value)
    assert (event.provider_event_id, event.group, event.user_agent, event.url, event.code) == (text,) * 5
    assert event_of(Details=value).reason == text


@pytest.mark.parametrize("value", ["reminder", None, 7, ["a"], {"a": None}], ids=repr)
def test_fields_without_a_column_are_kept_as_sent(value: object) -> None:
    assert extra_of(event_of(Tag=value, Priority=value, ServerID=value)) == dict.fromkeys(
        ["Tag", "Priority", "ServerID"], value
    )


def test_the_content_of_a_bounce_is_truncated() -> None:
    whole = "é" * CONTENT_CHARACTERS
    assert extra_of(bounce_of("HardBounce", Content=whole)) == {"ServerID": 23, "Content": whole}
    event = bounce_of("HardBounce", Content=whole + "tail")
    assert extra_of(event) == {"ServerID": 23, "Content": whole, "content_characters": CONTENT_CHARACTERS + 4}
    assert extra_of(bounce_of("HardBounce", Content=["x"])) == {"ServerID": 23, "Content": ["x"]}


def test_an_event_has_its_source_position() -> None:
    assert event_of()[-4:] == (*SOURCE[:3], 0)
    assert event_of().received_us == RECEIVED_US


def test_headers_are_ignored() -> None:
    body = orjson.dumps(a_post())
    assert to_events(body, SOURCE, [("request_url", b"https://x/?sl_account=other")]) == to_events(body, SOURCE)


# The event id

CLICK = {"OriginalLink": "https://x.com", "Type": "HardBounce", "SuppressSending": True, "ID": 42}


@pytest.mark.parametrize(
    "said",
    [
        pytest.param({"ID": 43}, id="another bounce ID"),
        pytest.param({"ID": None}, id="no bounce ID"),
        pytest.param({"RecordType": " CLICK "}, id="capitals in the record"),
        pytest.param({"Type": "hardbounce"}, id="capitals in the type"),
        pytest.param({"Recipient": " ANNA@example.COM"}, id="capitals in the address"),
        pytest.param({"MessageID": MESSAGE_ID.upper()}, id="capitals in the message id"),
        pytest.param({"ServerID": "23"}, id="a number as text"),
        pytest.param({"ServerID": 23.0}, id="a number as a float"),
        pytest.param({"MessageStream": "outbound "}, id="blanks"),
        pytest.param({"ReceivedAt": "2026-11-24T10:03:20+01:00"}, id="another offset"),
        pytest.param({"ReceivedAt": SENT_US // 1000}, id="a time in milliseconds"),
        pytest.param({"SuppressSending": "True"}, id="a boolean as text"),
        pytest.param({"SuppressSending": 1}, id="a boolean as a number"),
        pytest.param({"Metadata": {}}, id="without our ids"),
        pytest.param(
            {"TypeCode": 7, "Details": "x", "Tag": "y", "UserAgent": "z"}, id="fields that are not part of it"
        ),
    ],
)
def test_event_id_is_the_same_for_every_spelling_of_a_fact(said: dict[str, Any]) -> None:
    assert parsed(a_post("Click", **CLICK) | said).event_id == event_of("Click", **CLICK).event_id


@pytest.mark.parametrize(
    "said",
    [
        pytest.param({"ServerID": 24}, id="server"),
        pytest.param({"MessageStream": "broadcast"}, id="stream"),
        pytest.param({"MessageID": "other"}, id="message"),
        pytest.param({"MessageID": None}, id="no message, but a bounce ID"),
        pytest.param({"Recipient": "office@example.com"}, id="the CC of one send"),
        pytest.param({"RecordType": "Open"}, id="record"),
        pytest.param({"Type": "SoftBounce"}, id="type"),
        pytest.param({"SuppressSending": False}, id="added or removed"),
        pytest.param({"ReceivedAt": "2026-11-24T09:03:20.000001Z"}, id="time"),
        pytest.param({"OriginalLink": "https://x.com/"}, id="link"),
    ],
)
def test_different_facts_have_different_event_ids(said: dict[str, Any]) -> None:
    assert parsed(a_post("Click", **CLICK) | said).event_id != event_of("Click", **CLICK).event_id


def test_event_id_does_not_depend_on_source_position_or_arrival_time() -> None:
    later = SourcePosition("webhooks.postmark", 0, 7, RECEIVED_US + 40 * DAY_US)
    for post in (a_post(), a_post(DeliveredAt=None), a_post(DeliveredAt="2026-12-24T09:03:20Z")):
        assert parsed(post, later).event_id == parsed(post).event_id


def test_without_a_message_id_the_event_id_uses_the_bounce_id() -> None:
    assert bounce_of("HardBounce", MessageID=None, ID=42) == bounce_of("HardBounce", MessageID=None, ID="42")
    assert bounce_of("HardBounce", MessageID=None, ID=1).event_id != bounce_of("HardBounce", MessageID=None).event_id


def test_without_an_id_of_the_provider_the_event_id_uses_ours() -> None:
    one = event_of(MessageID=None)
    other = event_of(MessageID=None, Metadata=OURS | {"sl_message": MESSAGE[:-1] + "0"})
    assert one.event_id != other.event_id


# The body


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"\xef\xbb\xbf" + orjson.dumps(a_post()), id="a byte order mark"),
        pytest.param(b"\r\n " + json.dumps(a_post(), indent=1).encode().replace(b"\n", b"\r\n"), id="CR LF"),
    ],
)
def test_a_body_is_accepted(body: bytes) -> None:
    assert to_events(body, SOURCE).events == [event_of()]


@pytest.mark.parametrize("body", [b"", b" ", b"{", b"{'RecordType':1}", b"a=b", b"{} {}", b"\xff\xfe{\x00}\x00"])
def test_a_body_that_is_not_json_is_rejected(body: bytes) -> None:
    assert rejection_of(body)[::2] == ("body_not_json", body)
    assert rejection_of(body).position is None


@pytest.mark.parametrize("body", [b"null", b"1", b'"{}"', b"true", b"NaN", b"[]", b"[1]", orjson.dumps([a_post()])])
def test_a_body_that_is_not_an_object_is_rejected(body: bytes) -> None:
    assert rejection_of(body) == Rejection("body_not_object", "a post of Postmark is one object", body, None)


@pytest.mark.parametrize("name", [None, "", " \n", 7, True, ["Delivery"], {}], ids=repr)
def test_a_post_without_a_record_type_is_rejected(name: object) -> None:
    body = json.dumps(a_post(RecordType=name), indent=1).encode()
    assert rejection_of(body) == Rejection("record_type_missing", "`RecordType` must be a text", body, None)


def test_an_inbound_mail_at_the_wrong_url_is_rejected_with_a_hint() -> None:
    body = orjson.dumps({"FromFull": {"Email": "anna@example.com"}, "MessageID": MESSAGE_ID, "TextBody": "Hello"})
    rejection = rejection_of(body)
    assert (rejection.reason, rejection.value) == ("record_type_missing", body)
    assert "inbound" in rejection.detail


def test_slightly_invalid_json_is_accepted() -> None:
    body = orjson.dumps(a_post("Bounce", Type="HardBounce", Details="gr@n", Score="@", More="half @"))
    body = body.replace(b"gr@n", b"gr\xfcn").replace(b'"@"', b"[NaN,1e999]").replace(b"half @", b"half \\ud83d")
    event = to_events(body, SOURCE).events[0]
    assert event.reason == "gr\ufffdn"
    assert extra_of(event) == {"ServerID": 23, "Score": ["NaN", "1e999"], "More": "half \ufffd"}


def test_a_body_that_nests_too_deep_is_rejected() -> None:
    deep: object = "x"
    for _ in range(400):
        deep = [deep]
    body = json.dumps(a_post(deep=deep)).encode()
    assert rejection_of(body)[::2] == ("body_failed", body)


# Properties

FIELDS = ["RecordType", "Type", "TypeCode", "ID", "ServerID", "MessageStream", "MessageID", "Recipient", "Email"]
FIELDS += ["DeliveredAt", "BouncedAt", "ReceivedAt", "ChangedAt", "Details", "Description", "Metadata", "Geo", "Tag"]
FIELDS += ["SuppressSending", "SuppressionReason", "Origin", "OriginalLink", "UserAgent", "Content", "occurred_at", "x"]
ANY_TEXT = st.text(st.characters(), max_size=10)  # with half surrogate pairs
SCALAR = st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT
JSON = st.recursive(SCALAR, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANY_TEXT, inner, max_size=3))
SENSIBLE = st.sampled_from(
    ["anna@Example.com", SENT, "5.1.1", "HardBounce", MESSAGE_ID, OURS, {"IP": "::1"}, "true", 1]
)
POST = st.builds(
    lambda name, rest: rest | {"RecordType": name},
    st.sampled_from([*RECORDS, "bounce"]),
    st.dictionaries(st.sampled_from(FIELDS), SENSIBLE | JSON, max_size=12),
)


@given(POST | JSON)
@example({"RecordType": "Bounce", "Type": float("inf"), "Geo": {"IP": {"a": float("nan")}}})
def test_every_post_becomes_an_event_or_a_rejection(post: Any) -> None:
    body = json.dumps(post).encode()
    events, rejections = to_events(body, SOURCE)
    assert len(events) + len(rejections) == 1
    assert all(one.value == body and one.reason != "body_failed" for one in rejections)


@given(st.binary(max_size=60))
def test_any_bytes_are_handled(body: bytes) -> None:
    to_events(body, SOURCE)


@given(POST)
def test_an_event_has_only_strings_and_numbers(post: dict[str, Any]) -> None:
    for event in to_events(json.dumps(post).encode(), SOURCE).events:
        for value, kind in zip(event, Event.__annotations__.values(), strict=True):
            assert type(value) is kind
        "".join(value for value in event if isinstance(value, str)).encode()  # no half surrogate pairs
        assert event.address == email_key(event.address)


@given(POST)
def test_reading_the_fields_in_another_order_gives_the_same_event(post: dict[str, Any]) -> None:
    backwards = dict(reversed(post.items()))
    events = to_events(json.dumps(post).encode(), SOURCE).events
    assert to_events(json.dumps(backwards).encode(), SOURCE).events == events


@pytest.mark.parametrize("field", [*FIELDS, "From", "Subject", "Client", "ReadSeconds", "ServerId"])
@pytest.mark.parametrize("record", RECORDS)
def test_no_field_is_lost(record: str, field: str) -> None:
    """The value of any field is in a column, or in `extra` under the field's name."""
    event = parsed(a_post(record) | {field: "~Said~"})
    assert extra_of(event).get(field) == "~Said~" or "~Said~" in event


def test_our_note_about_the_time_replaces_a_field_of_its_name_only_if_the_time_is_implausible() -> None:
    assert extra_of(event_of(occurred_at="noon"))["occurred_at"] == "noon"
    assert extra_of(event_of(occurred_at="noon", DeliveredAt=None))["occurred_at"] == "received_at"
