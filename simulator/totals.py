"""The totals of a plan: how many messages, records, posts and events it has."""

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

from simulator.message import GeneratedMessage

__all__ = ["Tally", "Totals"]


@dataclass(frozen=True, slots=True)
class Totals:
    """The totals of a plan."""

    messages: int
    messages_by_provider: dict[str, int]
    requests: int
    """Number of records, repeats included; likewise below."""
    decisions: int
    """Those that the plan contains: none if a gate decides."""
    decisions_by_outcome: dict[str, int]
    """Expected decisions, of the plan or the gate; without messages under a quota."""
    policies: int
    preferences: int
    commands: int
    dispatches: int
    contents: int
    posts: int
    posts_by_provider: dict[str, int]
    events_sent: int
    """Events in all posts, with duplicates, without malformed ones."""
    events_sent_by_type: dict[str, int]
    events_distinct: int
    """Events expected in `message_events` (without our own) and `orphan_events`."""
    events_distinct_by_type: dict[str, int]
    broken: int
    """Posts, elements and records that must become dead letters."""

    def as_json(self) -> dict[str, Any]:
        """Return the numbers by name."""
        return asdict(self)


@dataclass(slots=True)
class Tally:
    """Counts while a plan is packed."""

    providers: Counter[str] = field(default_factory=Counter)
    records: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    posts: Counter[str] = field(default_factory=Counter)
    sent: Counter[str] = field(default_factory=Counter)
    distinct: Counter[str] = field(default_factory=Counter)
    broken: int = 0
    _alerts: set[str] = field(default_factory=set)

    def message(self, message: GeneratedMessage) -> None:
        """Count a message."""
        self.providers[message.provider] += 1
        self.outcomes.update(decision.outcome for decision in message.decisions if decision.outcome)
        types = {delivery.event_key: delivery.expected.type for delivery in message.event_deliveries}
        for event_key, type_ in types.items():
            if type_ == "provider_alert":  # the one event that two messages may share
                if event_key in self._alerts:
                    continue
                self._alerts.add(event_key)
            self.distinct[type_] += 1

    def totals(self) -> Totals:
        """Return the totals."""
        return Totals(
            messages=self.providers.total(),
            messages_by_provider=_in_order(self.providers),
            requests=self.records["request"],
            decisions=self.records["decision"],
            decisions_by_outcome=_in_order(self.outcomes),
            policies=self.records["policy"],
            preferences=self.records["preference"],
            commands=self.records["command"],
            dispatches=self.records["dispatch"],
            contents=self.records["content"],
            posts=self.posts.total(),
            posts_by_provider=_in_order(self.posts),
            events_sent=self.sent.total(),
            events_sent_by_type=_in_order(self.sent),
            events_distinct=self.distinct.total(),
            events_distinct_by_type=_in_order(self.distinct),
            broken=self.broken,
        )


def _in_order(counter: Counter[str]) -> dict[str, int]:
    return dict(sorted(counter.items()))
