"""Postmark's webhooks: every row of the mapping, and every way in which its posts have surprised somebody.

The numbers of traps are those of the list that this adapter was built against; whole posts are in tests/golden.
"""

import json
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from schemas.addresses import email_key
from schemas.events import Bad, Event, Place
from schemas.provider_ids import postmark_id_key
from schemas.providers.postmark import CONTENT_CHARACTERS, to_events
from schemas.times import DAY_US

SENT_US = 1_795_511_000_000_000  # 2026-11-24T09:03:20Z
SENT = "2026-11-24T09:03:20.0000000Z"
RECEIVED_US = SENT_US + 60_000_000
PLACE = Place("webhooks.postmark", 3, 1042, RECEIVED_US)
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
    """A post of Postmark about one mail, but for what is `said`."""
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


def parsed(post: dict[str, Any], place: Place = PLACE) -> Event:
    events, bad = to_events(json.dumps(post).encode(), place)
    assert bad == []
    return events[0]


def event_of(record: Any = "Delivery", **said: Any) -> Event:
    return parsed(a_post(record, **said))


def without(*names: str, record: str = "Delivery", **said: Any) -> Event:
    return parsed({name: value for name, value in a_post(record, **said).items() if name not in names})


def bounce_of(type_: Any, **said: Any) -> Event:
    return event_of("Bounce", Type=type_, **said)


def change_of(suppress: Any = True, **said: Any) -> Event:
    return event_of("SubscriptionChange", SuppressSending=suppress, **said)


def bad_of(body: bytes) -> Bad:
    events, bad = to_events(body, PLACE)
    assert events == []
    return bad[0]


def extra_of(event: Event) -> Any:
    return orjson.loads(event.extra) if event.extra else {}


# What happened


@pytest.mark.parametrize(
    ("name", "type_"),
    [
        ("Delivery", "delivered"),
        ("Open", "opened"),
        ("Click", "clicked"),
        ("SpamComplaint", "complained"),
        ("SubscriptionChange", "subscription_changed"),
        pytest.param("Inbound", "unknown", id="a name of another webhook"),
        pytest.param("BrandNew", "unknown", id="a name that nobody announced"),
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
        pytest.param("BrandNew", "unknown", "", id="a type that nobody announced"),
    ],
)
def test_type_of_a_bounce(name: str, type_: str, fault: str) -> None:
    event = bounce_of(name)
    assert (event.type, event.code, event.fault) == (type_, name, fault)
    assert bounce_of(f" {name.upper()} ").type == bounce_of(name.lower()).type == type_


@pytest.mark.parametrize("name", ["SoftBounce/Undeliverable", " softbounce/undeliverable"])
def test_a_type_by_its_old_name_is_the_type_and_stays_visible(name: str) -> None:
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
def test_trap_18_type_code_says_nothing_and_is_kept(type_: str, code: object) -> None:
    assert bounce_of(type_, TypeCode=code).type == bounce_of(type_).type
    assert extra_of(bounce_of(type_, TypeCode=code))["TypeCode"] == code


@pytest.mark.parametrize("type_", ["SpamComplaint", "HardBounce", "BrandNew", None])
def test_a_complaint_is_one_whatever_its_type(type_: object) -> None:
    assert event_of("SpamComplaint", Type=type_, TypeCode=512).type == "complained"


@pytest.mark.parametrize("record", ["Delivery", "Open", "SubscriptionChange"])
def test_a_type_counts_for_bounces_only(record: str) -> None:
    assert event_of(record, Type="HardBounce").type == event_of(record).type
    assert event_of(record, Type="HardBounce").fault == ""


def test_names_that_our_type_does_not_tell_are_kept_as_they_were_written() -> None:
    assert extra_of(event_of(" Brand_New"))["RecordType"] == " Brand_New"
    assert extra_of(bounce_of(" Brand_New")) == {"RecordType": "Bounce", "Type": " Brand_New", "ServerID": 23}
    assert extra_of(bounce_of("spamcomplaint")) == {"RecordType": "Bounce", "Type": "spamcomplaint", "ServerID": 23}
    for event in (event_of(), bounce_of("HardBounce"), event_of("SpamComplaint", Type="SpamComplaint")):
        assert extra_of(event) == {"ServerID": 23}


