"""Stories packed as the world delivers them: POSTs of about 15 events, late, out of order and more than once.

In:  stories.
Out: a `Plan`: an ordered list of deliveries (requests, decisions, POST bodies), and what is in it by numbers.
Promise: the same input gives the same plan, byte for byte. Each fact is delivered at least once.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final, Literal

from simulator.scripts import HOUR, MINUTE, SECOND, randomness
from simulator.stories import RARE_EVERY, SPREAD_US, Element, Story, stories

__all__ = ["Delivery", "Plan", "Totals", "body_of", "pack", "plan"]

Kind = Literal["request", "decision", "post"]

MOST_IN_A_POST: Final = 25
_BAD: Final = (b'{"email":"ann@example.com","timestamp":1731935400}', b'"no object"', b'{"event":" "}', b"null")


@dataclass(frozen=True, slots=True)
class Delivery:
    """One record of our own topics, or one POST."""

    kind: Kind
    at_us: int
    """When it is on its way, in the plan's own time: for the order, and for who plays it in real time."""
    key: str
    """The message id; blank for a POST."""
    value: bytes
    events: int = 1
    """How many elements a POST has; 1 for a record."""


@dataclass(frozen=True, slots=True)
class Totals:
    """What is in a plan."""

    messages: int
    requests: int
    """Records, repeats included."""
    decisions: int
    decisions_by_outcome: dict[str, int]
    posts: int
    events_sent: int
    """Elements of all POSTs, duplicates included, bad ones not."""
    events_sent_by_type: dict[str, int]
    events_distinct: int
    """What must be found in `message_events` (but for our own facts) and `orphan_events`."""
    events_distinct_by_type: dict[str, int]
    events_orphan: int
    """Distinct events that name no message."""
    events_bad: int
    """Elements that must become dead letters."""

    def as_json(self) -> dict[str, Any]:
        """Return the numbers by name."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Plan:
    """All that is delivered, in order."""

    deliveries: list[Delivery]
    counted: Totals

    def totals(self) -> Totals:
        """Return what is in it."""
        return self.counted

    @property
    def size(self) -> int:
        """Requests, decisions and elements: what `rate` and `progress` count."""
        return sum(delivery.events for delivery in self.deliveries)


@dataclass(slots=True)
class _Tally:
    messages: int = 0
    requests: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    sent: Counter[str] = field(default_factory=Counter)
    distinct: Counter[str] = field(default_factory=Counter)
    orphans: int = 0
    facts: set[str] = field(default_factory=set)

    def story(self, story: Story) -> None:
        self.messages += 1
        self.requests += len(story.requests)
        if story.decision:
            self.outcomes[story.outcome] += 1
        for element in story.elements:
            if element.fact not in self.facts:
                self.facts.add(element.fact)
                self.distinct[element.type] += 1
                self.orphans += not element.names_message

    def totals(self, posts: int, bad: int) -> Totals:
        return Totals(
            messages=self.messages,
            requests=self.requests,
            decisions=self.outcomes.total(),
            decisions_by_outcome=dict(sorted(self.outcomes.items())),
            posts=posts,
            events_sent=self.sent.total(),
            events_sent_by_type=dict(sorted(self.sent.items())),
            events_distinct=self.distinct.total(),
            events_distinct_by_type=dict(sorted(self.distinct.items())),
            events_orphan=self.orphans,
            events_bad=bad,
        )


def plan(
    messages: int,
    seed: int,
    *,
    now_us: int,
    accounts: Sequence[str],
    spread_us: int = SPREAD_US,
    bad_elements: int = 0,
    rare_every: int = RARE_EVERY,
) -> Plan:
    """Return the plan of `messages` messages. `bad_elements` of the elements can't be read, and are meant so."""
    told = stories(messages, seed, now_us=now_us, accounts=accounts, spread_us=spread_us, rare_every=rare_every)
    return pack(told, seed, bad_elements=bad_elements)


