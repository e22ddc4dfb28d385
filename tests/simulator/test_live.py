"""The trickle of a demo: what is told of a message follows its request, in posts that the providers could have sent."""

from schemas.events import Place
from schemas.providers import ADAPTERS
from schemas.topics import WEBHOOKS
from simulator.kafka import webhook_headers
from simulator.live import Trickle
from simulator.providers import PROVIDERS
from simulator.signing import Keys

NOW_US = 1_780_000_000_000_000
SECOND_US = 1_000_000


def test_records_come_first_and_everything_within_two_minutes() -> None:
    trickle = Trickle(7, ("demo",))
    for _ in range(300):
        trickle.begin(NOW_US)
    assert list(trickle.due_posts(NOW_US)) == []
    facts = [*trickle.due_facts(NOW_US + 5 * SECOND_US)]
    assert {fact.kind for fact in facts} == {"request", "decision", "dispatch", "content"}
    requested = {fact.key for fact in facts if fact.kind == "request"}
    assert len(requested) > 280
    providers, named = set(), set()
    for second in range(120):
        now_us = NOW_US + second * SECOND_US
        for post in trickle.due_posts(now_us):
            place = Place(WEBHOOKS[post.provider].name, 0, second, now_us)
            headers = webhook_headers(post, Keys(), "https://gateway.example.com")
            parsed = ADAPTERS[post.provider](post.value, place, headers)
            assert parsed.bad == []
            assert 1 <= len(parsed.events) == post.events <= 15
            assert all(event.occurred_us <= now_us for event in parsed.events)
            providers.add(post.provider)
            named |= {event.message_id for event in parsed.events if event.message_id}
    assert providers == set(PROVIDERS)
    assert len(named) > 200
    assert list(trickle.due_posts(NOW_US + 3600 * SECOND_US)) == []
    assert len(list(trickle.due_facts(NOW_US + 3600 * SECOND_US))) < 30
    assert list(trickle.due_facts(NOW_US + 7200 * SECOND_US)) == []


def test_a_demo_begins_with_messages_of_all_providers() -> None:
    burst = Trickle(7, ("demo",)).burst(NOW_US).deliveries
    assert {delivery.provider for delivery in burst if delivery.kind == "post"} == set(PROVIDERS)
    assert {delivery.kind for delivery in burst} == {"request", "decision", "dispatch", "content", "post"}
    assert [delivery.at_us for delivery in burst] == sorted(delivery.at_us for delivery in burst)


def test_where_the_gate_decides_the_demo_does_not() -> None:
    trickle = Trickle(7, ("demo",), decides=False)
    for _ in range(50):
        trickle.begin(NOW_US)
    kinds = {delivery.kind for delivery in trickle.due_facts(NOW_US + 3600 * SECOND_US)}
    assert "decision" not in kinds
    kinds = {delivery.kind for delivery in trickle.burst(NOW_US).deliveries}
    assert "decision" not in kinds
    assert {"policy", "preference", "command"} <= kinds
