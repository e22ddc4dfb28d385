"""The promises of a plan: the same seed gives the same traffic, all of it readable, and every scenario occurs."""

from collections import Counter

import orjson
import pytest

from schemas.decoding.ids import sent_at_us
from schemas.decoding.times import DAY_US
from schemas.events import EventType
from simulator.broken import BROKEN
from simulator.message import GeneratedMessage
from simulator.messages import RARE_EVERY, PlanOptions, generate_messages, live_messages
from simulator.multi_message import MULTI_MESSAGE_SCENARIOS
from simulator.plan import Delivery, Plan, plan
from simulator.providers import PROVIDERS
from simulator.scenarios import GATE_SCENARIOS, SCENARIOS
from tests.simulator.product import ProductOutput, run_product

NOW_US = 1_780_000_000_000_000
ACCOUNTS = ("acme", "bella")
OPTIONS = PlanOptions(NOW_US, ACCOUNTS)
WITH_GATE = PlanOptions(NOW_US, ACCOUNTS, decides=False)
MESSAGES = 1_700
GATED = 2_000
"""Enough messages for every scenario of a plan with a gate."""
SENT_AND_OPENED = {
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
    return plan(MESSAGES, 7, OPTIONS)


@pytest.fixture(scope="module")
def messages() -> list[GeneratedMessage]:
    return list(generate_messages(MESSAGES, 7, OPTIONS))


@pytest.fixture(scope="module")
def output(planned: Plan) -> ProductOutput:
    return run_product(planned, NOW_US)


def posts(planned: Plan) -> list[Delivery]:
    return [delivery for delivery in planned.deliveries if delivery.kind == "post"]


def test_the_same_seed_gives_the_same_plan(planned: Plan) -> None:
    assert plan(MESSAGES, 7, OPTIONS) == planned


def test_another_seed_gives_another_plan(planned: Plan) -> None:
    other = plan(MESSAGES, 8, OPTIONS)
    assert {d.value for d in other.deliveries}.isdisjoint(d.value for d in planned.deliveries)


def test_a_message_does_not_depend_on_the_number_of_messages(messages: list[GeneratedMessage]) -> None:
    assert list(generate_messages(50, 7, OPTIONS)) == messages[:50]


def test_a_plan_has_exactly_the_requested_number_of_messages(messages: list[GeneratedMessage]) -> None:
    assert len(messages) == MESSAGES
    pair = next(n for n, scenario in enumerate(SCENARIOS) if scenario.name == "two messages in one API call")
    first_of_two = pair * RARE_EVERY
    assert len(list(generate_messages(first_of_two + 1, 7, OPTIONS))) == first_of_two + 1


def test_the_totals_count_what_is_there(planned: Plan, output: ProductOutput) -> None:
    totals = planned.totals
    assert totals.messages == sum(totals.messages_by_provider.values()) == MESSAGES
    assert totals.posts == len(posts(planned))
    assert totals.posts_by_provider == dict(Counter(post.provider for post in posts(planned)))
    kinds = Counter(delivery.kind for delivery in planned.deliveries)
    assert (totals.requests, totals.decisions) == (kinds["request"], kinds["decision"])
    assert (totals.dispatches, totals.contents) == (kinds["dispatch"], kinds["content"])
    assert totals.events_sent == sum(totals.events_sent_by_type.values()) == output.read
    of_messages = [{e.event_id: e.type for e in known.events} for known in output.known.values()]
    distinct = Counter(type_ for events in of_messages for type_ in events.values())
    distinct.update(event.type for event in output.orphans.values())
    assert totals.events_distinct_by_type == dict(sorted(distinct.items()))
    assert totals.broken == sum(len(values) for values in output.dead.values())
    assert planned.size == sum(delivery.events for delivery in planned.deliveries)
    assert orjson.loads(orjson.dumps(totals.as_json()))["messages"] == MESSAGES


def test_every_scenario_provider_and_event_type_occurs(planned: Plan, messages: list[GeneratedMessage]) -> None:
    assert {message.scenario for message in messages} == {scenario.name for scenario in SCENARIOS}
    assert {post.provider for post in posts(planned)} == set(PROVIDERS)
    records = {EventType.REQUESTED, EventType.DECIDED, EventType.DISPATCHED}
    assert set(planned.totals.events_distinct_by_type) == set(EventType) - records


def test_every_status_sub_status_and_anomaly_is_reached(output: ProductOutput) -> None:
    assert {(row.status, row.sub_status) for row in output.rows.values()} == SENT_AND_OPENED | REFUSED | FAILED
    assert {anomaly for row in output.rows.values() for anomaly in row.anomalies} == {
        "conflicting_requests",
        "event_after_refusal",
        "delivered_after_bounce",
        "id_mismatch",
    }


def test_every_kind_of_malformed_input_occurs(output: ProductOutput) -> None:
    assert set(output.dead) == {f"{broken.topic}/{broken.reason}" for broken in BROKEN}


def test_nothing_is_malformed_unless_requested() -> None:
    assert run_product(plan(300, 7, OPTIONS, broken_every=0), NOW_US).dead == {}


def test_duplicates_occur_in_one_post_across_posts_days_apart_and_with_another_event_id(output: ProductOutput) -> None:
    copies = [known.events for known in output.known.values() if len(known.events) > 1]
    by_id: dict[str, list[tuple[int, int, str]]] = {}
    for events in copies:
        for event in events:
            by_id.setdefault(event.event_id, []).append((event.offset, event.received_us, event.provider_event_id))
    several = [found for found in by_id.values() if len(found) > 1]
    assert any(len({offset for offset, _, _ in found}) < len(found) for found in several)
    assert any(len({offset for offset, _, _ in found}) > 1 for found in several)
    assert any(max(at for _, at, _ in found) - min(at for _, at, _ in found) > 2 * DAY_US for found in several)
    assert any(len({name for _, _, name in found}) > 1 for found in several)


def test_records_may_arrive_after_all_events_of_their_message(planned: Plan, messages: list[GeneratedMessage]) -> None:
    late = {
        message.message_id: message
        for message in messages
        if message.scenario == "events before any record that names it"
    }
    for message_id, message in late.items():
        records = [d.at_us for d in planned.deliveries if d.key == message_id]
        assert len(records) >= 3
        assert min(records) > min(event_delivery.at_us for event_delivery in message.event_deliveries)
    assert late


def test_nothing_is_later_than_the_current_time(planned: Plan, messages: list[GeneratedMessage]) -> None:
    assert all(delivery.at_us <= NOW_US for delivery in planned.deliveries)
    for message in messages:
        assert NOW_US - 25 * DAY_US < sent_at_us(message.message_id) < NOW_US
        assert all(record.at_us <= NOW_US for record in message.records)
        assert all(event_delivery.at_us <= NOW_US for event_delivery in message.event_deliveries)


def test_every_address_is_reserved_for_examples(messages: list[GeneratedMessage]) -> None:
    gated = generate_messages(GATED, 7, WITH_GATE)
    for message in (*messages, *gated):
        for event_delivery in message.event_deliveries:
            address = event_delivery.expected.address.removeprefix("whatsapp:")
            number = f"+{address.lstrip('+')}"  # a callback may omit the plus
            if not address or number.startswith("+999") or number[5:10] == "55501":
                continue
            assert address.rpartition("@")[2] in (
                *("example.com", "example.org", "example.net"),
                "xn--bcher-kva.example",
            )


def test_an_event_that_can_suppress_is_about_an_address_of_one_message_only(messages: list[GeneratedMessage]) -> None:
    messages_of: dict[str, set[str]] = {}
    suppressible: set[str] = set()
    for message in messages:
        for event_delivery in message.event_deliveries:
            if event_delivery.expected.address:
                messages_of.setdefault(event_delivery.expected.address, set()).add(message.message_id)
            if event_delivery.expected.address_event:
                suppressible.add(event_delivery.expected.address)
    assert all(len(messages_of[address]) == 1 for address in suppressible - {""})
    assert len(suppressible) > 50


def test_a_live_message_takes_seconds_not_hours() -> None:
    for index in range(0, 4_000, 20):
        first, *others = live_messages(index, 7, now_us=NOW_US, account="demo")
        assert sent_at_us(first.message_id) == NOW_US
        for message in (first, *others):
            assert all(
                NOW_US < event_delivery.at_us < NOW_US + 90_000_000 for event_delivery in message.event_deliveries
            )
            assert all(NOW_US <= record.at_us < NOW_US + 90_000_000 for record in message.records)


def test_every_scenario_occurs_where_a_gate_decides() -> None:
    gated = plan(GATED, 7, WITH_GATE, broken_every=0)
    played = {message.scenario for message in generate_messages(GATED, 7, WITH_GATE)}
    assert played == {scenario.name for scenario in GATE_SCENARIOS} | {
        scenario.name for scenario in MULTI_MESSAGE_SCENARIOS
    }
    assert gated.totals.decisions == 0
    assert gated.totals.messages == GATED
    kinds = Counter(d.kind for d in gated.deliveries)
    assert kinds.keys() == {"request", "dispatch", "content", "post", "policy", "preference", "command"}
    assert (gated.totals.policies, gated.totals.commands) == (kinds["policy"], kinds["command"])


def test_stages_are_in_order_and_policies_come_first() -> None:
    gated = plan(GATED, 7, WITH_GATE)
    assert [d.stage for d in gated.deliveries] == sorted(d.stage for d in gated.deliveries)
    first = next(gated.stages)
    assert {(d.kind, d.key) for d in first} == {("policy", account) for account in ACCOUNTS}
    assert sum(map(len, gated.stages)) == len(gated.deliveries)


def test_a_plan_that_decides_has_one_stage(planned: Plan) -> None:
    assert {delivery.stage for delivery in planned.deliveries} == {0}


def test_no_recipient_that_can_be_suppressed_is_in_two_plans() -> None:
    """A suppression of one plan must not affect another plan, of another day or seed."""
    addresses = []
    for seed, now_us in ((7, NOW_US), (8, NOW_US), (7, NOW_US + DAY_US)):
        messages = generate_messages(GATED, seed, PlanOptions(now_us, ACCOUNTS, decides=False))
        addresses.append(
            {t.expected.address for s in messages for t in s.event_deliveries if t.expected.address_event} - {""}
        )
    assert addresses[0].isdisjoint(addresses[1])
    assert addresses[0].isdisjoint(addresses[2])
