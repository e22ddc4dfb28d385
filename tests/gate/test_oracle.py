"""The oracle of the tests under fire, on the gate's pure steps: it agrees with them, and every lie is found out."""

import json
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any

import pytest

from processors.engine import Step
from processors.gate.by_account import AccountStep
from processors.gate.by_address import AddressStep
from processors.gate.intake import forwarded
from projections.gate.rules import Rules
from schemas.topics import GATE_BY_ACCOUNT, GATE_BY_ADDRESS, SENDS_DECIDED, SUPPRESSIONS_CHANGED
from tests.building import FakeRecord
from tests.gate.building import now_us
from tests.gate.judging import differences
from tests.gate.oracle import Expected, Sent
from tests.gate.traffic import Traffic

RULES = Rules()
Said = tuple[list[bytes], list[bytes]]
"""Values of `sends.decided` and `suppressions.changed`."""


class Gate:
    """The gate without Kafka: one partition of each topic, and a record at a time."""

    def __init__(self, rules: Rules = RULES) -> None:
        self._rules = rules
        self._steps: dict[str, Any] = {
            GATE_BY_ADDRESS.name: AddressStep(rules),
            GATE_BY_ACCOUNT.name: AccountStep(rules),
        }
        self._states: dict[str, dict[bytes, Any]] = {name: {} for name in self._steps}
        self._offsets = count()
        self.said: dict[str, list[bytes]] = {SENDS_DECIDED.name: [], SUPPRESSIONS_CHANGED.name: []}

    def read(self, sent: Sent) -> None:
        self._carry(forwarded(self._record(sent.topic, sent.value, sent.key.encode(), sent.headers), self._rules))

    def _carry(self, outputs: Any) -> None:
        for topic, key, value, headers, _ in outputs:
            if topic in self.said:
                self.said[topic].append(value)
                continue
            states = self._states[topic]
            done: Step[Any] = self._steps[topic](states, [self._record(topic, value, key, headers)])
            states.update(done.changed)
            self._carry(done.outputs)

    def _record(self, topic: str, value: bytes, key: bytes, headers: Sequence[tuple[str, bytes]]) -> FakeRecord:
        return FakeRecord(topic, value, key, headers, offset=next(self._offsets), timestamp=now_us() // 1000)


def told(gate: Gate) -> tuple[Expected, Said]:
    """The whole traffic through a gate: what is expected, and what it said."""
    expected, traffic = Expected(), Traffic("pure", 7)
    for _name, make in traffic.stages():
        stage = make()
        expected.read(stage)
        for sent in stage:
            gate.read(sent)
    return expected, (gate.said[SENDS_DECIDED.name], gate.said[SUPPRESSIONS_CHANGED.name])


def test_the_oracle_and_the_gate_agree() -> None:
    expected, said = told(Gate())
    assert differences(expected, *said) == []


def test_the_traffic_has_every_reason_that_the_gate_gives_by_default() -> None:
    _, (decided, _) = told(Gate())
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


def _reworded(value: bytes, **said: Any) -> bytes:
    return json.dumps(json.loads(value) | said).encode()


def _first(values: list[bytes], **wanted: str) -> int:
    return next(n for n, value in enumerate(values) if wanted.items() <= json.loads(value).items())


def _lost(decided: list[bytes], changed: list[bytes]) -> None:
    message = json.loads(decided[0])["message_id"]
    decided[:] = [value for value in decided if json.loads(value)["message_id"] != message]


def _invented(decided: list[bytes], changed: list[bytes]) -> None:
    decided.append(_reworded(decided[0], message_id="another"))


def _conflicting(decided: list[bytes], changed: list[bytes]) -> None:
    decided.append(_reworded(decided[0], decided_at="2026-01-01T00:00:00.000000Z"))


def _one_too_many(decided: list[bytes], changed: list[bytes]) -> None:
    refused = json.loads(decided[_first(decided, reason="trial_email_limit")])["message_id"]
    approved: dict[str, Any] = {"outcome": "approved", "reason": "ok", "evidence": []}
    decided[:] = [_reworded(v, **approved) if json.loads(v)["message_id"] == refused else v for v in decided]


def _other_evidence(decided: list[bytes], changed: list[bytes]) -> None:
    number = _first(decided, reason="template_disabled")
    decided[:] = [_reworded(decided[number], evidence=[]), *(decided[:number] + decided[number + 1 :])]


def _other_outcome(decided: list[bytes], changed: list[bytes]) -> None:
    message = json.loads(decided[_first(decided, reason="complaint")])["message_id"]
    decided[:] = [_reworded(v, reason="manual") if json.loads(v)["message_id"] == message else v for v in decided]


def _a_version_is_missing(decided: list[bytes], changed: list[bytes]) -> None:
    del changed[_first(changed, address="released@pure.example.com")]


def _a_version_is_told_twice(decided: list[bytes], changed: list[bytes]) -> None:
    changed.append(changed[-1])


def _another_state(decided: list[bytes], changed: list[bytes]) -> None:
    number = _first(changed, address="annoyed@pure.example.com")
    changed[number] = _reworded(changed[number], scopes=[])


@pytest.mark.parametrize(
    ("lie", "found"),
    [
        pytest.param(_lost, "lost", id="a decision is missing"),
        pytest.param(_invented, "invented", id="a decision of nothing"),
        pytest.param(_conflicting, "conflicting", id="a decision is told in other words"),
        pytest.param(_one_too_many, "quota", id="one email over the limit"),
        pytest.param(_other_evidence, "wrong", id="evidence is missing"),
        pytest.param(_other_outcome, "wrong", id="another reason"),
        pytest.param(_a_version_is_missing, "version", id="a change is missing"),
        pytest.param(_a_version_is_told_twice, "version", id="a change is told twice"),
        pytest.param(_another_state, "state", id="another state of an address"),
    ],
)
def test_a_lie_is_found_out(lie: Callable[[list[bytes], list[bytes]], None], found: str) -> None:
    expected, said = told(Gate())
    lie(*said)
    assert found in {line.partition(":")[0] for line in differences(expected, *said)}


def test_another_rule_is_found_out() -> None:
    expected, said = told(Gate(Rules(suppress_bounces=2)))
    assert any("twice@pure.example.com is suppressed" in line for line in differences(expected, *said))
