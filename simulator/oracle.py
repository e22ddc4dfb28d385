"""The oracle: everything that the product must make of a plan, as one JSON document.

In:  the messages of a plan with their arrival times, and its malformed posts and records.
Out: the document that `simulate --oracle` writes and `verify --oracle` reads; docs/reference/simulator.md describes it.
Promise: the same plan gives the same bytes.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final

import orjson

from schemas.decoding.ids import ALL
from schemas.decoding.times import rfc3339
from simulator.address_state import USUAL_LIMITS, AddressEvent, Limits, address_state
from simulator.expectation import ANY, DistinctEvent, Expected, expect
from simulator.message import GeneratedMessage
from simulator.providers import PROVIDERS

__all__ = ["VERSION", "Oracle"]

VERSION: Final = 2


@dataclass(slots=True)
class _Quota:
    """Messages that share a quota; exactly `approved` of them are approved."""

    approved: int
    refused: list[str]
    """Outcome and reason of the others."""
    messages: list[str] = field(default_factory=list)


class Oracle:
    """Collects the expected results, one message at a time."""

    def __init__(
        self, seed: int, *, decides: bool = True, arrivals_known: bool = True, limits: Limits = USUAL_LIMITS
    ) -> None:
        """`decides`: the plan contains the decisions; otherwise the expected decisions of a gate are collected too.

        `arrivals_known`: the plan sets the arrival times of posts (over Kafka); otherwise only the gateway knows them.

        `limits`: when bounces suppress an address.
        """
        self.limits = limits
        self.seed = seed
        self.decides = decides
        self.arrivals_known = arrivals_known
        self._messages: dict[str, orjson.Fragment] = {}
        self._events: dict[str, dict[str, list[int]]] = {}
        self._content: list[str] = []
        self._orphans: dict[str, tuple[str, str, str, str]] = {}
        self._dead: defaultdict[str, list[str]] = defaultdict(list)
        self._bounced: Counter[str] = Counter()
        self._decisions: dict[str, dict[str, Any]] = {}
        self._quotas: dict[str, _Quota] = {}
        self._address_events: defaultdict[str, list[AddressEvent]] = defaultdict(list)

    def take(self, message: GeneratedMessage, arrivals: Mapping[str, int]) -> None:
        """Add one message. `arrivals`: the first arrival of each event, if its provider posts one event at a time."""
        expected = expect(message, arrivals if self.arrivals_known else {})
        name = f"{message.account_id}/{message.message_id}"
        channel = PROVIDERS[message.provider].channel
        if expected.row is not None:
            # Serialized at once: as bytes a row needs a fifth of the memory.
            self._messages[name] = _fragment(expected.row)
            self._events[name] = dict(sorted(expected.events.items()))
        self._bounced.update(f"{message.account_id}/{channel}:{address}" for address in expected.bounced)
        if any(record.kind == "content" for record in message.records):
            self._content.append(name)
        for orphan in expected.orphans:
            event = orphan.expected
            self._orphans[orphan.event_key] = (message.provider, event.type, event.provider_message_id, event.address)
            if event.type == "subscription_changed" and not event.provider_message_id:
                self._suppression(orphan)
        if not self.decides:
            self._expect_decision(name, message)
            self._collect_address_events(message, channel, expected)

    def take_broken(self, topic: str, reason: str, value: bytes) -> None:
        """Add a value that must become a dead letter of `topic`, byte for byte."""
        self._dead[f"{topic}/{reason}"].append(sha256(value).hexdigest())

    def as_json(self) -> bytes:
        """Return the document."""
        orphans = Counter(f"{provider}/{type_}" for provider, type_, _, _ in self._orphans.values())
        addresses = {key: address_state(found, self.limits) for key, found in sorted(self._address_events.items())}
        document: dict[str, Any] = {
            "version": VERSION,
            "seed": self.seed,
            "decides": self.decides,
            "messages": dict(sorted(self._messages.items())),
            "events": dict(sorted(self._events.items())),
            "orphans": dict(sorted(orphans.items())),
            "orphan_facts": sorted(self._orphans.values()),
            "dead_letters": {name: len(values) for name, values in sorted(self._dead.items())},
            "dead_letter_values": {name: sorted(values) for name, values in sorted(self._dead.items())},
            "content": sorted(self._content),
            "bounced": {name: self._bounces(name, addresses) for name in sorted(self._bounced)},
        }
        if not self.decides:
            reasons = Counter(f"{decision['outcome']}/{decision['reason']}" for decision in self._decisions.values())
            document |= {
                "decisions": dict(sorted(self._decisions.items())),
                "reasons": dict(sorted(reasons.items())),
                "quotas": dict(sorted(self._quotas.items())),
                "addresses": addresses,
            }
        return orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE)

    def _bounces(self, name: str, addresses: Mapping[str, Any]) -> dict[str, Any]:
        """Return the expected row of `bounced_emails` for an address of an account."""
        account, _, key = name.partition("/")
        fields: dict[str, Any] = {"bounces": self._bounced[name]}
        if not self.decides:
            scopes = addresses[key]["scopes"] if key in addresses else {}
            fields["suppressed"] = any(scopes.get(scope, {}).get("suppressed") for scope in (ALL, account))
        return fields

    def _expect_decision(self, name: str, message: GeneratedMessage) -> None:
        """Add the decision that the gate must make."""
        for decision in message.decisions:
            if message.quota is None:
                self._decisions[name] = {"outcome": decision.outcome, "reason": decision.reason}
                if decision.evidence is not None:
                    self._decisions[name]["evidence"] = decision.evidence
                continue
            planned = message.quota
            quota = self._quotas.setdefault(planned.name, _Quota(planned.approved, ["quota_exceeded", decision.reason]))
            quota.messages.append(name)

    def _collect_address_events(self, message: GeneratedMessage, channel: str, expected: Expected) -> None:
        """Add the events and commands that are about addresses."""
        for event in expected.distinct_events:
            address_event = event.expected.address_event
            if address_event is None or not event.expected.address:
                continue
            scope = message.account_id if address_event.kind in _OF_ACCOUNT and event.names_message else ALL
            bounced = event.expected.provider_message_id or (
                message.message_id if event.names_message else event.event_key
            )
            self._address_events[f"{channel}:{event.expected.address}"].append(
                address_event._replace(at_us=event.at_us, scope=scope, message=bounced, stage=message.event_stage)
            )
        for person, address_event in message.address_events:
            self._address_events[f"{person.channel}:{person.key}"].append(address_event)

    def _suppression(self, change: DistinctEvent) -> None:
        """Add the row of a suppression list change that names no message: a row of its own, in account `*`."""
        expected = change.expected
        changed_us = expected.occurred_us or 0
        row = {
            "account_id": "*",
            "email_id": ANY,
            "channel": "email",
            "type": "Suppression list",
            "to_address": expected.written_address,
            "status": "Subscriptionchange",
            "sub_status": expected.sub_status,
            "date_sent": rfc3339(changed_us - changed_us % 1000),
        }
        self._messages[f"*/{expected.address}/{rfc3339(changed_us)}"] = _fragment(row)


_OF_ACCOUNT: Final = ("unsubscribed", "resubscribed")
"""The kinds of address events that apply only to mail of the event's account."""


def _fragment(row: Mapping[str, Any]) -> orjson.Fragment:
    return orjson.Fragment(bytes(memoryview(orjson.dumps(row))))
