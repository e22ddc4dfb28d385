"""What the gate said beside an oracle: each decision, and the last state of each address.

In:  the oracle's document, and the topics `sends.decided` and `suppressions.changed`, all of them.
Out: each message that was not decided, or wrongly, or in two ways; each quota that is not exact; each address whose
     state is another than it must be, or whose versions have a gap. Other messages and addresses are passed over.
"""

from collections import defaultdict
from collections.abc import AsyncIterator, Container, Iterator, Mapping
from typing import Any

import orjson

from cli.verifying.difference import Difference
from cli.verifying.oracle import Document, same
from processors.engine import Record
from processors.history import history
from schemas.topics import SENDS_DECIDED, SUPPRESSIONS_CHANGED

__all__ = ["Decisions", "States", "compare_with_gate", "decision_differences", "state_differences"]

Decisions = Mapping[str, list[Any]]
"""The different decisions about a message, by `account/message`."""
States = Mapping[str, Mapping[int, Any]]
"""The states of an address, by `channel:address` and version."""


async def compare_with_gate(bootstrap: str, oracle: Document) -> list[Difference]:
    """Return what differs. Raises BrokerError."""
    if oracle["decides"]:
        return []
    messages = {*oracle["decisions"], *(name for quota in oracle["quotas"].values() for name in quota["messages"])}
    decisions = await _decisions(history(bootstrap, SENDS_DECIDED.name), messages)
    states = await _states(history(bootstrap, SUPPRESSIONS_CHANGED.name), oracle["addresses"])
    return [*decision_differences(decisions, oracle), *state_differences(states, oracle)]


def decision_differences(found: Decisions, oracle: Document) -> Iterator[Difference]:
    """Yield what is wrong with the decisions."""
    quotas = {name: quota for quota in oracle["quotas"].values() for name in quota["messages"]}
    for name in (*oracle["decisions"], *quotas):
        if len(found.get(name, ())) != 1:
            yield Difference("gate", name, "decisions", 1, len(found.get(name, ())))
    for name, wanted in oracle["decisions"].items():
        for said in found.get(name, ()):
            yield from _decision(name, wanted, said)
    for name, quota in oracle["quotas"].items():
        said = [_verdict(one) for message in quota["messages"] for one in found.get(message, ())]
        allowed = {("approved", "ok"), tuple(quota["refused"])}
        approved = sum(outcome == "approved" for outcome, _ in said)
        if approved != quota["approved"] or not allowed.issuperset(said):
            yield Difference("gate", name, "approved within the quota", quota["approved"], sorted(said))


def state_differences(found: States, oracle: Document) -> Iterator[Difference]:
    """Yield what is wrong with the states of addresses."""
    for key, wanted in oracle["addresses"].items():
        states = found.get(key, {})
        if sorted(states) != list(range(1, len(states) + 1)):
            yield Difference("gate", key, "versions", "1, 2, 3 and so on", sorted(states))
        last = states[max(states)] if states else {"scopes": [], "opt_outs": []}
        scopes = {scope["scope"]: scope for scope in last["scopes"]}
        stated = {scope["scope"] for state in states.values() for scope in state["scopes"]}
        if stated - scopes.keys():
            yield Difference("gate", key, "scopes that stay stated", sorted(stated), sorted(scopes))
        for scope, said in wanted["scopes"].items():
            there = scopes.get(scope, {"suppressed": False})
            for name, value in said.items():
                one = there.get("released", {}).get("actor") if name == "actor" else there.get(name)
                if not same(value, one):
                    yield Difference("gate", f"{key} {scope}", name, value, one)
        opt_outs = sorted([o["scope"], o.get("group", ""), o.get("sender", ""), o["reason"]] for o in last["opt_outs"])
        if opt_outs != wanted.get("opt_outs", opt_outs):
            yield Difference("gate", key, "opt_outs", wanted["opt_outs"], opt_outs)


def _decision(name: str, wanted: Mapping[str, Any], said: Mapping[str, Any]) -> Iterator[Difference]:
    if _verdict(said) != (wanted["outcome"], wanted["reason"]):
        yield Difference("gate", name, "decision", f"{wanted['outcome']}/{wanted['reason']}", "/".join(_verdict(said)))
        return
    evidence = wanted.get("evidence", said["evidence"])
    there = len(said["evidence"]) if isinstance(evidence, int) else said["evidence"]
    if there != evidence:
        yield Difference("gate", name, "evidence", evidence, said["evidence"])


def _verdict(said: Mapping[str, Any]) -> tuple[str, str]:
    return said["outcome"], said["reason"]


async def _decisions(records: AsyncIterator[Record], messages: Container[str]) -> Decisions:
    found: defaultdict[str, list[Any]] = defaultdict(list)
    async for record in records:
        said = _json(record)
        if (
            not isinstance(said, dict)
            or not {"account_id", "message_id", "outcome", "reason", "evidence"} <= said.keys()
        ):
            continue
        name = f"{said['account_id']}/{said['message_id']}"
        if name in messages and said not in found[name]:
            found[name].append(said)
    return found


async def _states(records: AsyncIterator[Record], addresses: Container[str]) -> States:
    found: defaultdict[str, dict[int, Any]] = defaultdict(dict)
    async for record in records:
        said = _json(record)
        if not isinstance(said, dict) or not {"channel", "address", "version", "scopes", "opt_outs"} <= said.keys():
            continue
        key = f"{said['channel']}:{said['address']}"
        if key in addresses:
            found[key][said["version"]] = said
    return found


def _json(record: Record) -> Any:
    """The value of a record; None for what somebody wrote that is none. The ledger parks that."""
    try:
        return orjson.loads(record.value or b"")
    except orjson.JSONDecodeError:
        return None
