"""Compare what the gate has published with what it must publish. Each difference is one line; none means success.

In:  an `Expected`, and the values of `sends.decided` and `suppressions.changed`.
Out: the differences, each beginning with what is wrong: lost, invented, conflicting, wrong, quota, version, state.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from tests.gate.oracle import APPROVED, Expected, ExpectedAddress, ExpectedDecision

__all__ = ["differences"]

Json = dict[str, Any]


def differences(expected: Expected, decided: Iterable[bytes], changed: Iterable[bytes]) -> list[str]:
    """Return the differences. `decided` and `changed` are all records of the accounts and addresses of one case."""
    by_message: defaultdict[str, set[bytes]] = defaultdict(set)
    for value in decided:
        by_message[json.loads(value)["message_id"]].add(value)
    changes: defaultdict[str, list[Json]] = defaultdict(list)
    for value in changed:
        change = json.loads(value)
        changes[change["address"]].append(change)
    decisions = {message: json.loads(min(values)) for message, values in by_message.items()}
    return [
        *(f"lost: no decision of {message}" for message in sorted(expected.requests.keys() - by_message.keys())),
        *(f"invented: a decision of {message}" for message in sorted(by_message.keys() - expected.requests.keys())),
        *(f"conflicting: {len(v)} decisions of {message}" for message, v in sorted(by_message.items()) if len(v) > 1),
        *_decisions(expected, decisions, changes),
        *_quotas(expected, decisions),
        *_addresses(expected, changes),
    ]


def _decisions(expected: Expected, decisions: dict[str, Json], changes: dict[str, list[Json]]) -> Iterator[str]:
    for message, decision in decisions.items():
        if message not in expected.requests:
            continue
        request = expected.requests[message]
        for name in ("account_id", "channel", "to"):
            if decision[name] != request[name]:
                yield f"wrong: {name} of {message} is {decision[name]}, not {request[name]}"
        if decision["request"] != request:
            yield f"wrong: the request of {message} is not the first one"
        if message in expected.decided:
            yield from _decision(expected.decided[message], decision, changes.get(request["to"].strip().lower(), []))


def _decision(due: ExpectedDecision, decision: Json, changes: list[Json]) -> Iterator[str]:
    message, evidence = decision["message_id"], decision["evidence"]
    if (decision["outcome"], decision["reason"]) != due[:2]:
        yield f"wrong: {message} to {decision['to']} is {decision['outcome']}, {decision['reason']}; not {due[:2]}"
    elif tuple(evidence[: len(due.known)]) != due.known or len(set(evidence)) != len(due.known) + due.events:
        yield f"wrong: evidence of {message} ({due.reason}) is {evidence}, not {due.known} and {due.events} events"
    elif due.outcome == "suppressed" and not any(s["evidence"] == evidence for c in changes for s in c["scopes"]):
        yield f"wrong: evidence of {message} ({due.reason}) was never published for its address"


def _quotas(expected: Expected, decisions: dict[str, Json]) -> Iterator[str]:
    for quota in expected.quotas:
        found = [decisions[message] for message in quota.messages if message in decisions]
        approved = [d for d in found if d["outcome"] == "approved"]
        if len(approved) != quota.approved:
            yield f"quota: {len(approved)} of {len(found)} of {quota.account} are approved, not {quota.approved}"
        for decision in found:
            yield from _decision(APPROVED if decision in approved else quota.refused, decision, [])


def _addresses(expected: Expected, changes: dict[str, list[Json]]) -> Iterator[str]:
    for address in sorted(expected.changes.keys() | changes.keys()):
        published = changes.get(address, [])
        versions, due = [change["version"] for change in published], expected.changes.get(address, 0)
        if versions != list(range(1, due + 1)):
            yield f"version: {address} has {versions}, not 1 to {due}"
        elif published and (found := _address(published[-1])) != expected.addresses[address]:
            yield f"state: {address} has {found}, not {expected.addresses[address]}"


def _address(change: Json) -> ExpectedAddress:
    scopes = {
        s["scope"]: (s["reason"], datetime.fromisoformat(s["since"])) if s["suppressed"] else None
        for s in change["scopes"]
    }
    outs = ((out["scope"], out.get("group", ""), out.get("sender", "")) for out in change["opt_outs"])
    return ExpectedAddress(scopes, frozenset(outs))
