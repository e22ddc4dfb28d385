"""Compare the gate's decisions, and the last state of each address, with an oracle.

In:  the oracle's document, and all records of the topics `sends.decided` and `suppressions.changed`.
Out: each message without a decision, with a wrong one, or with two different ones; each quota that is not exact; each
     address with a wrong state or a gap in its versions. Messages and addresses outside the oracle are ignored.
"""

from collections import defaultdict
from collections.abc import AsyncIterator, Container, Iterator, Mapping
from typing import Any

import orjson

from processors.engine import Record
from processors.kafka.read_topic import read_topic
from schemas.kafka_connection import KafkaAddress
from schemas.topics import SENDS_DECIDED, SUPPRESSIONS_CHANGED
from verification.difference import Difference
from verification.oracle import Document, same

__all__ = ["Decisions", "States", "compare_with_gate", "decision_differences", "state_differences"]

Decisions = Mapping[str, list[Any]]
"""The different decisions about a message, by `account/message`."""
States = Mapping[str, Mapping[int, Any]]
"""The states of an address, by `channel:address` and version."""


async def compare_with_gate(bootstrap: KafkaAddress, oracle: Document) -> list[Difference]:
    """Return the differences. Raises BrokerError."""
    if oracle["decides"]:
        return []
    messages = {*oracle["decisions"], *(name for quota in oracle["quotas"].values() for name in quota["messages"])}
    decisions = await _decisions(read_topic(bootstrap, SENDS_DECIDED.name), messages)
    states = await _states(read_topic(bootstrap, SUPPRESSIONS_CHANGED.name), oracle["addresses"])
    return [*decision_differences(decisions, oracle), *state_differences(states, oracle)]


def decision_differences(found: Decisions, oracle: Document) -> Iterator[Difference]:
    """Yield each difference in the decisions."""
    quotas = {name: quota for quota in oracle["quotas"].values() for name in quota["messages"]}
    for name in (*oracle["decisions"], *quotas):
        if len(found.get(name, ())) != 1:
            yield Difference("gate", name, "decisions", 1, len(found.get(name, ())))
    for name, expected in oracle["decisions"].items():
        for decision in found.get(name, ()):
            yield from _decision(name, expected, decision)
    for name, quota in oracle["quotas"].items():
        verdicts = [_verdict(one) for message in quota["messages"] for one in found.get(message, ())]
        allowed = {("approved", "ok"), tuple(quota["refused"])}
        approved = sum(outcome == "approved" for outcome, _ in verdicts)
        if approved != quota["approved"] or not allowed.issuperset(verdicts):
            yield Difference("gate", name, "approved within the quota", quota["approved"], sorted(verdicts))


def state_differences(found: States, oracle: Document) -> Iterator[Difference]:
    """Yield each difference in the states of addresses."""
    for key, expected in oracle["addresses"].items():
        states = found.get(key, {})
        if sorted(states) != list(range(1, len(states) + 1)):
            yield Difference("gate", key, "versions", "1, 2, 3 and so on", sorted(states))
        last = states[max(states)] if states else {"scopes": [], "opt_outs": []}
        scopes = {scope["scope"]: scope for scope in last["scopes"]}
        stated = {scope["scope"] for state in states.values() for scope in state["scopes"]}
        if stated - scopes.keys():
            yield Difference("gate", key, "scopes that stay stated", sorted(stated), sorted(scopes))
        for scope, fields in expected["scopes"].items():
            state = scopes.get(scope, {"suppressed": False})
            for name, value in fields.items():
                actual = state.get("released", {}).get("actor") if name == "actor" else state.get(name)
                if not same(value, actual):
                    yield Difference("gate", f"{key} {scope}", name, value, actual)
        opt_outs = sorted([o["scope"], o.get("group", ""), o.get("sender", ""), o["reason"]] for o in last["opt_outs"])
        if opt_outs != expected.get("opt_outs", opt_outs):
            yield Difference("gate", key, "opt_outs", expected["opt_outs"], opt_outs)


def _decision(name: str, expected: Mapping[str, Any], decision: Mapping[str, Any]) -> Iterator[Difference]:
    if _verdict(decision) != (expected["outcome"], expected["reason"]):
        yield Difference(
            "gate", name, "decision", f"{expected['outcome']}/{expected['reason']}", "/".join(_verdict(decision))
        )
        return
    evidence = expected.get("evidence", decision["evidence"])
    actual = len(decision["evidence"]) if isinstance(evidence, int) else decision["evidence"]
    if actual != evidence:
        yield Difference("gate", name, "evidence", evidence, decision["evidence"])


def _verdict(decision: Mapping[str, Any]) -> tuple[str, str]:
    return decision["outcome"], decision["reason"]


async def _decisions(records: AsyncIterator[Record], messages: Container[str]) -> Decisions:
    found: defaultdict[str, list[Any]] = defaultdict(list)
    async for record in records:
        decision = _json(record)
        if (
            not isinstance(decision, dict)
            or not {"account_id", "message_id", "outcome", "reason", "evidence"} <= decision.keys()
        ):
            continue
        name = f"{decision['account_id']}/{decision['message_id']}"
        if name in messages and decision not in found[name]:
            found[name].append(decision)
    return found


async def _states(records: AsyncIterator[Record], addresses: Container[str]) -> States:
    found: defaultdict[str, dict[int, Any]] = defaultdict(dict)
    async for record in records:
        state = _json(record)
        if not isinstance(state, dict) or not {"channel", "address", "version", "scopes", "opt_outs"} <= state.keys():
            continue
        key = f"{state['channel']}:{state['address']}"
        if key in addresses:
            found[key][state["version"]] = state
    return found


def _json(record: Record) -> Any:
    """Return the value of a record, or None if it is not JSON: the ledger parks such records."""
    try:
        return orjson.loads(record.value or b"")
    except orjson.JSONDecodeError:
        return None
