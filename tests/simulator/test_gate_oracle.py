"""The oracle compared with the gate's pure steps: expected decisions and suppressions, and the actual ones."""

from collections import defaultdict
from dataclasses import replace
from random import Random
from typing import Any

import orjson
import pytest

from processors.engine import Output
from projections.decisions.decide import RULES
from projections.suppressions.rules import GateRules
from simulator.kafka import record_of
from simulator.messages import PlanOptions
from simulator.oracle import Oracle
from simulator.plan import Delivery, Plan, plan
from tests.gate.in_memory import Gate
from verification.difference import Difference
from verification.gate import decision_differences, state_differences

NOW_US = 1_780_000_000_000_000
ACCOUNTS = ("acme", "bella")
MESSAGES = 700
RARE_EVERY = 2


def a_plan(seed: int, *, arrivals_known: bool = True, **given: Any) -> tuple[Plan, dict[str, Any]]:
    """A plan in which every scenario occurs, and its oracle."""
    oracle = Oracle(seed, decides=False, arrivals_known=arrivals_known)
    options = PlanOptions(NOW_US, ACCOUNTS, rare_every=RARE_EVERY, decides=False, **given)
    planned = plan(MESSAGES, seed, options, broken_every=20, oracle=oracle)
    return planned, orjson.loads(oracle.as_json())


@pytest.fixture(scope="module")
def made() -> tuple[Plan, dict[str, Any]]:
    return a_plan(1)


def differences(
    planned: Plan, oracle: dict[str, Any], rules: GateRules | None = None, seed: int = 0
) -> list[Difference]:
    gate = Gate(NOW_US, rules, Random(seed))
    for stage in planned.stages:
        gate.read(_output(delivery) for delivery in stage)
    decisions: defaultdict[str, list[Any]] = defaultdict(list)
    for decision in map(orjson.loads, gate.decided):
        known = decisions[f"{decision['account_id']}/{decision['message_id']}"]
        if decision not in known:
            known.append(decision)
    states: defaultdict[str, dict[int, Any]] = defaultdict(dict)
    for state in map(orjson.loads, gate.changed):
        states[f"{state['channel']}:{state['address']}"][state["version"]] = state
    assert decisions.keys() == oracle["decisions"].keys() | {
        m for q in oracle["quotas"].values() for m in q["messages"]
    }
    assert states.keys() <= oracle["addresses"].keys()
    return [*decision_differences(decisions, oracle), *state_differences(states, oracle)]


def _output(delivery: Delivery) -> Output:
    topic, key, headers = record_of(delivery)
    return Output(topic, key, delivery.value, headers)


@pytest.mark.parametrize("seed", range(1, 5))
def test_the_gate_decides_as_expected_in_any_order_of_topics(seed: int) -> None:
    planned, oracle = a_plan(seed)
    assert differences(planned, oracle, seed=seed) == []


def test_the_oracle_of_a_plan_over_http_holds_for_any_time_of_arrival() -> None:
    planned, oracle = a_plan(2, arrivals_known=False)
    rng = Random(3)
    # All of them later than the commands of the plan, and in the order of the stages.
    moved = [
        replace(d, at_us=NOW_US + d.stage * 60_000_000 + rng.randrange(60_000_000)) if d.kind == "post" else d
        for d in planned.deliveries
    ]
    assert differences(replace(planned, deliveries=moved), oracle) == []


def test_every_outcome_and_reason_occurs(made: tuple[Plan, dict[str, Any]]) -> None:
    _, oracle = made
    refused = {f"{outcome}/{reason}" for outcome, reason, _ in RULES} - {"blocked/no_policy"}
    assert oracle["reasons"].keys() == refused | {"approved/ok", "approved/no_policy"}
    assert oracle["quotas"]


def test_an_unknown_account_is_refused_where_the_default_policy_is_refuse() -> None:
    planned, oracle = a_plan(3, refuses_unknown=True)
    assert "blocked/no_policy" in oracle["reasons"]
    assert differences(planned, oracle, GateRules(refuse_unknown=True)) == []
    assert differences(planned, oracle, GateRules()) != []


