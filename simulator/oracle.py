"""The oracle: all that must come out of a plan, as one JSON document.

In:  the stories of a plan with their arrivals, and what is broken in it on purpose.
Out: the document that `simulate --oracle` writes and `verify --oracle` reads; docs/reference/simulator.md has its form.
Promise: the same plan gives the same bytes.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final

import orjson

from schemas.times import rfc3339
from simulator.closing import EVERYWHERE, Word, closed
from simulator.expectation import ANY, Expected, Happened, expect
from simulator.story import Story

__all__ = ["VERSION", "Oracle"]

VERSION: Final = 2


@dataclass(slots=True)
class _Quota:
    """Messages of which so many are approved."""

    approved: int
    refused: list[str]
    """Outcome and reason of the others."""
    messages: list[str] = field(default_factory=list)


class Oracle:
    """Collects what must come out, a story at a time."""

    def __init__(self, seed: int, *, decides: bool = True, arrivals_known: bool = True) -> None:
        """`decides`: the plan decides itself; else a gate decides, and what it must say is collected, too.

        `arrivals_known`: the plan says when its posts arrive (over Kafka); else only the gateway knows.
        """
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
        self._words: defaultdict[str, list[Word]] = defaultdict(list)

    def take(self, story: Story, arrivals: Mapping[str, int]) -> None:
        """Take in one story. `arrivals`: the first arrival of each fact whose provider posts it alone."""
        expected = expect(story, arrivals if self.arrivals_known else {})
        name = f"{story.account_id}/{story.message_id}"
        channel = "sms" if story.provider == "twilio" else "email"
        if expected.row is not None:
            # Written at once: as bytes a row needs a fifth of the memory.
            self._messages[name] = _fragment(expected.row)
            self._events[name] = dict(sorted(expected.events.items()))
        self._bounced.update(f"{story.account_id}/{channel}:{address}" for address in expected.bounced)
        if any(fact.kind == "content" for fact in story.facts):
            self._content.append(name)
        for orphan in expected.orphans:
            meaning = orphan.meaning
            said = (story.provider, meaning.type, meaning.provider_message_id, meaning.address)
            self._orphans[orphan.fact] = said
            if meaning.type == "subscription_changed" and not meaning.provider_message_id:
                self._suppression(orphan)
        if not self.decides:
            self._decision(name, story)
            self._heard(story, channel, expected)

    def take_broken(self, topic: str, reason: str, value: bytes) -> None:
        """Take in what must become a dead letter of `topic`, byte for byte."""
        self._dead[f"{topic}/{reason}"].append(sha256(value).hexdigest())

    def as_json(self) -> bytes:
        """Return the document."""
        orphans = Counter(f"{provider}/{type_}" for provider, type_, _, _ in self._orphans.values())
        addresses = {key: closed(words) for key, words in sorted(self._words.items())}
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
            reasons = Counter(f"{said['outcome']}/{said['reason']}" for said in self._decisions.values())
            document |= {
                "decisions": dict(sorted(self._decisions.items())),
                "reasons": dict(sorted(reasons.items())),
                "quotas": dict(sorted(self._quotas.items())),
                "addresses": addresses,
            }
        return orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE)

    def _bounces(self, name: str, addresses: Mapping[str, Any]) -> dict[str, Any]:
        """What Bounced Emails says of an address of an account."""
        account, _, key = name.partition("/")
        said: dict[str, Any] = {"bounces": self._bounced[name]}
        if not self.decides:
            scopes = addresses[key]["scopes"] if key in addresses else {}
            said["suppressed"] = any(scopes.get(scope, {}).get("suppressed") for scope in (EVERYWHERE, account))
        return said

    def _decision(self, name: str, story: Story) -> None:
        """What the gate must say of a message."""
        for decided in story.decided:
            if story.quota is None:
                self._decisions[name] = {"outcome": decided.outcome, "reason": decided.reason}
                if decided.evidence is not None:
                    self._decisions[name]["evidence"] = decided.evidence
                continue
            wanted = story.quota
            quota = self._quotas.setdefault(wanted.name, _Quota(wanted.approved, ["quota_exceeded", decided.reason]))
            quota.messages.append(name)

    def _heard(self, story: Story, channel: str, expected: Expected) -> None:
        """What is said of addresses."""
        for one in expected.happened:
            word = one.meaning.word
            if word is None or not one.meaning.address:
                continue
            scope = story.account_id if word.what in _OF_ACCOUNT and one.names_message else EVERYWHERE
            message = one.meaning.provider_message_id or (story.message_id if one.names_message else one.fact)
            self._words[f"{channel}:{one.meaning.address}"].append(
                word._replace(at_us=one.at_us, scope=scope, message=message, chapter=story.told_in)
            )
        for person, word in story.words:
            self._words[f"{'email' if '@' in person.key else 'sms'}:{person.key}"].append(word)

    def _suppression(self, change: Happened) -> None:
        """A change of a suppression list that names no message is a row of its own, in account `*`."""
        meaning = change.meaning
        changed_us = meaning.occurred_us or 0
        row = {
            "account_id": "*",
            "email_id": ANY,
            "channel": "email",
            "type": "Suppression list",
            "to_address": meaning.written_address,
            "status": "Subscriptionchange",
            "sub_status": meaning.sub_status,
            "date_sent": rfc3339(changed_us - changed_us % 1000),
        }
        self._messages[f"*/{meaning.address}/{rfc3339(changed_us)}"] = _fragment(row)


_OF_ACCOUNT: Final = ("unsubscribed", "resubscribed")
"""The words that are about the mail of the account that they name."""


def _fragment(row: Mapping[str, Any]) -> orjson.Fragment:
    return orjson.Fragment(bytes(memoryview(orjson.dumps(row))))
