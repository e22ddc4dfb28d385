"""Which evidence events and commands give, and which events give none."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from projections.suppressions.addressing import AddressKey
from projections.suppressions.evidence import Evidence, Kind, evidence_of, evidence_of_command
from schemas.decoding.gate_inputs import decode_command
from schemas.decoding.times import rfc3339
from schemas.events import Event, EventType, SourcePosition
from schemas.providers import postmark, sendgrid, twilio
from tests.building import ACCOUNT, MESSAGE, NOW_US, an_event

SOURCE = SourcePosition("webhooks.postmark", 0, 0, NOW_US)
SERVICE = "MG9752274e9e519418a7406176694466fa"


def evidence_in(kind: str, **fields: Any) -> Evidence | None:
    """The evidence in an event; `extra` is given as an object."""
    extra = fields.pop("extra", None)
    found = evidence_of(an_event(kind, **fields, extra=orjson.dumps(extra).decode() if extra else ""))
    return found.evidence if found else None


def evidence_in_sms(kind: str, **fields: Any) -> Evidence | None:
    return evidence_in(kind, provider="twilio", address="+14155550123", **fields)


@pytest.mark.parametrize(
    ("kind", "fields", "expected"),
    [
        pytest.param("bounced", {"fault": "recipient"}, Kind.BOUNCE, id="a hard bounce"),
        pytest.param("bounced", {"fault": "mailbox"}, None, id="a full mailbox"),
        pytest.param("bounced", {"fault": "sender"}, None, id="our fault"),
        pytest.param("bounced", {"fault": "infrastructure"}, None, id="the network's fault"),
        pytest.param("bounced", {"fault": "unknown"}, None, id="an unknown fault"),
        pytest.param("blocked", {"fault": "sender"}, None, id="a block"),
        pytest.param("dropped", {"fault": "recipient", "reason": "Bounced Address"}, None, id="a drop was not sent"),
        pytest.param("deferred", {"fault": "mailbox"}, None, id="a delay"),
        pytest.param("failed", {"fault": "recipient"}, None, id="an email does not fail"),
        pytest.param("complained", {}, Kind.COMPLAINT, id="a complaint"),
        pytest.param("unsubscribed", {}, Kind.UNSUBSCRIBED, id="an unsubscribe"),
        pytest.param("resubscribed", {"group": "12"}, Kind.RESUBSCRIBED, id="a resubscribe"),
        pytest.param("resubscribed", {}, None, id="a resubscribe to no group"),
        pytest.param("subscription_changed", {"classification": "added"}, Kind.LISTED, id="listed"),
        pytest.param("subscription_changed", {"classification": "removed"}, Kind.UNLISTED, id="unlisted"),
        pytest.param("subscription_changed", {}, None, id="a change of unknown kind"),
        pytest.param("delivered", {}, None, id="a delivery"),
        pytest.param("opened", {}, None, id="an open"),
        pytest.param("provider_alert", {}, None, id="an alert"),
        pytest.param("unknown", {"fault": "recipient"}, None, id="unknown"),
        pytest.param("complained", {"address": ""}, None, id="without an address"),
    ],
)
def test_the_evidence_in_an_email_event(kind: str, fields: dict[str, Any], expected: Kind | None) -> None:
    found = evidence_in(kind, **fields)
    assert (found and found.kind) == expected


@pytest.mark.parametrize(
    ("kind", "fields", "expected"),
    [
        pytest.param("failed", {"code": "30005", "fault": "recipient"}, Kind.BOUNCE, id="no such number"),
        pytest.param("failed", {"code": "21211", "fault": "unknown"}, Kind.BOUNCE, id="no number, whatever the fault"),
        pytest.param("failed", {"code": "30003", "fault": "mailbox"}, None, id="switched off"),
        pytest.param("failed", {"code": "30008", "fault": "recipient"}, None, id="a fault known only from the text"),
        pytest.param("failed", {"code": "", "fault": "recipient"}, None, id="a fault without a code"),
        pytest.param("failed", {"code": "30007", "fault": "sender"}, None, id="filtered"),
        pytest.param("failed", {"code": "21610", "fault": "unknown"}, Kind.OPTED_OUT, id="21610"),
        pytest.param("failed", {"code": "63014", "fault": "unknown"}, Kind.OPTED_OUT, id="63014"),
        pytest.param("failed", {"code": "63033", "fault": "unknown"}, Kind.OPTED_OUT, id="63033"),
        pytest.param("opted_out", {}, Kind.OPTED_OUT, id="STOP"),
        pytest.param("opted_in", {}, Kind.OPTED_IN, id="START"),
    ],
)
def test_the_evidence_in_an_sms_event(kind: str, fields: dict[str, Any], expected: Kind | None) -> None:
    found = evidence_in_sms(kind, **fields)
    assert (found and found.kind) == expected


def test_evidence_has_the_channel_and_address_as_key_and_the_events_id_and_times() -> None:
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
def test_bounces_are_distinguished_by_message(fields: dict[str, Any], message: str) -> None:
    found = evidence_in("bounced", fault="recipient", **fields)
    assert found is not None
    assert found.message == message


@pytest.mark.parametrize(("account", "scope"), [("acme", "acme"), ("", "*")])
@pytest.mark.parametrize(("kind", "group"), [("unsubscribed", ""), ("unsubscribed", "12"), ("resubscribed", "12")])
def test_an_opt_out_applies_to_the_account_that_the_event_names(
    kind: str, group: str, account: str, scope: str
) -> None:
    found = evidence_in(kind, group=group, account_id=account)
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
        pytest.param(
            "failed", "21610", {"From": "+15005550006", "To": "x"}, ("+15005550006",), id="the number it was sent from"
        ),
        pytest.param("opted_out", "", {"To": ["+15005550006", "+1"]}, ("+15005550006",), id="given twice"),
        pytest.param("opted_out", "", {"To": " "}, (), id="a blank"),
        pytest.param("opted_out", "", None, (), id="nothing"),
    ],
)
def test_the_senders_of_an_sms_opt_out(
    kind: str, code: str, extra: dict[str, Any] | None, senders: tuple[str, ...]
) -> None:
    found = evidence_in_sms(kind, code=code, extra=extra)
    assert found is not None
    assert (found.senders, found.scope) == (senders, "*")


def subscription(**fields: Any) -> Evidence | None:
    """The evidence in a SubscriptionChange of Postmark."""
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
    (event,) = postmark.to_events(orjson.dumps(body), SOURCE).events
    found = evidence_of(event)
    return found.evidence if found else None


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        pytest.param({}, Kind.LISTED, id="a hard bounce"),
        pytest.param({"SuppressionReason": "SpamComplaint"}, Kind.LISTED, id="a complaint"),
        pytest.param({"SuppressionReason": "ManualSuppression", "Origin": "Customer"}, Kind.LISTED, id="by us"),
        pytest.param({"SuppressionReason": "ManualSuppression", "Origin": "Admin"}, Kind.LISTED, id="by Postmark"),
        pytest.param(
            {"SuppressionReason": "manualsuppression", "Origin": "recipient"}, Kind.UNSUBSCRIBED, id="by the recipient"
        ),
        pytest.param({"SuppressSending": False, "SuppressionReason": None}, Kind.UNLISTED, id="reactivated"),
        pytest.param({"SuppressSending": None}, None, id="neither"),
    ],
)
def test_the_evidence_in_a_change_of_a_postmark_list(fields: dict[str, Any], kind: Kind | None) -> None:
    found = subscription(**fields)
    assert (found and found.kind) == kind
    if found is not None:
        assert (found.list, found.at_us) == ("23/outbound", NOW_US - 5)


def test_a_suppression_by_the_recipient_in_a_postmark_list_is_an_opt_out_of_the_stream() -> None:
    by_recipient = {"SuppressionReason": "ManualSuppression"}
    ours = {"Metadata": {"sl_account": ACCOUNT, "sl_message": MESSAGE}}
    nobodys, acmes = subscription(**by_recipient), subscription(**by_recipient, **ours)
    assert nobodys is not None
    assert acmes is not None
    assert (nobodys.scope, nobodys.group) == ("*", "outbound")
    assert (acmes.scope, acmes.group) == (ACCOUNT, "outbound")


def test_a_postmark_hard_bounce_and_its_list_change_count_as_one_bounce() -> None:
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
        (event,) = postmark.to_events(orjson.dumps(body | {"MessageID": "m1", "MessageStream": "s"}), SOURCE).events
        found = evidence_of(event)
        assert found is not None
        kinds.append(found.evidence.kind)
    assert kinds == [Kind.BOUNCE, Kind.LISTED]


def test_the_other_adapters_give_the_fields_that_are_read_here() -> None:
    (left,) = sendgrid.to_events(
        orjson.dumps([{"event": "group_unsubscribe", "email": "Ann@Example.com", "asm_group_id": 12}]), SOURCE
    ).events
    found = evidence_of(left)
    assert found is not None
    assert (found.key.address, found.evidence.kind, found.evidence.group) == ("ann@example.com", "unsubscribed", "12")
    text = f"MessageSid=SM1&SmsStatus=received&From=%2B14155550123&To=%2B15005550006&MessagingServiceSid={SERVICE}"
    (stop,) = twilio.to_events(f"{text}&Body=+stop".encode(), SOURCE).events
    found = evidence_of(stop)
    assert found is not None
    assert (found.key.address, found.evidence.senders) == ("+14155550123", ("+15005550006", SERVICE))


def test_an_unsubscribe_from_all_mail_applies_to_the_account_whatever_group_or_stream_it_carries() -> None:
    ours = {"sl_account": ACCOUNT, "sl_message": MESSAGE}
    (sendgrids,) = sendgrid.to_events(
        orjson.dumps({"event": "unsubscribe", "email": "ann@example.com", "asm_group_id": 10} | ours), SOURCE
    ).events
    unsubscribe = {
        "RecordType": "Bounce",
        "Type": "Unsubscribe",
        "Email": "ann@example.com",
        "MessageStream": "outbound",
    }
    (postmarks,) = postmark.to_events(orjson.dumps(unsubscribe | {"Metadata": ours}), SOURCE).events
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
def test_the_evidence_in_a_command(fields: dict[str, Any], senders: tuple[str, ...]) -> None:
    record = {"command_id": "c1", "action": "opt_in", "channel": "sms", "address": "+1 415 555 0123", "scope": "*"}
    record |= {"group": "g", "reason": "asked", "actor": "ann", "at": rfc3339(NOW_US - 5)}
    found = evidence_of_command(decode_command(orjson.dumps(record | fields), SOURCE))
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
