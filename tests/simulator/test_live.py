"""The trickle of a demo: what is told of a message follows its request, in POSTs that SendGrid could have sent."""

from schemas.events import Place
from schemas.providers.sendgrid import to_events
from simulator.live import Trickle

NOW_US = 1_780_000_000_000_000
SECOND_US = 1_000_000


def test_requests_come_first_and_everything_within_two_minutes() -> None:
    trickle = Trickle(7, ("demo",))
    for _ in range(100):
        trickle.begin(NOW_US)
    assert list(trickle.due_posts(NOW_US)) == []
    facts = list(trickle.due_facts(NOW_US + 5 * SECOND_US))
    assert {fact.kind for fact in facts} == {"request", "decision"}
    requested = {fact.key for fact in facts if fact.kind == "request"}
    events = []
    for second in range(120):
        now_us = NOW_US + second * SECOND_US
        for body in trickle.due_posts(now_us):
            parsed = to_events(body, Place("webhooks.sendgrid", 0, second, now_us))
            assert parsed.bad == []
            assert len(parsed.events) <= 15
            assert all(event.occurred_us <= now_us for event in parsed.events)
            events += parsed.events
    named = {event.message_id for event in events if event.message_id}
    assert len(requested) == 100
    assert len(named) > 70
    assert named <= requested
    assert list(trickle.due_posts(NOW_US + 3600 * SECOND_US)) == []
    assert list(trickle.due_facts(NOW_US + 3600 * SECOND_US)) == []
