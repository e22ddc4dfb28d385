"""What the simulator promises: the same seed gives the same traffic, all of it readable, with everything in it."""

import orjson
import pytest

from projections.messages.law import Known, fold
from schemas.events import Event, EventType, Place
from schemas.facts import Decision, Request, decode_decision, decode_request
from schemas.identity import sent_at_us
from schemas.providers.sendgrid import to_events
from schemas.topics import SENDS_DECIDED, SENDS_REQUESTED, WEBHOOKS
from simulator.posts import Plan, plan
from simulator.scripts import COURSES
from simulator.stories import Story, stories, story_from_now

NOW_US = 1_780_000_000_000_000
ACCOUNTS = ("acme", "bella")
SENDGRID_TYPES = {
    EventType.PROCESSED, EventType.DEFERRED, EventType.DELIVERED, EventType.BOUNCED, EventType.BLOCKED,
    EventType.DROPPED, EventType.OPENED, EventType.CLICKED, EventType.COMPLAINED, EventType.UNSUBSCRIBED,
    EventType.RESUBSCRIBED, EventType.PROVIDER_ALERT, EventType.UNKNOWN,
}  # fmt: skip
STATUSES = {
    ("Blocked", ""), ("Declined", ""), ("Not_opted_in", ""), ("Suppressed", ""), ("Quota_Exceeded", ""),
    ("Bounced", "hard"), ("Bounced", "soft"), ("Bounced", "blocked"), ("Bounced", "unclassified"),
    ("Dropped", "bounced"), ("Dropped", "unsubscribed"), ("Dropped", "spam"), ("Dropped", "invalid"),
    ("Dropped", "content"), ("Dropped", "quota"), ("Dropped", "duplicate"), ("Dropped", "other"),
    ("Clicked", ""), ("Opened", ""), ("Delivered", ""), ("Processed", "processed"), ("Processed", "deferred"),
    ("Pending", ""),
}  # fmt: skip


@pytest.fixture(scope="module")
def planned() -> Plan:
    return plan(2_000, 7, now_us=NOW_US, accounts=ACCOUNTS, bad_elements=5)


@pytest.fixture(scope="module")
def told() -> list[Story]:
    return list(stories(2_000, 7, now_us=NOW_US, accounts=ACCOUNTS))


def a_place(topic: str, offset: int) -> Place:
    return Place(topic, 0, offset, NOW_US)


def read(planned: Plan) -> tuple[list[Request], list[Decision], list[Event], int]:
    requests, decisions, events, bad = [], [], [], 0
    for offset, delivery in enumerate(planned.deliveries):
        match delivery.kind:
            case "request":
                place = a_place(SENDS_REQUESTED.name, offset)
                requests.append(decode_request(delivery.value, place, decision_days=30))
            case "decision":
                decisions.append(decode_decision(delivery.value, a_place(SENDS_DECIDED.name, offset)))
            case "post":
                parsed = to_events(delivery.value, a_place(WEBHOOKS["sendgrid"].name, offset))
                assert len(parsed.events) + len(parsed.bad) == delivery.events
                events += parsed.events
                bad += len(parsed.bad)
    return requests, decisions, events, bad


def test_the_same_seed_gives_the_same_plan(planned: Plan) -> None:
    assert plan(2_000, 7, now_us=NOW_US, accounts=ACCOUNTS, bad_elements=5) == planned


def test_another_seed_gives_another_plan(planned: Plan) -> None:
    other = plan(2_000, 8, now_us=NOW_US, accounts=ACCOUNTS, bad_elements=5)
    assert {d.value for d in other.deliveries}.isdisjoint(d.value for d in planned.deliveries)


def test_a_story_does_not_depend_on_how_many_there_are(told: list[Story]) -> None:
    assert list(stories(50, 7, now_us=NOW_US, accounts=ACCOUNTS)) == told[:50]


