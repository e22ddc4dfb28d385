"""The product's adapters read from each event delivery exactly the event that its emitter states."""

from collections import defaultdict

import pytest

from schemas.events import Event, SourcePosition
from schemas.providers import ADAPTERS
from schemas.topics import WEBHOOKS
from simulator.kafka import webhook_headers
from simulator.message import GeneratedMessage
from simulator.messages import PlanOptions, generate_messages
from simulator.plan import Delivery
from simulator.providers import PROVIDERS
from simulator.providers.emitter import EventDelivery
from simulator.providers.postmark import BOUNCE_TYPES
from simulator.scenarios import SCENARIOS
from simulator.signing import Keys

NOW_US = 1_780_000_000_000_000
RARE_EVERY = 4


@pytest.fixture(scope="module")
def messages() -> list[GeneratedMessage]:
    return list(
        generate_messages(
            RARE_EVERY * len(SCENARIOS), 11, PlanOptions(NOW_US, ("acme", "bella"), rare_every=RARE_EVERY)
        )
    )


def event_of(provider: str, event_delivery: EventDelivery) -> Event:
    """Return what the adapter reads from a delivery that is posted alone."""
    delivery = Delivery(
        "post", event_delivery.at_us, "", event_delivery.value, provider=provider, query=event_delivery.query
    )
    source = SourcePosition(WEBHOOKS[provider].name, 0, 0, event_delivery.at_us)
    parsed = ADAPTERS[provider](
        event_delivery.value, source, webhook_headers(delivery, Keys(), "https://gateway.example.com")
    )
    assert parsed.rejections == []
    (event,) = parsed.events
    return event


@pytest.mark.parametrize("provider", PROVIDERS)
def test_the_adapter_reads_the_expected_event(messages: list[GeneratedMessage], provider: str) -> None:
    event_deliveries = [
        (message, event_delivery)
        for message in messages
        if message.provider == provider
        for event_delivery in message.event_deliveries
    ]
    assert len(event_deliveries) > 100
    for message, event_delivery in event_deliveries:
        expected, event = event_delivery.expected, event_of(provider, event_delivery)
        occurred_us = event_delivery.at_us if expected.occurred_us is None else expected.occurred_us
        pair = (message.account_id, message.message_id) if event_delivery.names_message else ("", "")
        assert (event.type, event.address, event.occurred_us) == (expected.type, expected.address, occurred_us)
        assert (event.code, event.reason, event.classification) == (
            expected.code,
            expected.reason,
            expected.classification,
        )
        assert (event.machine, event.provider_message_id) == (expected.machine, expected.provider_message_id)
        assert (event.account_id, event.message_id) == pair


def test_two_deliveries_have_one_event_id_exactly_if_they_have_one_event_key(messages: list[GeneratedMessage]) -> None:
    ids: defaultdict[str, set[str]] = defaultdict(set)
    event_keys: defaultdict[str, set[str]] = defaultdict(set)
    for message in messages:
        for event_delivery in message.event_deliveries:
            event_id = event_of(message.provider, event_delivery).event_id
            ids[event_delivery.event_key].add(event_id)
            event_keys[event_id].add(event_delivery.event_key)
    assert {len(found) for found in ids.values()} == {1}
    assert {len(found) for found in event_keys.values()} == {1}


def test_every_bounce_type_of_postmark_is_emitted() -> None:
    assert {
        "HardBounce", "BadEmailAddress", "SoftBounce", "Unknown", "Unconfirmed", "Transient", "DnsError", "Blocked",
        "SpamNotification", "DMARCPolicy", "VirusNotification", "ManuallyDeactivated", "SMTPApiError",
        "TemplateRenderingFailed", "SpamComplaint", "Unsubscribe", "Subscribe", "AutoResponder", "AddressChange",
        "OpenRelayTest", "ChallengeVerification", "InboundError",
    } <= BOUNCE_TYPES  # fmt: skip


def test_a_delivery_omits_what_its_step_omits(messages: list[GeneratedMessage]) -> None:
    by_scenario = {message.scenario: message for message in messages}
    bounce = by_scenario["bounced later, omitting provider_id"].event_deliveries[-1]
    assert b"sg_message_id" not in bounce.value
    assert b"smtp-id" in bounce.value
    alert = next(t for message in messages for t in message.event_deliveries if t.expected.type == "provider_alert")
    assert b'"email"' not in alert.value
    assert b"sl_account" not in alert.value
    (text,) = [t for t in by_scenario["text received: cancel"].event_deliveries if t.expected.type == "opted_out"]
    assert "sl_message" in text.query
    assert not text.names_message
