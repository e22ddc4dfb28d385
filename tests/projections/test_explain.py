"""The explanation of a status: compared with the reference fold, and one case for each rule."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given

from projections.messages.explain import RULES, STATUS_RULES, Explanation, explain
from projections.messages.reference_fold import Known, MessageRow, fold, is_own
from schemas.events import Event
from tests.building import ACCOUNT, MESSAGE, NOW_US, a_decision, a_request, an_event, everything_known

SECOND = 1_000_000


def rows_of(known: Known, row: MessageRow) -> list[dict[str, Any]]:
    """The rows of the message in `message_events`: each event once, and the decisions."""
    first: dict[str, Event] = {}
    for event in sorted(known.events, key=lambda e: (e.received_us, e.topic, e.partition, e.offset, e.position)):
        first.setdefault(event.event_id, event)
    to_is_known = bool(known.requests or known.decisions)
    rows = [
        e._asdict()
        | {"occurred_at": e.occurred_us, "cc": to_is_known and not is_own(e.address, row.channel, to_key_of(known))}
        for e in first.values()
    ]
    return rows + [
        {"event_id": d.decision_hash, "type": "decided", "occurred_at": d.decided_us, "cc": False}
        for d in known.decisions
    ]


def to_key_of(known: Known) -> str:
    decision = min(known.decisions, key=lambda d: (d.decided_us, d.decision_hash), default=None)
    if decision:
        return decision.request.to_key
    return min(known.requests, key=lambda r: (r.requested_us, r.content_hash)).to_key


def explained(known: Known) -> tuple[MessageRow, list[dict[str, Any]], Explanation]:
    row = fold(ACCOUNT, MESSAGE, known)
    rows = rows_of(known, row)
    return row, rows, explain({"status": row.status}, rows)


@given(everything_known())
def test_every_event_gives_the_status_or_has_a_reason_why_not(known: Known) -> None:
    _, rows, why = explained(known)
    accounted = [one.event["event_id"] for one in why.not_counted]
    accounted += [why.winner["event_id"]] if why.winner and why.winner["type"] != "decided" else []
    assert sorted(accounted) == sorted(r["event_id"] for r in rows if r["type"] != "decided")
    assert {one.rule for one in why.not_counted} <= RULES.keys()
    assert why.rule in STATUS_RULES


@given(everything_known())
def test_the_winner_alone_gives_the_same_status(known: Known) -> None:
    row, _, why = explained(known)
    winner = why.winner["event_id"] if why.winner else None
    alone = replace(known, events=[e for e in known.events if e.event_id == winner])
    again = fold(ACCOUNT, MESSAGE, alone)
    assert (again.status, again.sub_status) == (row.status, row.sub_status)


def why_not(*events: Event, **known: Any) -> dict[str, str]:
    """The rule of each event that did not count, by its type."""
    _, _, why = explained(Known(events=events, **known))
    return {one.event["type"]: one.rule for one in why.not_counted}


@pytest.mark.parametrize(
    ("events", "rules"),
    [
        pytest.param(["delivered", "bounced"], {"delivered": "lower_rank"}, id="a bounce hides a delivery"),
        pytest.param(["delivered", "clicked"], {"delivered": "status_order"}, id="a click outranks a delivery"),
        pytest.param(["opened", "bounced"], {"opened": "status_order"}, id="an open does not hide a bounce"),
        pytest.param(["delivered", "complained"], {"complained": "no_status"}, id="a complaint has no status"),
    ],
)
def test_the_rule_for_an_event_that_does_not_count(events: list[str], rules: dict[str, str]) -> None:
    assert why_not(*map(an_event, events)) == rules


def test_events_of_equal_rank_differ_by_code_then_time_then_id() -> None:
    first = an_event("bounced", code="550", occurred_us=NOW_US + 2 * SECOND)
    assert why_not(first, an_event("bounced", occurred_us=NOW_US)) == {"bounced": "without_code"}
    assert why_not(first, an_event("bounced", code="550", occurred_us=NOW_US + 3 * SECOND)) == {"bounced": "later"}
    second = an_event("bounced", code="550", occurred_us=NOW_US + 2 * SECOND, attempt="2")
    assert why_not(first, second) == {"bounced": "greater_id"}


def test_a_cc_a_machine_and_a_repeat() -> None:
    opened = an_event("opened", natural_us=1)
    assert why_not(opened, an_event("opened", occurred_us=NOW_US + SECOND)) == {"opened": "repeated"}
    assert why_not(an_event("delivered"), an_event("opened", machine=True)) == {"opened": "machine"}
    request = a_request(to="ann@example.com", cc=("bob@example.com",))
    assert why_not(an_event("bounced", address="bob@example.com"), requests=[request]) == {"bounced": "cc"}


def test_every_event_of_a_refused_message_has_the_rule_refused() -> None:
    decision = a_decision(outcome="suppressed", reason="bounces")
    _, _, why = explained(Known(decisions=[decision], events=[an_event("delivered")]))
    assert (why.rule, [one.rule for one in why.not_counted]) == ("refused", ["refused"])
    assert why.winner is not None
    assert why.winner["type"] == "decided"
