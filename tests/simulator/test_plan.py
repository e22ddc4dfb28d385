"""What the simulator promises: the same seed gives the same traffic, all of it readable, with everything in it."""

from collections import Counter

import orjson
import pytest

from schemas.events import EventType
from schemas.identity import sent_at_us
from schemas.times import DAY_US
from simulator.broken import BROKEN
from simulator.courses import COURSES, OF_GATE
from simulator.plots import PLOTS
from simulator.posts import Delivery, Plan, plan
from simulator.providers import PROVIDERS
from simulator.stories import RARE_EVERY, Setting, stories, stories_from_now
from simulator.story import Story
from tests.simulator.judging import Judged, judge

NOW_US = 1_780_000_000_000_000
ACCOUNTS = ("acme", "bella")
SETTING = Setting(NOW_US, ACCOUNTS)
OF_A_GATE = Setting(NOW_US, ACCOUNTS, decides=False)
MESSAGES = 1_700
GATED = 2_000
"""In so many messages of a plan that a gate decides every course and every plot has its turn."""
SENT_AND_LOOKED_AT = {
    ("Clicked", ""), ("Opened", ""), ("Delivered", ""), ("Processed", "processed"), ("Processed", "deferred"),
    ("Processed", "sent"), ("Pending", ""), ("Subscriptionchange", "added"), ("Subscriptionchange", "removed"),
}  # fmt: skip
REFUSED = {("Blocked", ""), ("Declined", ""), ("Not_opted_in", ""), ("Suppressed", ""), ("Quota_Exceeded", "")}
FAILED = {
    ("Bounced", sub) for sub in ("hard", "soft", "blocked", "unclassified", "failed", "undelivered")
} | {
    ("Dropped", sub)
    for sub in ("bounced", "unsubscribed", "spam", "invalid", "content", "quota", "duplicate", "canceled", "inactive")
    + ("other",)
}  # fmt: skip


@pytest.fixture(scope="module")
def planned() -> Plan:
    return plan(MESSAGES, 7, SETTING)


@pytest.fixture(scope="module")
def told() -> list[Story]:
    return list(stories(MESSAGES, 7, SETTING))


@pytest.fixture(scope="module")
def judged(planned: Plan) -> Judged:
    return judge(planned, NOW_US)


def posts(planned: Plan) -> list[Delivery]:
    return [delivery for delivery in planned.deliveries if delivery.kind == "post"]


def test_the_same_seed_gives_the_same_plan(planned: Plan) -> None:
    assert plan(MESSAGES, 7, SETTING) == planned


def test_another_seed_gives_another_plan(planned: Plan) -> None:
    other = plan(MESSAGES, 8, SETTING)
    assert {d.value for d in other.deliveries}.isdisjoint(d.value for d in planned.deliveries)


def test_a_story_does_not_depend_on_how_many_there_are(told: list[Story]) -> None:
    assert list(stories(50, 7, SETTING)) == told[:50]


def test_there_are_as_many_stories_as_were_asked_for(told: list[Story]) -> None:
    assert len(told) == MESSAGES
    pair = next(n for n, course in enumerate(COURSES) if course.name == "two in one call")
    first_of_two = pair * RARE_EVERY
    assert len(list(stories(first_of_two + 1, 7, SETTING))) == first_of_two + 1


def test_the_totals_count_what_is_there(planned: Plan, judged: Judged) -> None:
    totals = planned.totals
    assert totals.messages == sum(totals.messages_by_provider.values()) == MESSAGES
    assert totals.posts == len(posts(planned))
    assert totals.posts_by_provider == dict(Counter(post.provider for post in posts(planned)))
    kinds = Counter(delivery.kind for delivery in planned.deliveries)
    assert (totals.requests, totals.decisions) == (kinds["request"], kinds["decision"])
    assert (totals.dispatches, totals.contents) == (kinds["dispatch"], kinds["content"])
    assert totals.events_sent == sum(totals.events_sent_by_type.values()) == judged.read
    of_messages = [{e.event_id: e.type for e in known.events} for known in judged.known.values()]
    distinct = Counter(type_ for events in of_messages for type_ in events.values())
    distinct.update(event.type for event in judged.orphans.values())
    assert totals.events_distinct_by_type == dict(sorted(distinct.items()))
    assert totals.broken == sum(len(values) for values in judged.dead.values())
    assert planned.size == sum(delivery.events for delivery in planned.deliveries)
    assert orjson.loads(orjson.dumps(totals.as_json()))["messages"] == MESSAGES


def test_every_course_every_provider_and_every_type_of_event_occurs(planned: Plan, told: list[Story]) -> None:
    assert {story.course for story in told} == {course.name for course in COURSES}
    assert {post.provider for post in posts(planned)} == set(PROVIDERS)
    facts = {EventType.REQUESTED, EventType.DECIDED, EventType.DISPATCHED}
    assert set(planned.totals.events_distinct_by_type) == set(EventType) - facts


def test_every_status_sub_status_and_anomaly_is_reached(judged: Judged) -> None:
    assert {(row.status, row.sub_status) for row in judged.rows.values()} == SENT_AND_LOOKED_AT | REFUSED | FAILED
    assert {anomaly for row in judged.rows.values() for anomaly in row.anomalies} == {
        "conflicting_requests",
        "event_after_refusal",
        "delivered_after_bounce",
        "id_mismatch",
    }


