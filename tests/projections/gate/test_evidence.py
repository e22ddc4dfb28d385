"""What an event or a command says of its address, and which events say nothing."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from projections.gate.addressing import AddressKey
from projections.gate.evidence import Evidence, Kind, evidence_of, evidence_of_command
from schemas.events import Event, EventType, Place
from schemas.gate_facts import decode_command
from schemas.providers import postmark, sendgrid, twilio
from schemas.times import rfc3339
from tests.building import ACCOUNT, MESSAGE, NOW_US, an_event

PLACE = Place("webhooks.postmark", 0, 0, NOW_US)
SERVICE = "MG9752274e9e519418a7406176694466fa"


def said(kind: str, **fields: Any) -> Evidence | None:
    """What an event says; `extra` is given as an object."""
    extra = fields.pop("extra", None)
    found = evidence_of(an_event(kind, **fields, extra=orjson.dumps(extra).decode() if extra else ""))
    return found.evidence if found else None


def texted(kind: str, **fields: Any) -> Evidence | None:
    return said(kind, provider="twilio", address="+14155550123", **fields)


@pytest.mark.parametrize(
    ("kind", "fields", "expected"),
    [
        pytest.param("bounced", {"fault": "recipient"}, Kind.BOUNCE, id="a hard bounce"),
        pytest.param("bounced", {"fault": "mailbox"}, None, id="a full mailbox"),
        pytest.param("bounced", {"fault": "sender"}, None, id="our fault"),
        pytest.param("bounced", {"fault": "infrastructure"}, None, id="the network's fault"),
        pytest.param("bounced", {"fault": "unknown"}, None, id="nobody knows whose"),
        pytest.param("blocked", {"fault": "sender"}, None, id="a block"),
        pytest.param("dropped", {"fault": "recipient", "reason": "Bounced Address"}, None, id="a drop is not tried"),
        pytest.param("deferred", {"fault": "mailbox"}, None, id="a delay"),
        pytest.param("failed", {"fault": "recipient"}, None, id="an email does not fail"),
        pytest.param("complained", {}, Kind.COMPLAINT, id="a complaint"),
        pytest.param("unsubscribed", {}, Kind.UNSUBSCRIBED, id="an unsubscribe"),
        pytest.param("resubscribed", {"group": "12"}, Kind.RESUBSCRIBED, id="a resubscribe"),
        pytest.param("resubscribed", {}, None, id="a resubscribe to no group"),
        pytest.param("subscription_changed", {"classification": "added"}, Kind.LISTED, id="listed"),
        pytest.param("subscription_changed", {"classification": "removed"}, Kind.UNLISTED, id="unlisted"),
        pytest.param("subscription_changed", {}, None, id="changed, nobody knows how"),
        pytest.param("delivered", {}, None, id="a delivery proves nothing for later"),
        pytest.param("opened", {}, None, id="an open"),
        pytest.param("provider_alert", {}, None, id="an alert"),
        pytest.param("unknown", {"fault": "recipient"}, None, id="unknown"),
        pytest.param("complained", {"address": ""}, None, id="without an address"),
    ],
)
def test_what_an_email_event_says(kind: str, fields: dict[str, Any], expected: Kind | None) -> None:
    found = said(kind, **fields)
    assert (found and found.kind) == expected


@pytest.mark.parametrize(
    ("kind", "fields", "expected"),
    [
        pytest.param("failed", {"code": "30005", "fault": "recipient"}, Kind.BOUNCE, id="no such number"),
        pytest.param("failed", {"code": "21211", "fault": "unknown"}, Kind.BOUNCE, id="no number, whatever the fault"),
        pytest.param("failed", {"code": "30003", "fault": "mailbox"}, None, id="switched off"),
        pytest.param("failed", {"code": "30008", "fault": "recipient"}, None, id="a fault that its text tells"),
        pytest.param("failed", {"code": "", "fault": "recipient"}, None, id="a fault without a code"),
        pytest.param("failed", {"code": "30007", "fault": "sender"}, None, id="filtered"),
        pytest.param("failed", {"code": "21610", "fault": "unknown"}, Kind.OPTED_OUT, id="21610"),
        pytest.param("failed", {"code": "63014", "fault": "unknown"}, Kind.OPTED_OUT, id="63014"),
        pytest.param("failed", {"code": "63033", "fault": "unknown"}, Kind.OPTED_OUT, id="63033"),
        pytest.param("opted_out", {}, Kind.OPTED_OUT, id="STOP"),
        pytest.param("opted_in", {}, Kind.OPTED_IN, id="START"),
    ],
)
def test_what_an_sms_event_says(kind: str, fields: dict[str, Any], expected: Kind | None) -> None:
    found = texted(kind, **fields)
    assert (found and found.kind) == expected


def test_it_is_kept_under_channel_and_address_with_the_events_id_and_times() -> None:
    event = an_event("complained", occurred_us=NOW_US - 5, received_us=NOW_US)
    found = evidence_of(event)
    assert found is not None
    assert found.key == AddressKey("email", "ann@example.com")
    assert str(found.key) == "email:ann@example.com"
    assert found.evidence == Evidence(Kind.COMPLAINT, event.event_id, NOW_US - 5, NOW_US)
    sms = evidence_of(an_event("opted_out", provider="twilio", address="whatsapp:+14155550123"))
    assert sms is not None
    assert str(sms.key) == "sms:whatsapp:+14155550123"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        pytest.param({}, "sendgrid:abc", id="the provider's id"),
        pytest.param({"provider_message_id": ""}, f"{ACCOUNT}/{MESSAGE}", id="else ours"),
        pytest.param({"provider_message_id": "", "account_id": "", "message_id": ""}, "", id="else the event's"),
    ],
)
def test_bounces_are_told_apart_by_message(fields: dict[str, Any], message: str) -> None:
    found = said("bounced", fault="recipient", **fields)
    assert found is not None
    assert found.message == message


@pytest.mark.parametrize(("account", "scope"), [("acme", "acme"), ("", "*")])
@pytest.mark.parametrize(("kind", "group"), [("unsubscribed", ""), ("unsubscribed", "12"), ("resubscribed", "12")])
def test_a_wish_is_of_the_account_that_the_event_names(kind: str, group: str, account: str, scope: str) -> None:
    found = said(kind, group=group, account_id=account)
    assert found is not None
    assert (found.scope, found.group) == (scope, group)


@pytest.mark.parametrize(
    ("kind", "code", "extra", "senders"),
    [
        pytest.param("opted_out", "", {"To": "+1 500 555-0006"}, ("+1 500 555-0006",), id="the number it was sent to"),
        pytest.param(
            "opted_out",
            "",
            {"To": "+15005550006", "MessagingServiceSid": SERVICE},
            ("+15005550006", SERVICE),
            id="and the service",
        ),
        pytest.param(
            "opted_in", "", {"MessagingServiceSid": f" {SERVICE} "}, (SERVICE,), id="a service as it is written"
        ),
        pytest.param("failed", "21610", {"From": "+15005550006", "To": "x"}, ("+15005550006",), id="what it came from"),
        pytest.param("opted_out", "", {"To": ["+15005550006", "+1"]}, ("+15005550006",), id="given twice"),
        pytest.param("opted_out", "", {"To": " "}, (), id="a blank"),
        pytest.param("opted_out", "", None, (), id="nothing"),
    ],
)
def test_the_senders_of_an_sms_opt_out(
    kind: str, code: str, extra: dict[str, Any] | None, senders: tuple[str, ...]
) -> None:
    found = texted(kind, code=code, extra=extra)
    assert found is not None
    assert (found.senders, found.scope) == (senders, "*")


def subscription(**fields: Any) -> Evidence | None:
    """What a SubscriptionChange of Postmark says."""
    body = {
        "RecordType": "SubscriptionChange",
        "MessageID": None,
        "ServerID": 23,
        "MessageStream": "outbound",
        "ChangedAt": rfc3339(NOW_US - 5),
        "Recipient": "Ann@Example.com",
        "Origin": "Recipient",
        "SuppressSending": True,
        "SuppressionReason": "HardBounce",
    } | fields
    (event,) = postmark.to_events(orjson.dumps(body), PLACE).events
    found = evidence_of(event)
    return found.evidence if found else None


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        pytest.param({}, Kind.LISTED, id="a hard bounce"),
        pytest.param({"SuppressionReason": "SpamComplaint"}, Kind.LISTED, id="a complaint"),
        pytest.param({"SuppressionReason": "ManualSuppression", "Origin": "Customer"}, Kind.LISTED, id="by us"),
        pytest.param({"SuppressionReason": "ManualSuppression", "Origin": "Admin"}, Kind.LISTED, id="by Postmark"),
        pytest.param({"SuppressionReason": "manualsuppression", "Origin": "recipient"}, Kind.UNSUBSCRIBED, id="a wish"),
        pytest.param({"SuppressSending": False, "SuppressionReason": None}, Kind.UNLISTED, id="reactivated"),
        pytest.param({"SuppressSending": None}, None, id="neither"),
    ],
)
def test_what_a_change_of_postmarks_list_says(fields: dict[str, Any], kind: Kind | None) -> None:
    found = subscription(**fields)
    assert (found and found.kind) == kind
    if found is not None:
        assert (found.list, found.at_us) == ("23/outbound", NOW_US - 5)


def test_a_wish_in_postmarks_list_is_an_opt_out_of_the_stream() -> None:
    wish = {"SuppressionReason": "ManualSuppression"}
    ours = {"Metadata": {"sl_account": ACCOUNT, "sl_message": MESSAGE}}
    nobodys, acmes = subscription(**wish), subscription(**wish, **ours)
    assert nobodys is not None
    assert acmes is not None
    assert (nobodys.scope, nobodys.group) == ("*", "outbound")
    assert (acmes.scope, acmes.group) == (ACCOUNT, "outbound")


def test_a_hard_bounce_of_postmark_is_one_bounce_with_its_change_of_the_list() -> None:
    both: list[dict[str, Any]] = [
        {"RecordType": "Bounce", "Type": "HardBounce", "BouncedAt": rfc3339(NOW_US), "Email": "ann@example.com"},
        {
            "RecordType": "SubscriptionChange",
            "SuppressSending": True,
            "SuppressionReason": "HardBounce",
            "ChangedAt": rfc3339(NOW_US),
            "Recipient": "ann@example.com",
        },
    ]
    kinds = []
    for body in both:
        (event,) = postmark.to_events(orjson.dumps(body | {"MessageID": "m1", "MessageStream": "s"}), PLACE).events
        found = evidence_of(event)
        assert found is not None
        kinds.append(found.evidence.kind)
    assert kinds == [Kind.BOUNCE, Kind.LISTED]


def test_the_other_adapters_give_what_is_read_here() -> None:
    (left,) = sendgrid.to_events(
        orjson.dumps([{"event": "group_unsubscribe", "email": "Ann@Example.com", "asm_group_id": 12}]), PLACE
    ).events
    found = evidence_of(left)
    assert found is not None
    assert (found.key.address, found.evidence.kind, found.evidence.group) == ("ann@example.com", "unsubscribed", "12")
    text = f"MessageSid=SM1&SmsStatus=received&From=%2B14155550123&To=%2B15005550006&MessagingServiceSid={SERVICE}"
    (stop,) = twilio.to_events(f"{text}&Body=+stop".encode(), PLACE).events
    found = evidence_of(stop)
    assert found is not None
    assert (found.key.address, found.evidence.senders) == ("+14155550123", ("+15005550006", SERVICE))


def test_an_unsubscribe_of_all_mail_is_the_accounts_whatever_group_or_stream_it_carries() -> None:
    ours = {"sl_account": ACCOUNT, "sl_message": MESSAGE}
    (sendgrids,) = sendgrid.to_events(
        orjson.dumps({"event": "unsubscribe", "email": "ann@example.com", "asm_group_id": 10} | ours), PLACE
    ).events
    asked = {"RecordType": "Bounce", "Type": "Unsubscribe", "Email": "ann@example.com", "MessageStream": "outbound"}
    (postmarks,) = postmark.to_events(orjson.dumps(asked | {"Metadata": ours}), PLACE).events
    for event in (sendgrids, postmarks):
        found = evidence_of(event)
        assert found is not None
        assert (found.evidence.kind, found.evidence.scope, found.evidence.group) == ("unsubscribed", ACCOUNT, "")


@pytest.mark.parametrize(
    ("fields", "senders"),
    [
        pytest.param({}, (), id="names no sender"),
        pytest.param({"sender": ""}, (), id="a blank names none"),
        pytest.param({"sender": " +1 500 555 0006"}, ("+1 500 555 0006",), id="a number"),
        pytest.param({"sender": SERVICE}, (SERVICE,), id="a service"),
    ],
)
def test_what_a_command_says(fields: dict[str, Any], senders: tuple[str, ...]) -> None:
    record = {"command_id": "c1", "action": "opt_in", "channel": "sms", "address": "+1 415 555 0123", "scope": "*"}
    record |= {"group": "g", "reason": "asked", "actor": "ann", "at": rfc3339(NOW_US - 5)}
    found = evidence_of_command(decode_command(orjson.dumps(record | fields), PLACE))
    assert str(found.key) == "sms:+14155550123"
    assert found.evidence == Evidence(
        Kind.OPT_IN, "c1", NOW_US - 5, NOW_US, scope="*", group="g", senders=senders, actor="ann"
    )


_texts = st.sampled_from(["", "x", "recipient", "added", "removed", "ManualSuppression", "21610"])
_extras = st.sampled_from(["", "{}", "[]", "null", '{"To":null}', '{"ServerID":{"a":1},"Origin":["Recipient"]}'])


@given(
    st.sampled_from(list(EventType)),
    st.sampled_from(["sendgrid", "twilio", "postmark"]),
    st.tuples(_texts, _texts, _texts, _texts, _texts),
    _extras,
)
def test_every_event_can_be_read(kind: EventType, provider: str, texts: tuple[str, ...], extra: str) -> None:
    names = ("fault", "code", "classification", "reason", "group")
    event: Event = an_event(kind, provider=provider, extra=extra, **dict(zip(names, texts, strict=True)))
    found = evidence_of(event)
    assert found is None or found.evidence.id == event.event_id