def test_all_can_be_read_and_the_totals_count_it(planned: Plan) -> None:
    requests, decisions, events, bad = read(planned)
    totals = planned.totals()
    assert (len(requests), len(decisions), len(events), bad) == (
        totals.requests,
        totals.decisions,
        totals.events_sent,
        totals.events_bad,
    )
    distinct = {e.event_id: e for e in events}
    assert len(distinct) == totals.events_distinct
    assert sum(not e.message_id for e in distinct.values()) == totals.events_orphan
    for kind, count in totals.events_distinct_by_type.items():
        assert sum(e.type == kind for e in distinct.values()) == count
    for kind, count in totals.events_sent_by_type.items():
        assert sum(e.type == kind for e in events) == count
    assert planned.size == totals.requests + totals.decisions + totals.events_sent + totals.events_bad
    assert orjson.loads(orjson.dumps(totals.as_json()))["messages"] == 2_000


def test_every_course_and_every_type_of_event_occurs(planned: Plan, told: list[Story]) -> None:
    assert {story.course for story in told} == {course.name for course in COURSES}
    assert set(planned.totals().events_distinct_by_type) == SENDGRID_TYPES


def test_every_status_that_sendgrid_can_reach_is_reached(planned: Plan) -> None:
    known: dict[tuple[str, str], tuple[list[Request], list[Decision], list[Event]]] = {}
    requests, decisions, events, _ = read(planned)
    for request in requests:
        known.setdefault((request.account_id, request.message_id), ([], [], []))[0].append(request)
    for decision in decisions:
        known.setdefault((decision.account_id, decision.message_id), ([], [], []))[1].append(decision)
    for event in events:
        if event.message_id:
            known.setdefault((event.account_id, event.message_id), ([], [], []))[2].append(event)
    rows = [
        fold(*pair, Known(requests=known[pair][0], decisions=known[pair][1], events=known[pair][2])) for pair in known
    ]
    assert {(row.status, row.sub_status) for row in rows} == STATUSES
    anomalies = {anomaly for row in rows for anomaly in row.anomalies}
    assert anomalies == {"conflicting_requests", "event_after_refusal", "delivered_after_bounce"}


def test_duplicates_come_inside_a_post_and_across_posts_also_under_another_id(planned: Plan) -> None:
    inside = 0
    posts_of: dict[str, set[int]] = {}
    names_of: dict[str, set[str]] = {}
    for number, delivery in enumerate(d for d in planned.deliveries if d.kind == "post"):
        events = to_events(delivery.value, a_place("webhooks.sendgrid", number)).events
        inside += len(events) - len({e.event_id for e in events})
        for event in events:
            posts_of.setdefault(event.event_id, set()).add(number)
            names_of.setdefault(event.event_id, set()).add(event.provider_event_id)
    assert inside > 0
    assert any(len(posts) > 1 for posts in posts_of.values())
    assert any(len(names) > 1 for names in names_of.values())


def test_nothing_lies_ahead_of_the_present(told: list[Story]) -> None:
    for story in told:
        assert sent_at_us(story.message_id) < NOW_US
        assert all(fact.at_us <= NOW_US for fact in story.requests)
        assert story.decision is None or story.decision.at_us <= NOW_US
        assert all(element.at_us <= NOW_US for element in story.elements)


def test_every_address_is_on_an_example_domain(told: list[Story]) -> None:
    for story in told:
        for element in story.elements:
            address = orjson.loads(element.value).get("email", "@example.com")
            assert address.rpartition("@")[2] in ("example.com", "example.org", "example.net")


def test_a_live_story_goes_on_for_seconds_not_for_hours() -> None:
    for index in range(0, 1_600, 20):
        story = story_from_now(index, 7, now_us=NOW_US, account="demo")
        assert sent_at_us(story.message_id) == NOW_US
        assert all(NOW_US < element.at_us < NOW_US + 90_000_000 for element in story.elements)