def test_every_way_to_be_broken_is_met(judged: Judged) -> None:
    assert set(judged.dead) == {f"{broken.topic}/{broken.reason}" for broken in BROKEN}


def test_nothing_is_broken_that_is_not_meant_to_be() -> None:
    assert judge(plan(300, 7, SETTING, broken_every=0), NOW_US).dead == {}


def test_duplicates_come_inside_a_post_across_posts_and_days_apart_also_under_another_id(judged: Judged) -> None:
    copies = [known.events for known in judged.known.values() if len(known.events) > 1]
    by_id: dict[str, list[tuple[int, int, str]]] = {}
    for events in copies:
        for event in events:
            by_id.setdefault(event.event_id, []).append((event.offset, event.received_us, event.provider_event_id))
    several = [found for found in by_id.values() if len(found) > 1]
    assert any(len({offset for offset, _, _ in found}) < len(found) for found in several)
    assert any(len({offset for offset, _, _ in found}) > 1 for found in several)
    assert any(max(at for _, at, _ in found) - min(at for _, at, _ in found) > 2 * DAY_US for found in several)
    assert any(len({name for _, _, name in found}) > 1 for found in several)


def test_records_come_after_the_events_that_they_explain(planned: Plan, told: list[Story]) -> None:
    late = {story.message_id: story for story in told if story.course == "told before anything that names it"}
    for message_id, story in late.items():
        records = [d.at_us for d in planned.deliveries if d.key == message_id]
        assert len(records) >= 3
        assert min(records) > min(telling.at_us for telling in story.tellings)
    assert late


def test_nothing_lies_ahead_of_the_present(planned: Plan, told: list[Story]) -> None:
    assert all(delivery.at_us <= NOW_US for delivery in planned.deliveries)
    for story in told:
        assert NOW_US - 25 * DAY_US < sent_at_us(story.message_id) < NOW_US
        assert all(fact.at_us <= NOW_US for fact in story.facts)
        assert all(telling.at_us <= NOW_US for telling in story.tellings)


def test_every_address_is_one_that_nobody_has(told: list[Story]) -> None:
    gated = stories(GATED, 7, OF_A_GATE)
    for story in (*told, *gated):
        for telling in story.tellings:
            address = telling.meaning.address.removeprefix("whatsapp:")
            number = f"+{address.lstrip('+')}"  # a callback may spell it without the plus
            if not address or number.startswith("+999") or number[5:10] == "55501":
                continue
            assert address.rpartition("@")[2] in (
                *("example.com", "example.org", "example.net"),
                "xn--bcher-kva.example",
            )


def test_what_may_close_an_address_is_told_of_one_that_no_other_story_has(told: list[Story]) -> None:
    stories_of: dict[str, set[str]] = {}
    closing: set[str] = set()
    for story in told:
        for telling in story.tellings:
            if telling.meaning.address:
                stories_of.setdefault(telling.meaning.address, set()).add(story.message_id)
            if telling.meaning.word:
                closing.add(telling.meaning.address)
    assert all(len(stories_of[address]) == 1 for address in closing - {""})
    assert len(closing) > 50


def test_a_live_story_goes_on_for_seconds_not_for_hours() -> None:
    for index in range(0, 4_000, 20):
        first, *others = stories_from_now(index, 7, now_us=NOW_US, account="demo")
        assert sent_at_us(first.message_id) == NOW_US
        for story in (first, *others):
            assert all(NOW_US < telling.at_us < NOW_US + 90_000_000 for telling in story.tellings)
            assert all(NOW_US <= fact.at_us < NOW_US + 90_000_000 for fact in story.facts)


def test_where_a_gate_decides_every_course_and_plot_has_its_turn() -> None:
    gated = plan(GATED, 7, OF_A_GATE, broken_every=0)
    played = {story.course for story in stories(GATED, 7, OF_A_GATE)}
    assert played == {course.name for course in OF_GATE} | {tale.name for tale in PLOTS}
    assert gated.totals.decisions == 0
    assert gated.totals.messages == GATED
    kinds = Counter(d.kind for d in gated.deliveries)
    assert kinds.keys() == {"request", "dispatch", "content", "post", "policy", "preference", "command"}
    assert (gated.totals.policies, gated.totals.commands) == (kinds["policy"], kinds["command"])


def test_a_chapter_comes_after_the_one_before_and_policies_come_first() -> None:
    gated = plan(GATED, 7, OF_A_GATE)
    assert [d.chapter for d in gated.deliveries] == sorted(d.chapter for d in gated.deliveries)
    first = next(gated.chapters)
    assert {(d.kind, d.key) for d in first} == {("policy", account) for account in ACCOUNTS}
    assert sum(map(len, gated.chapters)) == len(gated.deliveries)


def test_a_plan_that_decides_has_one_chapter(planned: Plan) -> None:
    assert {delivery.chapter for delivery in planned.deliveries} == {0}


def test_nobody_plays_in_two_plans() -> None:
    """What closes an address in one must not be known in the next, which may be of another day or seed."""
    marks = []
    for seed, now_us in ((7, NOW_US), (8, NOW_US), (7, NOW_US + DAY_US)):
        told = stories(GATED, seed, Setting(now_us, ACCOUNTS, decides=False))
        marks.append({t.meaning.address for s in told for t in s.tellings if t.meaning.word} - {""})
    assert marks[0].isdisjoint(marks[1])
    assert marks[0].isdisjoint(marks[2])