def pack(told: Iterable[Story], seed: int, *, bad_elements: int = 0) -> Plan:
    """Return the plan that delivers these stories."""
    rng = randomness(f"{seed}/posts")
    tally = _Tally()
    deliveries: list[Delivery] = []
    queue: list[tuple[int, int, Element]] = []
    for story in told:
        tally.story(story)
        deliveries += _facts(story, rng)
        for element in story.elements:
            at_us = element.at_us + _delay(rng)
            queue.append((at_us, len(queue), element))
            if rng.random() < 0.03:  # told again, later
                again = _renamed(element, rng) if rng.random() < 0.5 else element
                queue.append((at_us + _later(rng), len(queue), again))
    queue.sort(key=lambda entry: entry[:2])
    posts = _posts(queue, rng, tally, bad_elements)
    deliveries += posts
    deliveries.sort(key=lambda delivery: delivery.at_us)  # stable: equal times keep this order
    return Plan(deliveries, tally.totals(len(posts), bad_elements))


def body_of(values: Iterable[bytes]) -> bytes:
    """Return the body of a POST with these elements, ended as SendGrid ends it."""
    return b"[" + b",\r\n".join(values) + b"]\r\n"


def _facts(story: Story, rng: Random) -> list[Delivery]:
    # One in a hundred comes late: after what SendGrid tells of the message.
    late = _later(rng) if rng.random() < 0.01 else 0
    facts = [Delivery("request", fact.at_us + late, story.message_id, fact.value) for fact in story.requests]
    if story.decision:
        late = _later(rng) if rng.random() < 0.01 else 0
        facts.append(Delivery("decision", story.decision.at_us + late, story.message_id, story.decision.value))
    return facts


def _delay(rng: Random) -> int:
    """How long SendGrid keeps an element: mostly seconds; sometimes long enough that others overtake it."""
    dice = rng.random()
    if dice < 0.85:
        return int(rng.random() * 3 * SECOND)
    if dice < 0.97:
        return int(rng.random() * MINUTE)
    return int(rng.random() * HOUR)


def _later(rng: Random) -> int:
    return int(SECOND + rng.random() ** 3 * 2 * HOUR)


def _renamed(element: Element, rng: Random) -> Element:
    """The same fact under another `sg_event_id`, as SendGrid is known to send it."""
    event_id = "".join(rng.sample(element.event_id, len(element.event_id)))
    value = element.value.replace(element.event_id.encode(), event_id.encode())
    return Element(element.at_us, element.type, element.fact, event_id, element.names_message, value)


def _posts(queue: list[tuple[int, int, Element]], rng: Random, tally: _Tally, bad_elements: int) -> list[Delivery]:
    posts: list[Delivery] = []
    start = 0
    bad_left = bad_elements
    while start < len(queue):
        # The number follows a bell around 15.
        end = start + max(1, min(MOST_IN_A_POST, round(rng.gauss(15, 4))))
        entries = queue[start:end]
        start = end
        elements = [element for _, _, element in entries]
        if rng.random() < 0.1:  # a copy inside the POST
            elements.append(rng.choice(elements))
        if rng.random() < 0.3:
            rng.shuffle(elements)
        again = rng.random() < 0.01  # SendGrid saw no 2xx: the POST comes again, byte for byte
        values = [element.value for element in elements]
        if bad_left:
            # A POST with bad elements comes once, so that the dead letters can be counted.
            again = False
            here = bad_left if start >= len(queue) else 1
            bad_left -= here
            values += [_BAD[n % len(_BAD)] for n in range(bad_left, bad_left + here)]
        tally.sent.update(element.type for element in elements * (1 + again))
        body = body_of(values)
        at_us = entries[-1][0]
        posts.append(Delivery("post", at_us, "", body, len(values)))
        if again:
            posts.append(Delivery("post", at_us + _later(rng), "", body, len(values)))
    return posts
