"""Bounded texts: a longer text keeps its beginning, and still differs from other texts."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projections.decisions.decide import decide
from projections.decisions.trial import UNUSED
from projections.suppressions.evidence import evidence_of
from projections.suppressions.state import EMPTY_SNAPSHOT
from projections.suppressions.texts import MAX_CHARACTERS, bounded
from tests.building import a_request, an_event
from tests.projections.suppressions.building import a_policy, snapshot_after

LONG = "g" * (MAX_CHARACTERS + 1)


@given(st.text(max_size=MAX_CHARACTERS))
def test_a_text_of_usual_length_is_kept_as_it_is(text: str) -> None:
    assert bounded(text) == text


@given(st.text(min_size=1, max_size=400), st.text(min_size=1, max_size=400))
def test_a_longer_text_is_cut_and_still_differs_from_others(one: str, other: str) -> None:
    cut = bounded(LONG + one)
    assert len(cut) == MAX_CHARACTERS
    assert cut.startswith("ggg")
    assert bounded(cut) == cut
    assert (cut == bounded(LONG + other)) == (one == other)


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "unsubscribed", "group": LONG},
        {"kind": "resubscribed", "group": LONG},
        {"kind": "bounced", "fault": "recipient", "provider_message_id": LONG},
        {"kind": "subscription_changed", "classification": "added", "group": LONG},
        {"kind": "opted_out", "provider": "twilio", "extra": f'{{"To":"{LONG}","MessagingServiceSid":"{LONG}"}}'},
    ],
    ids=lambda fields: str(fields["kind"]),
)
def test_all_texts_of_evidence_are_bounded(fields: dict[str, Any]) -> None:
    found = evidence_of(an_event(fields.pop("kind"), **fields))
    assert found is not None
    evidence = found.evidence
    texts = (evidence.message, evidence.group, evidence.list, *evidence.senders)
    assert any(texts)
    assert all(len(text) <= MAX_CHARACTERS for text in texts)


def test_an_opt_out_of_a_group_with_a_long_name_refuses_the_requests_of_that_group() -> None:
    found = evidence_of(an_event("unsubscribed", group=LONG))
    assert found is not None
    snapshot = snapshot_after(found.evidence)
    reasons = [
        decide(a_request(unsubscribe_group=group), a_policy(), None, snapshot, UNUSED).reason
        for group in (LONG, LONG + "x")
    ]
    assert reasons == ["group_unsubscribed", "ok"]


def test_a_decision_repeats_no_more_than_the_beginning_of_a_policys_reason() -> None:
    policy = a_policy(blocked_since_us=0, blocked_reason="x" * 8_000_000)
    verdict = decide(a_request(), policy, None, EMPTY_SNAPSHOT, UNUSED)
    assert verdict.reason == "account_blocked"
    assert len(verdict.detail) < 1_100
