"""Live traffic: the events of a message follow its request, in posts that the providers could have sent."""

from schemas.events import SourcePosition
from schemas.providers import ADAPTERS
from schemas.topics import WEBHOOKS
from simulator.kafka import webhook_headers
from simulator.live import LiveTraffic
from simulator.providers import PROVIDERS
from simulator.signing import Keys

NOW_US = 1_780_000_000_000_000
SECOND_US = 1_000_000


def test_records_come_first_and_everything_within_two_minutes() -> None:
    traffic = LiveTraffic(7)
    for _ in range(300):
        traffic.begin(NOW_US)
    assert list(traffic.due_posts(NOW_US)) == []
    records = [*traffic.due_records(NOW_US + 5 * SECOND_US)]
    assert {record.kind for record in records} == {"request", "decision", "dispatch", "content"}
    request_count = {record.key for record in records if record.kind == "request"}
    assert len(request_count) > 280
    providers, named = set(), set()
    for second in range(120):
        now_us = NOW_US + second * SECOND_US
        for post in traffic.due_posts(now_us):
            source = SourcePosition(WEBHOOKS[post.provider].name, 0, second, now_us)
            headers = webhook_headers(post, Keys(), "https://gateway.example.com")
            parsed = ADAPTERS[post.provider](post.value, source, headers)
            assert parsed.rejections == []
            assert 1 <= len(parsed.events) == post.events <= 15
            assert all(event.occurred_us <= now_us for event in parsed.events)
            providers.add(post.provider)
            named |= {event.message_id for event in parsed.events if event.message_id}
    assert providers == set(PROVIDERS)
    assert len(named) > 200
    assert list(traffic.due_posts(NOW_US + 3600 * SECOND_US)) == []
    assert len(list(traffic.due_records(NOW_US + 3600 * SECOND_US))) < 30
    assert list(traffic.due_records(NOW_US + 7200 * SECOND_US)) == []


def test_a_demo_starts_with_messages_of_all_providers() -> None:
    burst = LiveTraffic(7).burst(NOW_US).deliveries
    assert {delivery.provider for delivery in burst if delivery.kind == "post"} == set(PROVIDERS)
    assert {delivery.kind for delivery in burst} == {"request", "decision", "dispatch", "content", "post"}
    assert [delivery.at_us for delivery in burst] == sorted(delivery.at_us for delivery in burst)


def test_a_demo_has_no_decisions_where_the_gate_decides() -> None:
    traffic = LiveTraffic(7, decides=False)
    for _ in range(50):
        traffic.begin(NOW_US)
    kinds = {delivery.kind for delivery in traffic.due_records(NOW_US + 3600 * SECOND_US)}
    assert "decision" not in kinds
    kinds = {delivery.kind for delivery in traffic.burst(NOW_US).deliveries}
    assert "decision" not in kinds
    assert {"policy", "preference", "command"} <= kinds
