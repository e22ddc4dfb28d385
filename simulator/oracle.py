"""The oracle: all that must come out of a plan, as one JSON document.

In:  the stories of a plan with their arrivals, and what is broken in it on purpose.
Out: the document that `simulate --oracle` writes and `verify --oracle` reads; docs/reference/simulator.md has its form.
Promise: the same plan gives the same bytes.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Final

import orjson

from schemas.times import rfc3339
from simulator.expectation import ANY, Expected, Happened, expect
from simulator.stories import Story

__all__ = ["VERSION", "Oracle"]

VERSION: Final = 1

_BY_DECISION: Final = frozenset(
    {"status", "sub_status", "reason", "code", "classification", "decided_at", "subject", "appointment_id", "anomalies"}
)
"""The columns that somebody else's decision may change: a plan that decides nothing itself says nothing of them."""


class Oracle:
    """Collects what must come out, a story at a time."""

    def __init__(self, seed: int, *, decides: bool = True, arrivals_known: bool = True) -> None:
        """`decides`: the plan decides itself; else the columns that follow from decisions are left out.

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

    def take(self, story: Story, arrivals: Mapping[str, int]) -> None:
        """Take in one story. `arrivals`: the first arrival of each fact whose provider posts it alone."""
        expected = expect(story, arrivals if self.arrivals_known else {})
        name = f"{story.account_id}/{story.message_id}"
        if expected.row is not None:
            self._message(name, expected, decided_elsewhere=not self.decides and story.requested > 0)
        if any(fact.kind == "content" for fact in story.facts):
            self._content.append(name)
        for orphan in expected.orphans:
            meaning = orphan.meaning
            said = (story.provider, meaning.type, meaning.provider_message_id, meaning.address)
            self._orphans[orphan.fact] = said
            if meaning.type == "subscription_changed" and not meaning.provider_message_id:
                self._suppression(orphan)

    def take_broken(self, topic: str, reason: str, value: bytes) -> None:
        """Take in what must become a dead letter of `topic`, byte for byte."""
        self._dead[f"{topic}/{reason}"].append(sha256(value).hexdigest())

    def as_json(self) -> bytes:
        """Return the document."""
        orphans = Counter(f"{provider}/{type_}" for provider, type_, _, _ in self._orphans.values())
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
        }
        return orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE)

    def _message(self, name: str, expected: Expected, *, decided_elsewhere: bool) -> None:
        row = expected.row or {}
        if decided_elsewhere:
            row = {column: value for column, value in row.items() if column not in _BY_DECISION}
        # Written at once: as bytes a row needs a fifth of the memory.
        self._messages[name] = _fragment(row)
        self._events[name] = dict(sorted(expected.events.items()))

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


def _fragment(row: Mapping[str, Any]) -> orjson.Fragment:
    return orjson.Fragment(bytes(memoryview(orjson.dumps(row))))
