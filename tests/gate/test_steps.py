"""The gate's two steps without Kafka: any split of the same records gives the same outputs and the same states."""

import random
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, TypeVar

import orjson
from hypothesis import given
from hypothesis import strategies as st

from processors.engine import Output, Record, StepResult
from processors.gate.by_account import AccountStep
from processors.gate.by_address import AddressStep
from processors.gate.intake import internal_messages
from projections.suppressions.rules import GateRules
from schemas.decoding.decoders import decoders
from schemas.decoding.times import rfc3339, rfc3339_us
from schemas.topics import GATE_BY_ACCOUNT, GATE_BY_ADDRESS, SENDS_DECIDED, SUPPRESSIONS_CHANGED
from tests.building import FakeRecord
from tests.gate.building import a_command, a_policy, a_request, now_us

S = TypeVar("S")
RULES = GateRules(suppress_bounces=2)
DECODERS = decoders(decision_days=RULES.decision_days)


def of_source(topic: str, *values: dict[str, Any] | list[Any]) -> list[FakeRecord]:
    at_ms = now_us() // 1000
    return [FakeRecord(topic, orjson.dumps(value), timestamp=at_ms, offset=n) for n, value in enumerate(values)]


def arrived(outputs: Sequence[Output], topic: str) -> list[FakeRecord]:
    """What was written to a topic, as its reader gets it."""
    at_ms = now_us() // 1000
    return [
        FakeRecord(topic, value or b"", key or b"", headers, offset=n, timestamp=at_ms)
        for n, (name, key, value, headers, _) in enumerate(outputs)
        if name == topic
    ]


def internal(records: Sequence[FakeRecord], topic: str) -> list[FakeRecord]:
    """What the intake forwards of these records to one of its topics."""
    return arrived([output for record in records for output in internal_messages(record, DECODERS)], topic)


def run(
    step: Callable[[Mapping[bytes, S], Sequence[Record]], StepResult[S]],
    records: Sequence[FakeRecord],
    cuts: Sequence[int],
) -> tuple[list[Output], dict[bytes, S]]:
    """Run a step over records that come in runs, as the engine does."""
    states: dict[bytes, S] = {}
    outputs: list[Output] = []
    edges = [0, *sorted({cut for cut in cuts if 0 < cut < len(records)}), len(records)]
    for start, end in pairwise(edges):
        done = step(states, records[start:end])
        outputs += done.outputs
        for key, state in done.changed.items():
            if state is None:
                states.pop(key, None)
            else:
                states[key] = state
    return outputs, states


def through(records: Sequence[FakeRecord], cuts: Sequence[int] = ()) -> tuple[list[dict[str, Any]], list[Any], Any]:
    """The whole gate: decisions, changes of addresses, and the states of both agents."""
    taken = [output for record in records for output in internal_messages(record, DECODERS)]
    by_address, addresses = run(AddressStep(RULES), arrived(taken, GATE_BY_ADDRESS.name), cuts)
    # Messages from the intake to an account may arrive before or after those through the address: here before.
    of_account = arrived(taken, GATE_BY_ACCOUNT.name) + arrived(by_address, GATE_BY_ACCOUNT.name)
    decided, accounts = run(AccountStep(RULES), of_account, cuts)
    decisions = [orjson.loads(o.value or b"") for o in decided if o.topic == SENDS_DECIDED.name]
    changes = [orjson.loads(o.value or b"") for o in by_address if o.topic == SUPPRESSIONS_CHANGED.name]
    return decisions, changes, (addresses, accounts)


def outcomes(records: Sequence[FakeRecord]) -> list[tuple[str, str]]:
    return [(d["outcome"], d["reason"]) for d in through(records)[0]]


def bounce(address: str, number: int) -> dict[str, Any]:
    return {
        "event": "bounce",
        "email": address,
        "timestamp": now_us() // 1_000_000,
        "status": "5.1.1",
        "sg_message_id": f"m{number}",
    }


def test_an_unknown_account_may_send() -> None:
    assert outcomes(of_source("sends.requested", a_request("acme"))) == [("approved", "no_policy")]


def test_a_to_that_is_too_long_is_invalid_and_published_as_it_was_written() -> None:
    long = "a" * 400 + "@example.com"
    decisions, changes, (addresses, _) = through(of_source("sends.requested", a_request("acme", to=long)))
    assert [(d["outcome"], d["reason"], d["to"], d["request"]["to"]) for d in decisions] == [
        ("blocked", "address_invalid", long, long)
    ]
    assert (changes, addresses) == ([], {})


def test_a_block_applies_to_requests_at_or_after_its_time() -> None:
    request = a_request("acme")
    for at_us, outcome in ((0, "blocked"), (1, "approved")):
        since = rfc3339((rfc3339_us(request["requested_at"]) or 0) + at_us)
        policy = a_policy("acme", blocked={"reason": "unpaid", "since": since})
        inputs = [*of_source("accounts.policies", policy), *of_source("sends.requested", request)]
        assert [found for found, _ in outcomes(inputs)] == [outcome]