@pytest.mark.parametrize(("said", "code"), [("hardbounce", "HardBounce"), ("dmarcPOLICY ", "DMARCPolicy")])
def test_a_code_has_the_vendors_spelling(said: str, code: str) -> None:
    """What compares codes later (a drop of `ManuallyDeactivated`) need not think of letters."""
    assert bounce_of(said).code == code
    assert bounce_of(" Brand_New ").code == "Brand_New"


# Which message


@pytest.mark.parametrize(
    ("text", "key"),
    [
        pytest.param(MESSAGE_ID, MESSAGE_ID, id="a UUID"),
        pytest.param(MESSAGE_ID.upper(), MESSAGE_ID, id="a UUID in capitals"),
        pytest.param(f" {MESSAGE_ID}\n", MESSAGE_ID, id="blanks"),
        pytest.param("PM-Abc_7", "PM-Abc_7", id="no UUID: nobody says that its letters have no case"),
        pytest.param("", "", id="blank"),
        pytest.param("00000000-0000-0000-0000-000000000000", "", id="the nil UUID is no id"),
    ],
)
def test_message_id_compares_with_that_of_the_dispatch(text: str, key: str) -> None:
    assert postmark_id_key(text) == key
    assert postmark_id_key(key) == key
    assert event_of(MessageID=text).provider_message_id == key


@pytest.mark.parametrize("missing", [None, "", "  "], ids=repr)
def test_trap_18_a_missing_message_id_stays_visible(missing: object) -> None:
    event = change_of(MessageID=missing, Metadata={})
    assert (event.provider_message_id, event.message_id, event.address) == ("", "", "anna@example.com")
    assert extra_of(event)["MessageID"] == missing


@pytest.mark.parametrize("spell", [str.upper, str.title, str.lower])
def test_the_names_of_our_ids_are_met_in_any_case(spell: Callable[[str], str]) -> None:
    event = event_of(Metadata={spell(name): value for name, value in OURS.items()})
    assert (event.account_id, event.message_id) == (OURS["sl_account"], MESSAGE)
    assert "Metadata" not in extra_of(event)


def test_a_change_with_the_nil_uuid_names_no_message() -> None:
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
        pytest.param({"sl_account": "salon anna"}, id="an account id that is none"),
        pytest.param({"sl_account": None}, id="no account"),
        pytest.param({"sl_account": ""}, id="a blank account"),
        pytest.param({"sl_message": "0b1f6b3e-6c0e-4d6b-9e56-6a6d6c7f8a90"}, id="a UUID of version 4"),
        pytest.param({"sl_message": ["x"]}, id="a list"),
        pytest.param({"sl_account": "x" * 65, "sl_message": "7"}, id="neither"),
    ],
)
def test_half_a_pair_is_no_pair_and_stays_visible(said: dict[str, Any]) -> None:
    event = event_of(Metadata=OURS | said)
    assert (event.account_id, event.message_id) == ("", "")
    assert extra_of(event)["Metadata"] == OURS | said


@pytest.mark.parametrize("metadata", [None, [], "sl_account", {}, {"visit": "7"}, {"SL_ACCOUNT": "x"}], ids=repr)
def test_other_metadata_stays_as_it_was_sent(metadata: object) -> None:
    event = event_of(Metadata=metadata)
    assert (event.account_id, event.message_id) == ("", "")
    assert extra_of(event)["Metadata"] == metadata


def test_our_ids_outside_metadata_are_not_ours() -> None:
    assert without("Metadata", **OURS).message_id == ""
    assert extra_of(without("Metadata", **OURS)) == {"ServerID": 23} | OURS


# When


@pytest.mark.parametrize("record", TIME_FIELDS)
def test_each_record_has_its_own_time(record: str) -> None:
    others = dict.fromkeys(set(TIME_FIELDS.values()) - {TIME_FIELDS[record]}, "2026-11-23T00:00:00Z")
    event = event_of(record, **others)
    assert event.occurred_us == SENT_US
    assert extra_of(event) == {"ServerID": 23} | others | ({"RecordType": "Bounce"} if record == "Bounce" else {})


