"""What is in a plan, by numbers: for whoever sends it and wants to know what was sent."""

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

from simulator.story import Story

__all__ = ["Tally", "Totals"]


@dataclass(frozen=True, slots=True)
class Totals:
    """What is in a plan."""

    messages: int
    messages_by_provider: dict[str, int]
    requests: int
    """Records, repeats included; so of the others."""
    decisions: int
    """That the plan writes itself: none where a gate decides."""
    decisions_by_outcome: dict[str, int]
    """What is decided, whoever does; but for messages of which only how many are approved is known."""
    policies: int
    preferences: int
    commands: int
    dispatches: int
    contents: int
    posts: int
    posts_by_provider: dict[str, int]
    events_sent: int
    """What all posts tell, duplicates included, broken ones not."""
    events_sent_by_type: dict[str, int]
    events_distinct: int
    """What must be found in `message_events` (but for our own facts) and `orphan_events`."""
    events_distinct_by_type: dict[str, int]
    broken: int
    """Posts, elements and records that must become dead letters."""

    def as_json(self) -> dict[str, Any]:
        """Return the numbers by name."""
        return asdict(self)


@dataclass(slots=True)
class Tally:
    """Counts while a plan is made."""

    providers: Counter[str] = field(default_factory=Counter)
    records: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    posts: Counter[str] = field(default_factory=Counter)
    sent: Counter[str] = field(default_factory=Counter)
    distinct: Counter[str] = field(default_factory=Counter)
    broken: int = 0
    _alerts: set[str] = field(default_factory=set)

    def story(self, story: Story) -> None:
        """Count what a story has."""
        self.providers[story.provider] += 1
        self.outcomes.update(decided.outcome for decided in story.decided if decided.outcome)
        types = {telling.fact: telling.meaning.type for telling in story.tellings}
        for fact, type_ in types.items():
            if type_ == "provider_alert":  # the one fact that two stories may share
                if fact in self._alerts:
                    continue
                self._alerts.add(fact)
            self.distinct[type_] += 1

    def totals(self) -> Totals:
        """Return the sums."""
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
