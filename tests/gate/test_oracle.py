"""The oracle of the chaos tests, on the gate's pure steps: it agrees with them, and every wrong record is detected."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from processors.engine import Output
from projections.suppressions.rules import GateRules
from tests.gate.building import now_us
from tests.gate.comparison import differences
from tests.gate.in_memory import Gate
from tests.gate.oracle import Expected
from tests.gate.traffic import Traffic

Published = tuple[list[bytes], list[bytes]]
"""Values of `sends.decided` and `suppressions.changed`."""


def run_traffic(rules: GateRules | None = None) -> tuple[Expected, Published]:
    """Run the whole traffic through a gate; return the expected and the published results."""
    expected, traffic, gate = Expected(), Traffic("pure", 7), Gate(now_us(), rules)
    for _name, make in traffic.stages():
        stage = make()
        expected.read(stage)
        gate.read(Output(sent.topic, sent.key.encode(), sent.value, sent.headers) for sent in stage)
    return expected, (gate.decided, gate.changed)


def test_the_oracle_and_the_gate_agree() -> None:
    expected, published = run_traffic()
    assert differences(expected, *published) == []


def test_the_traffic_causes_every_reason_that_the_gate_gives_by_default() -> None:
    _, (decided, _) = run_traffic()
    outcomes = {(d["outcome"], d["reason"]) for d in map(json.loads, decided)}
    assert outcomes == {
        ("approved", "ok"),
        ("approved", "no_policy"),
        ("blocked", "account_blocked"),
        ("blocked", "address_invalid"),
        ("declined", "template_disabled"),
        ("declined", "template_declined"),
        ("declined", "unsubscribed"),
        ("declined", "group_unsubscribed"),
        ("declined", "sms_opt_out"),
        ("not_opted_in", "invitation_not_opted_in"),
        ("suppressed", "bounces"),
        ("suppressed", "complaint"),
        ("suppressed", "manual"),
        ("suppressed", "provider"),
        ("quota_exceeded", "trial_email_limit"),
        ("quota_exceeded", "sms_requires_billing"),
        ("quota_exceeded", "sms_not_enabled"),
        ("quota_exceeded", "trial_ended"),
    }


def _changed(value: bytes, **fields: Any) -> bytes:
    return json.dumps(json.loads(value) | fields).encode()


def _first(values: list[bytes], **wanted: str) -> int:
    return next(n for n, value in enumerate(values) if wanted.items() <= json.loads(value).items())


def _lost(decided: list[bytes], changed: list[bytes]) -> None:
    message = json.loads(decided[0])["message_id"]
    decided[:] = [value for value in decided if json.loads(value)["message_id"] != message]


def _invented(decided: list[bytes], changed: list[bytes]) -> None:
    decided.append(_changed(decided[0], message_id="another"))


def _conflicting(decided: list[bytes], changed: list[bytes]) -> None:
    decided.append(_changed(decided[0], decided_at="2026-01-01T00:00:00.000000Z"))


def _over_the_limit(decided: list[bytes], changed: list[bytes]) -> None:
    refused = json.loads(decided[_first(decided, reason="trial_email_limit")])["message_id"]
    approved: dict[str, Any] = {"outcome": "approved", "reason": "ok", "evidence": []}
    decided[:] = [_changed(v, **approved) if json.loads(v)["message_id"] == refused else v for v in decided]


def _other_evidence(decided: list[bytes], changed: list[bytes]) -> None:
    number = _first(decided, reason="template_disabled")
    decided[:] = [_changed(decided[number], evidence=[]), *(decided[:number] + decided[number + 1 :])]


def _other_outcome(decided: list[bytes], changed: list[bytes]) -> None:
    message = json.loads(decided[_first(decided, reason="complaint")])["message_id"]
    decided[:] = [_changed(v, reason="manual") if json.loads(v)["message_id"] == message else v for v in decided]


def _a_version_is_missing(decided: list[bytes], changed: list[bytes]) -> None:
    del changed[_first(changed, address="released@pure.example.com")]


def _a_version_is_published_twice(decided: list[bytes], changed: list[bytes]) -> None:
    changed.append(changed[-1])


def _another_state(decided: list[bytes], changed: list[bytes]) -> None:
    number = _first(changed, address="annoyed@pure.example.com")
    changed[number] = _changed(changed[number], scopes=[])


@pytest.mark.parametrize(
    ("corrupt", "found"),
    [
        pytest.param(_lost, "lost", id="a decision is missing"),
        pytest.param(_invented, "invented", id="a decision without a request"),
        pytest.param(_conflicting, "conflicting", id="two different decisions of a message"),
        pytest.param(_over_the_limit, "quota", id="one email over the limit"),
        pytest.param(_other_evidence, "wrong", id="evidence is missing"),
        pytest.param(_other_outcome, "wrong", id="another reason"),
        pytest.param(_a_version_is_missing, "version", id="a change is missing"),
        pytest.param(_a_version_is_published_twice, "version", id="a change is published twice"),
        pytest.param(_another_state, "state", id="another state of an address"),
    ],
)
def test_wrong_records_are_detected(corrupt: Callable[[list[bytes], list[bytes]], None], found: str) -> None:
    expected, published = run_traffic()
    corrupt(*published)
    assert found in {line.partition(":")[0] for line in differences(expected, *published)}


def test_a_gate_with_another_rule_is_detected() -> None:
    expected, published = run_traffic(GateRules(suppress_bounces=2))
    assert any("twice@pure.example.com is suppressed" in line for line in differences(expected, *published))