@pytest.mark.parametrize("field", sorted(set(TIME_FIELDS.values())))
def test_a_record_that_we_do_not_know_has_any_of_their_times(field: str) -> None:
    event = parsed({"RecordType": "BrandNew", field: SENT, "": SENT})
    assert event.occurred_us == SENT_US
    assert extra_of(event) == {"RecordType": "BrandNew", "": SENT}


@pytest.mark.parametrize(
    ("time", "us"),
    [
        pytest.param("2026-11-24T09:03:20.9070259Z", SENT_US + 907_025, id="trap 18: seven digits"),
        pytest.param("2026-11-24T04:03:20.9070259-05:00", SENT_US + 907_025, id="trap 18: an offset"),
        pytest.param("2026-11-24T09:03:20Z", SENT_US, id="no fraction"),
        pytest.param("2026-11-24 09:03:20+00:00", SENT_US, id="a blank for the T"),
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
def test_an_absurd_time_gives_way_to_the_arrival_and_is_kept(time: object) -> None:
    event = event_of("Open", ReceivedAt=time)
    assert event.occurred_us == event.received_us == RECEIVED_US
    assert extra_of(event) == {"ServerID": 23, "occurred_at": "received_at", "ReceivedAt": time}


@pytest.mark.parametrize("event", [event_of(DeliveredAt=None), without("DeliveredAt")], ids=["null", "absent"])
def test_a_missing_time_gives_way_to_the_arrival(event: Event) -> None:
    assert event.occurred_us == RECEIVED_US
    assert extra_of(event) == {"ServerID": 23, "occurred_at": "received_at"}


# Whom, why and whose fault


@pytest.mark.parametrize(
    ("email", "key"),
    [
        pytest.param("Foo@X.com", "foo@x.com", id="trap 13: capitals"),
        pytest.param("foo+tag@x.com", "foo+tag@x.com", id="trap 13: a plus-address"),
        pytest.param("foo@bücher.example", "foo@xn--bcher-kva.example", id="trap 13: an international domain"),
        pytest.param("", "", id="blank"),
        pytest.param(None, "", id="null"),
        pytest.param("no address", "no address", id="no address at all"),
        pytest.param(7, "7", id="a number"),
    ],
)
def test_address_is_the_key(email: object, key: str) -> None:
    assert event_of(Recipient=email).address == key
    assert bounce_of("HardBounce", Email=email).address == key


def test_another_spelling_of_the_address_is_kept() -> None:
    assert extra_of(event_of(Recipient="Foo@X.com")) == {"ServerID": 23, "Recipient": "Foo@X.com"}
    assert extra_of(bounce_of("HardBounce", Email="Foo@X.com")) == {"ServerID": 23, "Email": "Foo@X.com"}


def test_recipient_comes_before_email_unless_it_is_blank() -> None:
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
        pytest.param({"Details": "550 x", "Description": "5.1.1"}, "550 x", "", id="the code is the reason's alone"),
        pytest.param({"Details": 550}, "550", "", id="a number"),
        pytest.param({}, "", "", id="neither"),
    ],
)
def test_reason_and_enhanced_code(said: dict[str, Any], reason: str, enhanced_code: str) -> None:
    event = bounce_of("Unknown", **said)
    assert (event.reason, event.enhanced_code) == (reason, enhanced_code)


def test_a_description_that_was_not_needed_is_kept() -> None:
    event = bounce_of("HardBounce", Details="why", Description="what")
    assert extra_of(event) == {"ServerID": 23, "Description": "what"}