def test_repeated_bounces_suppress_an_address_and_a_release_ends_that() -> None:
    address = "gone@example.com"
    posts = of_source("webhooks.sendgrid", [bounce(address, 1), bounce(address, 2)])
    requests = of_source("sends.requested", a_request("acme", to="Gone@Example.com"))
    policy = of_source("accounts.policies", a_policy("acme"))
    assert outcomes([*policy, *posts, *requests]) == [("suppressed", "bounces")]
    released = of_source("suppressions.commands", a_command("release", address))
    decisions, changes, _ = through([*policy, *posts, *released, *requests])
    assert [d["outcome"] for d in decisions] == ["approved"]
    assert [(c["version"], c["scopes"][0]["suppressed"]) for c in changes] == [(1, True), (2, False)]


def test_a_suppression_ended_by_a_release_dated_before_the_last_bounce_is_published_as_released() -> None:
    address = "late@example.com"
    first_s = now_us() // 1_000_000 - 60
    posts = of_source("webhooks.sendgrid", [bounce(address, n) | {"timestamp": first_s + n} for n in (0, 1)])
    dated_before = a_command("release", address, at=rfc3339(first_s * 1_000_000))
    _, changes, _ = through([*posts, *of_source("suppressions.commands", dated_before)])
    assert [(c["version"], [s["suppressed"] for s in c["scopes"]]) for c in changes] == [(1, [True]), (2, [False])]
    assert changes[1]["scopes"][0]["released"]["actor"] == "support"


def test_a_changed_setting_is_published_and_applied_with_the_next_request_for_the_address() -> None:
    address = "gone@example.com"
    posts = of_source("webhooks.sendgrid", [bounce(address, 1)])
    outputs, states = run(AddressStep(RULES), internal(posts, GATE_BY_ADDRESS.name), ())
    assert (outputs, len(states)) == ([], 1)
    requests = internal(
        of_source("sends.requested", *(a_request("acme", to=address) for _ in range(2))), "gate.by-address"
    )
    done = AddressStep(GateRules(suppress_bounces=1))(states, requests)
    (change,) = (orjson.loads(o.value or b"") for o in done.outputs if o.topic == SUPPRESSIONS_CHANGED.name)
    assert (change["version"], change["scopes"][0]["reason"]) == (1, "bounces")
    decided = AccountStep(RULES)({}, arrived(done.outputs, GATE_BY_ACCOUNT.name)).outputs
    assert {orjson.loads(o.value or b"")["outcome"] for o in decided} == {"suppressed"}


def test_a_request_writes_no_row_where_nothing_changed() -> None:
    posts = of_source("webhooks.sendgrid", [bounce("gone@example.com", 1)])
    _, states = run(AddressStep(RULES), internal(posts, GATE_BY_ADDRESS.name), ())
    requests = of_source("sends.requested", a_request("acme", to="gone@example.com"), a_request("acme"))
    assert AddressStep(RULES)(states, internal(requests, GATE_BY_ADDRESS.name)).changed == {}


def test_a_record_without_a_value_is_skipped() -> None:
    for step, topic in ((AddressStep(RULES), GATE_BY_ADDRESS.name), (AccountStep(RULES), GATE_BY_ACCOUNT.name)):
        done = step({}, [FakeRecord(topic, None, b"any key"), FakeRecord(topic, None, None)])
        assert (done.outputs, done.changed) == ([], {})


def test_a_repeated_request_gets_its_first_decision_again_and_uses_no_quota() -> None:
    trial = a_policy("acme", trial_started_at="2020-01-01T00:00:00Z", trial_days=36_500, trial_email_limit=2)
    first, second, third = (a_request("acme") for _ in range(3))
    inputs = [*of_source("accounts.policies", trial), *of_source("sends.requested", first, first, second, third, first)]
    decisions, _, _ = through(inputs)
    assert [d["outcome"] for d in decisions] == ["approved", "approved", "approved", "quota_exceeded", "approved"]
    assert decisions[0] == decisions[1] == decisions[4]


@given(st.integers(0, 2**32), st.lists(st.integers(1, 60), max_size=6))
def test_any_split_into_runs_gives_the_same(seed: int, cuts: list[int]) -> None:
    rng = random.Random(seed)
    addresses = [f"a{n}@example.com" for n in range(3)]
    inputs: list[FakeRecord] = of_source(
        "accounts.policies",
        a_policy("acme", trial_started_at="2020-01-01T00:00:00Z", trial_days=36_500, trial_email_limit=5),
    )
    requests = [a_request("acme", to=rng.choice(addresses)) for _ in range(8)]
    for _ in range(30):
        match rng.randrange(4):
            case 0:
                inputs += of_source("webhooks.sendgrid", [bounce(rng.choice(addresses), rng.randrange(4))])
            case 1:
                action = rng.choice(["suppress", "release"])
                inputs += of_source("suppressions.commands", a_command(action, rng.choice(addresses)))
            case _:
                inputs += of_source("sends.requested", rng.choice(requests))
    whole, split = through(inputs), through(inputs, cuts)
    assert _timeless(whole) == _timeless(split)
    approved = {d["message_id"] for d in whole[0] if d["outcome"] == "approved"}
    assert len(approved) <= 5


def _timeless(found: tuple[list[dict[str, Any]], list[Any], Any]) -> Any:
    """Without the times of the internal records, which differ from run to run."""
    decisions, changes, (addresses, _) = found
    return (
        [{**d, "decided_at": ""} for d in decisions],
        [{**c, "changed_at": ""} for c in changes],
        addresses,
    )