@pytest.mark.parametrize(
    "rules",
    [GateRules(suppress_bounces=2), GateRules(suppress_bounces=4)],
    ids=["two are enough", "three are not enough"],
)
def test_the_oracle_finds_a_gate_with_another_number_of_bounces(
    made: tuple[Plan, dict[str, Any]], rules: GateRules
) -> None:
    assert differences(*made, rules) != []


@pytest.mark.parametrize("kind", ["policy", "preference", "command", "post"])
def test_the_oracle_finds_a_topic_that_was_not_read(made: tuple[Plan, dict[str, Any]], kind: str) -> None:
    planned, oracle = made
    left = [delivery for delivery in planned.deliveries if delivery.kind != kind]
    assert differences(replace(planned, deliveries=left), oracle) != []


def test_the_oracle_does_not_hold_without_barriers(made: tuple[Plan, dict[str, Any]]) -> None:
    """Within a stage, topics may be read in any order: this is why plans have barriers."""
    planned, oracle = made
    one_stage = [replace(delivery, stage=0) for delivery in planned.deliveries]
    assert differences(replace(planned, deliveries=one_stage), oracle) != []


@pytest.mark.parametrize(
    ("wrong", "what"),
    [
        ([], "decisions"),
        ([{"outcome": "approved", "reason": "ok", "evidence": []}], "decision"),
        ([{"outcome": "declined", "reason": "unsubscribed", "evidence": []}], "evidence"),
        (
            [
                {"outcome": "declined", "reason": "unsubscribed", "evidence": ["a"]},
                {"outcome": "declined", "reason": "unsubscribed", "evidence": ["b"]},
            ],
            "decisions",
        ),
    ],
    ids=["lost", "wrong", "without its evidence", "conflicting"],
)
def test_an_unexpected_decision_is_found(wrong: list[Any], what: str) -> None:
    oracle = {"decisions": {"acme/1": {"outcome": "declined", "reason": "unsubscribed", "evidence": 1}}, "quotas": {}}
    assert [d.name for d in decision_differences({"acme/1": wrong}, oracle)] == [what]


@pytest.mark.parametrize("approved", [1, 3])
def test_a_quota_that_is_not_used_exactly_is_found(approved: int) -> None:
    names = [f"acme/{n}" for n in range(4)]
    quota = {"approved": 2, "refused": ["quota_exceeded", "trial_email_limit"], "messages": names}
    said = [("approved", "ok") if n < approved else ("quota_exceeded", "trial_email_limit") for n in range(4)]
    found = {name: [{"outcome": o, "reason": r, "evidence": []}] for name, (o, r) in zip(names, said, strict=True)}
    (difference,) = decision_differences(found, {"decisions": {}, "quotas": {"acme": quota}})
    assert (difference.id, difference.expected) == ("acme", 2)


def test_an_unexpected_state_is_found() -> None:
    oracle = {"addresses": {"email:a@b": {"scopes": {"*": {"suppressed": True, "reason": "manual"}}, "opt_outs": []}}}
    right = {"scopes": [{"scope": "*", "suppressed": True, "reason": "manual"}], "opt_outs": []}
    out = {"scope": "*", "sender": "+999", "reason": "sms_opt_out"}
    assert list(state_differences({"email:a@b": {1: right}}, oracle)) == []
    for found, what in (
        ({}, {"suppressed", "reason"}),
        ({2: right}, {"versions"}),
        ({1: right, 3: right}, {"versions"}),
        ({1: right | {"opt_outs": [out]}}, {"opt_outs"}),
        (
            {1: {"scopes": [{"scope": "acme", "suppressed": True}], "opt_outs": []}, 2: right},
            {"scopes that stay stated"},
        ),
        ({1: {"scopes": [right["scopes"][0] | {"reason": "bounces"}], "opt_outs": []}}, {"reason"}),
    ):
        assert {d.name for d in state_differences({"email:a@b": found}, oracle)} == what
