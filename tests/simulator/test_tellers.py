"""Tellers write what they say they write: the product's adapters understand each telling as its meaning has it."""

from collections import defaultdict

import pytest

from schemas.events import Event, Place
from schemas.providers import ADAPTERS
from schemas.topics import WEBHOOKS
from simulator.courses import COURSES
from simulator.kafka import webhook_headers
from simulator.posts import Delivery
from simulator.providers import PROVIDERS
from simulator.providers.postmark import BOUNCE_TYPES
from simulator.providers.teller import Telling
from simulator.signing import Keys
from simulator.stories import Setting, stories
from simulator.story import Story

NOW_US = 1_780_000_000_000_000
RARE_EVERY = 4


@pytest.fixture(scope="module")
def told() -> list[Story]:
    return list(stories(RARE_EVERY * len(COURSES), 11, Setting(NOW_US, ("acme", "bella"), rare_every=RARE_EVERY)))


def event_of(provider: str, telling: Telling) -> Event:
    """What the adapter makes of a telling that is posted alone."""
    delivery = Delivery("post", telling.at_us, "", telling.value, provider=provider, query=telling.query)
    place = Place(WEBHOOKS[provider].name, 0, 0, telling.at_us)
    parsed = ADAPTERS[provider](telling.value, place, webhook_headers(delivery, Keys(), "https://gateway.example.com"))
    assert parsed.bad == []
    (event,) = parsed.events
    return event


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_telling_is_understood_as_it_is_meant(told: list[Story], provider: str) -> None:
    tellings = [(story, telling) for story in told if story.provider == provider for telling in story.tellings]
    assert len(tellings) > 100
    for story, telling in tellings:
        meaning, event = telling.meaning, event_of(provider, telling)
        occurred_us = telling.at_us if meaning.occurred_us is None else meaning.occurred_us
        pair = (story.account_id, story.message_id) if telling.names_message else ("", "")
        assert (event.type, event.address, event.occurred_us) == (meaning.type, meaning.address, occurred_us)
        assert (event.code, event.reason, event.classification) == (
            meaning.code,
            meaning.reason,
            meaning.classification,
        )
        assert (event.machine, event.provider_message_id) == (meaning.machine, meaning.provider_message_id)
        assert (event.account_id, event.message_id) == pair


def test_two_tellings_are_one_event_exactly_if_they_tell_one_fact(told: list[Story]) -> None:
    ids: defaultdict[str, set[str]] = defaultdict(set)
    facts: defaultdict[str, set[str]] = defaultdict(set)
    for story in told:
        for telling in story.tellings:
            event_id = event_of(story.provider, telling).event_id
            ids[telling.fact].add(event_id)
            facts[event_id].add(telling.fact)
    assert {len(found) for found in ids.values()} == {1}
    assert {len(found) for found in facts.values()} == {1}


def test_every_type_of_bounce_that_postmark_has_is_told() -> None:
    assert {
        "HardBounce", "BadEmailAddress", "SoftBounce", "Unknown", "Unconfirmed", "Transient", "DnsError", "Blocked",
        "SpamNotification", "DMARCPolicy", "VirusNotification", "ManuallyDeactivated", "SMTPApiError",
        "TemplateRenderingFailed", "SpamComplaint", "Unsubscribe", "Subscribe", "AutoResponder", "AddressChange",
        "OpenRelayTest", "ChallengeVerification", "InboundError",
    } <= BOUNCE_TYPES  # fmt: skip


def test_a_telling_lacks_what_its_beat_says(told: list[Story]) -> None:
    by_course = {story.course: story for story in told}
    bounce = by_course["bounced later, lacking id"].tellings[-1]
    assert b"sg_message_id" not in bounce.value
    assert b"smtp-id" in bounce.value
    alert = next(t for story in told for t in story.tellings if t.meaning.type == "provider_alert")
    assert b'"email"' not in alert.value
    assert b"sl_account" not in alert.value
    (texted,) = [t for t in by_course["texted: cancel"].tellings if t.meaning.type == "opted_out"]
    assert "sl_message" in texted.query
    assert not texted.names_message