@pytest.mark.parametrize(
    ("type_", "details", "fault"),
    [
        pytest.param("SoftBounce", "550 5.1.1", "mailbox", id="the type comes first"),
        pytest.param("HardBounce", "550 5.7.1", "recipient", id="the type comes first, for a hard bounce"),
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


def test_trap_25_text_of_strangers_is_kept_byte_for_byte() -> None:
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
def test_a_change_says_what_it_did_or_nothing(suppress: object, classification: str) -> None:
    event = change_of(suppress)
    assert (event.type, event.classification) == ("subscription_changed", classification)
    assert extra_of(event)["SuppressSending"] == suppress


def test_a_change_that_says_nothing_at_all_is_one() -> None:
    assert event_of("SubscriptionChange").classification == ""


@pytest.mark.parametrize(
    ("said", "reason"),
    [("HardBounce", "HardBounce"), ("spamcomplaint", "SpamComplaint"), (" MANUALSUPPRESSION", "ManualSuppression")]
    + [("Brand_New", "Brand_New"), (None, ""), ("", "")],
    ids=repr,
)
def test_the_reason_of_a_change_is_the_suppressions(said: object, reason: str) -> None:
    assert change_of(SuppressionReason=said, Details="elsewhere").reason == reason
    assert extra_of(change_of(SuppressionReason=said, Details="elsewhere"))["Details"] == "elsewhere"


@pytest.mark.parametrize("origin", ["Recipient", "Customer", "Admin", "brand new", None])
def test_a_change_keeps_all_that_tells_whose_wish_it_was(origin: object) -> None:
    event = change_of(SuppressionReason="ManualSuppression", Origin=origin, MessageID=None, Metadata={})
    assert (event.group, event.reason, event.classification) == ("outbound", "ManualSuppression", "added")
    assert extra_of(event) == {
        "MessageID": None,
        "Metadata": {},
        "Origin": origin,
        "ServerID": 23,
        "SuppressSending": True,
    }


def test_trap_18_a_hard_bounce_and_its_suppression_are_two_facts_of_one_message() -> None:
    bounce, change = bounce_of("HardBounce"), change_of(SuppressionReason="HardBounce")
    assert (bounce.type, change.type, change.fault) == ("bounced", "subscription_changed", "")
    assert bounce.provider_message_id == change.provider_message_id
    assert bounce.event_id != change.event_id


def test_trap_19_a_change_has_the_time_of_the_change_however_late_it_comes() -> None:
    event = change_of(False, ChangedAt="2026-11-20T09:03:20Z")
    assert event.occurred_us == SENT_US - 4 * DAY_US


# What else


def test_an_open_says_with_what_and_from_where() -> None:
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
def test_ip_is_taken_from_wherever_it_can_be(geo: object, ip: str, left: dict[str, Any]) -> None:
    event = event_of("Click", Geo=geo)
    assert event.ip == ip
    assert extra_of(event) == {"ServerID": 23} | left


def test_a_click_says_on_which_link() -> None:
    event = event_of("Click", OriginalLink=" https://x.com/A", ClickLocation="HTML")
    assert event.url == " https://x.com/A"
    assert extra_of(event) == {"ServerID": 23, "ClickLocation": "HTML"}


@pytest.mark.parametrize("flag", ["Bot", "IsMachine", "sg_machine_open"])
def test_trap_24_no_machine_is_guessed(flag: str) -> None:
    assert event_of("Open", UserAgent="GoogleImageProxy", **{flag: True}).machine is False


@pytest.mark.parametrize("record", RECORDS)
def test_the_stream_is_the_group_of_every_record(record: str) -> None:
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
def test_fields_without_a_column_stay_as_they_were_sent(value: object) -> None:
    assert extra_of(event_of(Tag=value, Priority=value, ServerID=value)) == dict.fromkeys(
        ["Tag", "Priority", "ServerID"], value
    )


def test_the_content_of_a_bounce_is_kept_to_its_first_page() -> None:
    whole = "é" * CONTENT_CHARACTERS
    assert extra_of(bounce_of("HardBounce", Content=whole)) == {"ServerID": 23, "Content": whole}
    event = bounce_of("HardBounce", Content=whole + "tail")
    assert extra_of(event) == {"ServerID": 23, "Content": whole, "content_characters": CONTENT_CHARACTERS + 4}
    assert extra_of(bounce_of("HardBounce", Content=["x"])) == {"ServerID": 23, "Content": ["x"]}


def test_an_event_knows_its_place() -> None:
    assert event_of()[-4:] == (*PLACE[:3], 0)
    assert event_of().received_us == RECEIVED_US


def test_headers_say_nothing() -> None:
    body = orjson.dumps(a_post())
    assert to_events(body, PLACE, [("request_url", b"https://x/?sl_account=other")]) == to_events(body, PLACE)


# The id of the fact

CLICK = {"OriginalLink": "https://x.com", "Type": "HardBounce", "SuppressSending": True, "ID": 42}


@pytest.mark.parametrize(
    "said",
    [
        pytest.param({"ID": 43}, id="another bounce ID"),
        pytest.param({"ID": None}, id="no bounce ID"),
        pytest.param({"RecordType": " CLICK "}, id="capitals in the record"),
        pytest.param({"Type": "hardbounce"}, id="capitals in the type"),
        pytest.param({"Recipient": " ANNA@example.COM"}, id="trap 13: capitals in the address"),
        pytest.param({"MessageID": MESSAGE_ID.upper()}, id="capitals in the message id"),
        pytest.param({"ServerID": "23"}, id="a number as text"),
        pytest.param({"ServerID": 23.0}, id="a number as a float"),
        pytest.param({"MessageStream": "outbound "}, id="blanks"),
        pytest.param({"ReceivedAt": "2026-11-24T10:03:20+01:00"}, id="another offset"),
        pytest.param({"ReceivedAt": SENT_US // 1000}, id="a time in milliseconds"),
        pytest.param({"SuppressSending": "True"}, id="a truth as text"),
        pytest.param({"SuppressSending": 1}, id="a truth as a number"),
        pytest.param({"Metadata": {}}, id="without our ids"),
        pytest.param({"TypeCode": 7, "Details": "x", "Tag": "y", "UserAgent": "z"}, id="what is no part of it"),
    ],
)
def test_event_id_is_the_same_for_every_spelling_of_one_fact(said: dict[str, Any]) -> None:
    assert parsed(a_post("Click", **CLICK) | said).event_id == event_of("Click", **CLICK).event_id


@pytest.mark.parametrize(
    "said",
    [
        pytest.param({"ServerID": 24}, id="server"),
        pytest.param({"MessageStream": "broadcast"}, id="stream"),
        pytest.param({"MessageID": "other"}, id="message"),
        pytest.param({"MessageID": None}, id="no message, but a bounce ID"),
        pytest.param({"Recipient": "office@example.com"}, id="trap 9: the CC of one send"),
        pytest.param({"RecordType": "Open"}, id="record"),
        pytest.param({"Type": "SoftBounce"}, id="type"),
        pytest.param({"SuppressSending": False}, id="added or removed"),
        pytest.param({"ReceivedAt": "2026-11-24T09:03:20.000001Z"}, id="time"),
        pytest.param({"OriginalLink": "https://x.com/"}, id="link"),
    ],
)
def test_event_id_tells_two_facts_apart(said: dict[str, Any]) -> None:
    assert parsed(a_post("Click", **CLICK) | said).event_id != event_of("Click", **CLICK).event_id


def test_event_id_does_not_depend_on_where_and_when_it_came() -> None:
    later = Place("webhooks.postmark", 0, 7, RECEIVED_US + 40 * DAY_US)
    for post in (a_post(), a_post(DeliveredAt=None), a_post(DeliveredAt="2026-12-24T09:03:20Z")):
        assert parsed(post, later).event_id == parsed(post).event_id


def test_without_a_message_id_the_bounce_id_names_the_fact() -> None:
    assert bounce_of("HardBounce", MessageID=None, ID=42) == bounce_of("HardBounce", MessageID=None, ID="42")
    assert bounce_of("HardBounce", MessageID=None, ID=1).event_id != bounce_of("HardBounce", MessageID=None).event_id


def test_without_any_id_of_the_provider_ours_names_the_fact() -> None:
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
def test_a_body_is_read(body: bytes) -> None:
    assert to_events(body, PLACE).events == [event_of()]


@pytest.mark.parametrize("body", [b"", b" ", b"{", b"{'RecordType':1}", b"a=b", b"{} {}", b"\xff\xfe{\x00}\x00"])
def test_a_body_that_is_no_json_is_bad(body: bytes) -> None:
    assert bad_of(body)[::2] == ("body_not_json", body)
    assert bad_of(body).position is None


@pytest.mark.parametrize("body", [b"null", b"1", b'"{}"', b"true", b"NaN", b"[]", b"[1]", orjson.dumps([a_post()])])
def test_a_body_that_is_no_object_is_bad(body: bytes) -> None:
    assert bad_of(body) == Bad("body_not_object", "a post of Postmark is one object", body, None)


@pytest.mark.parametrize("name", [None, "", " \n", 7, True, ["Delivery"], {}], ids=repr)
def test_a_post_without_a_record_type_is_bad(name: object) -> None:
    body = json.dumps(a_post(RecordType=name), indent=1).encode()
    assert bad_of(body) == Bad("record_type_missing", "`RecordType` must be a text", body, None)


def test_trap_18_an_inbound_mail_at_the_wrong_url_is_bad_and_says_so() -> None:
    body = orjson.dumps({"FromFull": {"Email": "anna@example.com"}, "MessageID": MESSAGE_ID, "TextBody": "Hello"})
    bad = bad_of(body)
    assert (bad.reason, bad.value) == ("record_type_missing", body)
    assert "inbound" in bad.detail


def test_json_that_is_not_quite_costs_nothing() -> None:
    body = orjson.dumps(a_post("Bounce", Type="HardBounce", Details="gr@n", Score="@", More="half @"))
    body = body.replace(b"gr@n", b"gr\xfcn").replace(b'"@"', b"[NaN,1e999]").replace(b"half @", b"half \\ud83d")
    event = to_events(body, PLACE).events[0]
    assert event.reason == "gr\ufffdn"
    assert extra_of(event) == {"ServerID": 23, "Score": ["NaN", "1e999"], "More": "half \ufffd"}


def test_a_body_that_nests_too_deep_is_bad() -> None:
    deep: object = "x"
    for _ in range(400):
        deep = [deep]
    body = json.dumps(a_post(deep=deep)).encode()
    assert bad_of(body)[::2] == ("body_failed", body)


# Laws

FIELDS = ["RecordType", "Type", "TypeCode", "ID", "ServerID", "MessageStream", "MessageID", "Recipient", "Email"]
FIELDS += ["DeliveredAt", "BouncedAt", "ReceivedAt", "ChangedAt", "Details", "Description", "Metadata", "Geo", "Tag"]
FIELDS += ["SuppressSending", "SuppressionReason", "Origin", "OriginalLink", "UserAgent", "Content", "occurred_at", "x"]
ANY_TEXT = st.text(st.characters(), max_size=10)  # with halves of surrogate pairs
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
def test_every_post_becomes_an_event_or_a_bad_one(post: Any) -> None:
    body = json.dumps(post).encode()
    events, bad = to_events(body, PLACE)
    assert len(events) + len(bad) == 1
    assert all(one.value == body and one.reason != "body_failed" for one in bad)


@given(st.binary(max_size=60))
def test_any_bytes_are_taken(body: bytes) -> None:
    to_events(body, PLACE)


@given(POST)
def test_an_event_has_only_plain_texts_and_numbers(post: dict[str, Any]) -> None:
    for event in to_events(json.dumps(post).encode(), PLACE).events:
        for value, kind in zip(event, Event.__annotations__.values(), strict=True):
            assert type(value) is kind
        "".join(value for value in event if isinstance(value, str)).encode()  # no half of a surrogate pair
        assert event.address == email_key(event.address)


@given(POST)
def test_reading_the_fields_in_another_order_gives_the_same_event(post: dict[str, Any]) -> None:
    backwards = dict(reversed(post.items()))
    events = to_events(json.dumps(post).encode(), PLACE).events
    assert to_events(json.dumps(backwards).encode(), PLACE).events == events


@pytest.mark.parametrize("field", [*FIELDS, "From", "Subject", "Client", "ReadSeconds", "ServerId"])
@pytest.mark.parametrize("record", RECORDS)
def test_no_field_is_lost(record: str, field: str) -> None:
    """Whatever a field says stands in a column, or under the field's own name in `extra`."""
    event = parsed(a_post(record) | {field: "~Said~"})
    assert extra_of(event).get(field) == "~Said~" or "~Said~" in event


def test_our_remark_about_the_time_hides_a_field_of_its_name_only_where_the_time_is_absurd() -> None:
    assert extra_of(event_of(occurred_at="noon"))["occurred_at"] == "noon"
    assert extra_of(event_of(occurred_at="noon", DeliveredAt=None))["occurred_at"] == "received_at"
