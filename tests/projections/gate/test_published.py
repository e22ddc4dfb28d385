"""What the gate tells others: the published models accept it, and a request comes out as it went in."""

import copy
from typing import Any

import orjson
import pytest
from hypothesis import given

from projections.gate.account import Accounts
from projections.gate.addressing import AddressKey
from projections.gate.evidence import Evidence, Kind
from projections.gate.published import Written, state_value
from projections.gate.rules import Rules
from projections.gate.suppression import NOTHING, SuppressionView
from schemas.events import Place
from schemas.facts import decode_decision, decode_request
from schemas.records import SendDecision
from schemas.suppressions import SuppressionState
from schemas.times import rfc3339
from tests.building import NOW_US
from tests.projections.gate.building import a_release, bounce, closed, day, evidence_sets, seen, seen_as
from tests.schemas.test_facts import FULL, REQUEST

PLACE = Place("sends.requested", 0, 7, NOW_US)
KEY = AddressKey("email", "ann@example.com")


def state(view: SuppressionView) -> dict[str, Any]:
    value = state_value(KEY, view, 3, NOW_US)
    SuppressionState.model_validate_json(value)
    told: dict[str, Any] = orjson.loads(value)
    return told


@pytest.mark.parametrize("record", [REQUEST, FULL, FULL | {"to": " ÄNN@Example.com ", "subject": "", "cc": []}])
def test_a_request_is_told_as_it_was_asked(record: dict[str, Any]) -> None:
    request = decode_request(orjson.dumps(record), PLACE, decision_days=30)
    told = Written.of(request).as_record(request.account_id, request.message_id)
    assert decode_request(orjson.dumps(told), PLACE, decision_days=30) == request


def test_what_was_left_out_stays_so() -> None:
    request = decode_request(orjson.dumps(REQUEST), PLACE, decision_days=30)
    assert Written.of(request).as_record(request.account_id, request.message_id) == REQUEST


@pytest.mark.parametrize("address", [NOTHING, closed("bounces")], ids=["approved", "suppressed"])
def test_a_decision_is_valid_and_says_all_that_a_sender_needs(address: SuppressionView) -> None:
    request = decode_request(orjson.dumps(FULL), PLACE, decision_days=30)
    answer = Accounts({}).decide(request, address, decided_us=NOW_US + 5, rules=Rules())
    assert answer.value is not None
    SendDecision.model_validate_json(answer.value)
    decision = decode_decision(answer.value, PLACE)
    verdict = answer.remembered.verdict
    assert (decision.outcome, decision.reason, decision.detail, decision.evidence) == verdict[:4]
    assert (decision.decided_us, decision.request) == (NOW_US + 5, request)
    whole = orjson.loads(answer.value)
    assert (whole["to"], whole["channel"]) == ("Ann@Example.com", "email")


@given(evidence_sets())
def test_a_state_is_valid_whatever_is_known(evidence: list[Evidence]) -> None:
    view = seen_as(*evidence)
    told = state(view)
    assert [scope["suppressed"] for scope in told["scopes"]] == [scope.suppressed for scope in view.scopes]
    assert len(told["opt_outs"]) == len(view.opt_outs)


def test_a_state_says_why_since_when_and_who_released_it() -> None:
    bounces = [bounce(n, f"m{n}") for n in (1, 2, 3)]
    scope = {
        "scope": "*",
        "suppressed": True,
        "reason": "bounces",
        "since": rfc3339(day(3)),
        "evidence": [e.id for e in bounces],
    }
    assert state(seen_as(*bounces)) == {
        "channel": "email",
        "address": "ann@example.com",
        "scopes": [scope],
        "opt_outs": [],
        "version": 3,
        "changed_at": rfc3339(NOW_US),
    }
    released = copy.copy(scope) | {"suppressed": False, "released": {"at": rfc3339(day(4)), "actor": "support"}}
    assert state(seen_as(*bounces, a_release(4)))["scopes"] == [released]


def test_a_state_names_what_an_opt_out_is_of() -> None:
    told = state(
        seen_as(
            seen(Kind.UNSUBSCRIBED, 1, scope="acme"),
            seen(Kind.UNSUBSCRIBED, 1, scope="acme", group="12", id="g"),
            seen(Kind.OPTED_OUT, 1, senders=("+1555",)),
        )
    )
    since = rfc3339(day(1))
    assert told["opt_outs"] == [
        {"scope": "*", "sender": "+1555", "reason": "sms_opt_out", "since": since},
        {"scope": "acme", "reason": "unsubscribed", "since": since},
        {"scope": "acme", "group": "12", "reason": "group_unsubscribed", "since": since},
    ]
