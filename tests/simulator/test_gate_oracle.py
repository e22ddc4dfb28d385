"""The oracle beside the gate's pure steps: what stories say must be decided and closed, and what is."""

from collections import defaultdict
from dataclasses import replace
from random import Random
from typing import Any

import orjson
import pytest

from cli.verifying.difference import Difference
from cli.verifying.gate import decision_differences, state_differences
from projections.gate.decide import RULES
from projections.gate.rules import Rules
from simulator.oracle import Oracle
from simulator.posts import Plan, plan
from simulator.stories import Setting
from tests.simulator.deciding import Gate

NOW_US = 1_780_000_000_000_000
ACCOUNTS = ("acme", "bella")
MESSAGES = 700
RARE_EVERY = 2


def a_plan(seed: int, *, arrivals_known: bool = True, **given: Any) -> tuple[Plan, dict[str, Any]]:
    """A plan in which every course and plot has its turn, and its oracle."""
    oracle = Oracle(seed, decides=False, arrivals_known=arrivals_known)
    setting = Setting(NOW_US, ACCOUNTS, rare_every=RARE_EVERY, decides=False, **given)
    planned = plan(MESSAGES, seed, setting, broken_every=20, oracle=oracle)
    return planned, orjson.loads(oracle.as_json())


@pytest.fixture(scope="module")
def made() -> tuple[Plan, dict[str, Any]]:
    return a_plan(1)


def differences(planned: Plan, oracle: dict[str, Any], rules: Rules | None = None, seed: int = 0) -> list[Difference]:
    gate = Gate(NOW_US, Random(seed), rules or Rules())
    gate.read(planned)
    decisions: defaultdict[str, list[Any]] = defaultdict(list)
    for decision in gate.decisions:
        known = decisions[f"{decision['account_id']}/{decision['message_id']}"]
        if decision not in known:
            known.append(decision)
    states: defaultdict[str, dict[int, Any]] = defaultdict(dict)
    for state in gate.changes:
        states[f"{state['channel']}:{state['address']}"][state["version"]] = state
    assert decisions.keys() == oracle["decisions"].keys() | {
        m for q in oracle["quotas"].values() for m in q["messages"]
    }
    assert states.keys() <= oracle["addresses"].keys()
    return [*decision_differences(decisions, oracle), *state_differences(states, oracle)]


@pytest.mark.parametrize("seed", range(1, 5))
def test_the_gate_decides_what_the_stories_say_whichever_topic_it_reads_first(seed: int) -> None:
    planned, oracle = a_plan(seed)
    assert differences(planned, oracle, seed=seed) == []


def test_what_is_said_of_posts_over_http_holds_whenever_they_arrive() -> None:
    planned, oracle = a_plan(2, arrivals_known=False)
    rng = Random(3)
    # All of them later than the commands of the plan, and in the order of the chapters.
    moved = [
        replace(d, at_us=NOW_US + d.chapter * 60_000_000 + rng.randrange(60_000_000)) if d.kind == "post" else d
        for d in planned.deliveries
    ]
    assert differences(replace(planned, deliveries=moved), oracle) == []


def test_every_outcome_and_reason_occurs(made: tuple[Plan, dict[str, Any]]) -> None:
    _, oracle = made
    refused = {f"{outcome}/{reason}" for outcome, reason, _ in RULES} - {"blocked/no_policy"}
    assert oracle["reasons"].keys() == refused | {"approved/ok", "approved/no_policy"}
    assert oracle["quotas"]


def test_an_unknown_account_may_send_nothing_where_it_is_set_so() -> None:
    planned, oracle = a_plan(3, refuses_unknown=True)
    assert "blocked/no_policy" in oracle["reasons"]
    assert differences(planned, oracle, Rules(refuse_unknown=True)) == []
    assert differences(planned, oracle, Rules()) != []


@pytest.mark.parametrize(
    "rules", [Rules(suppress_bounces=2), Rules(suppress_bounces=4)], ids=["two are enough", "three are not enough"]
)
def test_the_oracle_finds_a_gate_that_counts_otherwise(made: tuple[Plan, dict[str, Any]], rules: Rules) -> None:
    assert differences(*made, rules) != []


@pytest.mark.parametrize("kind", ["policy", "preference", "command", "post"])
def test_the_oracle_finds_a_topic_that_was_not_read(made: tuple[Plan, dict[str, Any]], kind: str) -> None:
    planned, oracle = made
    left = [delivery for delivery in planned.deliveries if delivery.kind != kind]
    assert differences(replace(planned, deliveries=left), oracle) != []


def test_without_chapters_it_is_another_story(made: tuple[Plan, dict[str, Any]]) -> None:
    """What is read at once may be read in any order: this is why there are chapters."""
    planned, oracle = made
    at_once = [replace(delivery, chapter=0) for delivery in planned.deliveries]
    assert differences(replace(planned, deliveries=at_once), oracle) != []


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
def test_a_decision_that_is_not_as_it_must_be_is_found(wrong: list[Any], what: str) -> None:
    oracle = {"decisions": {"acme/1": {"outcome": "declined", "reason": "unsubscribed", "evidence": 1}}, "quotas": {}}
    assert [d.name for d in decision_differences({"acme/1": wrong}, oracle)] == [what]


@pytest.mark.parametrize("approved", [1, 3])
def test_a_quota_that_is_not_exact_is_found(approved: int) -> None:
    names = [f"acme/{n}" for n in range(4)]
    quota = {"approved": 2, "refused": ["quota_exceeded", "trial_email_limit"], "messages": names}
    said = [("approved", "ok") if n < approved else ("quota_exceeded", "trial_email_limit") for n in range(4)]
    found = {name: [{"outcome": o, "reason": r, "evidence": []}] for name, (o, r) in zip(names, said, strict=True)}
    (difference,) = decision_differences(found, {"decisions": {}, "quotas": {"acme": quota}})
    assert (difference.id, difference.expected) == ("acme", 2)


def test_a_state_that_is_not_as_it_must_be_is_found() -> None:
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
