"""How long a text may be that is remembered: a longer one keeps its beginning, and is still told from others."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projections.gate.decide import decide
from projections.gate.evidence import evidence_of
from projections.gate.suppression import NOTHING
from projections.gate.texts import MAX_CHARACTERS, bounded
from projections.gate.trial import UNUSED
from tests.building import a_request, an_event
from tests.projections.gate.building import a_policy, seen_as

LONG = "g" * (MAX_CHARACTERS + 1)


@given(st.text(max_size=MAX_CHARACTERS))
def test_a_text_of_usual_length_is_kept_as_it_is(text: str) -> None:
    assert bounded(text) == text


@given(st.text(min_size=1, max_size=400), st.text(min_size=1, max_size=400))
def test_a_longer_one_is_cut_and_still_told_from_others(one: str, other: str) -> None:
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
def test_no_event_says_more_than_is_kept(fields: dict[str, Any]) -> None:
    found = evidence_of(an_event(fields.pop("kind"), **fields))
    assert found is not None
    said = found.evidence
    texts = (said.message, said.group, said.list, *said.senders)
    assert any(texts)
    assert all(len(text) <= MAX_CHARACTERS for text in texts)


def test_an_opt_out_of_a_group_with_a_long_name_refuses_the_requests_of_that_group() -> None:
    found = evidence_of(an_event("unsubscribed", group=LONG))
    assert found is not None
    holds = seen_as(found.evidence)
    reasons = [
        decide(a_request(unsubscribe_group=group), a_policy(), None, holds, UNUSED).reason
        for group in (LONG, LONG + "x")
    ]
    assert reasons == ["group_unsubscribed", "ok"]


def test_a_decision_repeats_no_more_than_the_beginning_of_a_policys_reason() -> None:
    policy = a_policy(blocked_since_us=0, blocked_reason="x" * 8_000_000)
    verdict = decide(a_request(), policy, None, NOTHING, UNUSED)
    assert verdict.reason == "account_blocked"
    assert len(verdict.detail) < 1_100
