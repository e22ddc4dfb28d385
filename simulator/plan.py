"""The plan: generated messages packed into posts and records; late, out of order and more than once, as in reality.

In:  generated messages.
Out: a `Plan`: an ordered list of deliveries (records of our own topics, posts of the providers), and its totals. An
     `Oracle`, if given, collects the expected results.
Promise: the same input gives the same plan, byte for byte. Each event is delivered at least once, and nothing after
`options.now_us`.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from random import Random
from typing import Final, Literal, NamedTuple

from simulator.broken import BROKEN, Broken
from simulator.durations import DAY, HOUR, MINUTE, SECOND
from simulator.message import GeneratedMessage, OwnRecord, RecordKind
from simulator.messages import PlanOptions, generate_messages, policies
from simulator.oracle import Oracle
from simulator.providers import PROVIDERS
from simulator.providers.emitter import EventDelivery
from simulator.randomness import randomness, shuffled
from simulator.totals import Tally, Totals

__all__ = ["BROKEN_EVERY", "Delivery", "Kind", "Plan", "body_of", "plan"]

Kind = RecordKind | Literal["post"]

MOST_IN_A_POST: Final = 25
BROKEN_EVERY: Final = 100


@dataclass(frozen=True, slots=True)
class Delivery:
    """One record of our own topics, or one post."""

    kind: Kind
    at_us: int
    """Arrival time in the plan: it gives the order, and the `received_at` of a post that is written to Kafka."""
    key: str
    """The record key; blank for a post."""
    value: bytes
    events: int = 1
    """Number of elements of a post; 1 for a record."""
    provider: str = "sendgrid"
    """The provider that posts it; not used for a record."""
    query: str = ""
    """Query string of the URL that it is posted to."""
    stage: int = 0
    """If a gate decides, it has read all earlier stages before this one is sent."""

    def url(self, base: str) -> str:
        """Return the URL that a post is sent to, at the gateway `base`."""
        return f"{base.rstrip('/')}/webhooks/{self.provider}{'?' if self.query else ''}{self.query}"


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that is sent, in order."""

    deliveries: list[Delivery]
    totals: Totals

    @property
    def stages(self) -> Iterator[list[Delivery]]:
        """The deliveries of each stage. There is a barrier between two stages."""
        for _, some in groupby(self.deliveries, key=lambda delivery: delivery.stage):
            yield list(some)

    @property
    def size(self) -> int:
        """Number of records and elements: what `progress` counts."""
        return sum(delivery.events for delivery in self.deliveries)


class _QueuedElement(NamedTuple):
    """One element that is waiting to be packed into a post."""

    stage: int
    at_us: int
    number: int
    """Unique, so that the fields after it are never compared."""
    type: str
    """Blank for a malformed element."""
    value: bytes


def plan(
    messages: int,
    seed: int,
    options: PlanOptions,
    *,
    broken_every: int = BROKEN_EVERY,
    policies_us: int | None = None,
    oracle: Oracle | None = None,
) -> Plan:
    """Return the plan of `messages` messages. Nothing in it is later than `options.now_us`.

    Every `broken_every`-th message (0: none) comes with a malformed post or record. If a gate decides, the policies of
    the accounts come first, with the time `policies_us` (default: `options.now_us`).
    """
    packer = _Packer(randomness(f"{seed}/posts"), options.now_us, oracle)
    if not options.decides:
        for record in policies(options.accounts, policies_us or options.now_us):
            packer.record(record, options.now_us)
    for number, message in enumerate(generate_messages(messages, seed, options)):
        packer.message(message)
        if broken_every and number % broken_every == broken_every // 2:
            broken = BROKEN[number // broken_every % len(BROKEN)]
            packer.broken(broken, message.records[0].at_us if message.records else 0, message.event_stage)
    return packer.plan()


def body_of(values: Iterable[bytes]) -> bytes:
    """Return the body of a post with these elements, in SendGrid's layout."""
    return b"[" + b",\r\n".join(values) + b"]\r\n"


class _Packer:
    """Packs event deliveries into posts, and chooses when each arrives."""

    def __init__(self, rng: Random, until_us: int, oracle: Oracle | None) -> None:
        self._rng = rng
        self._until_us = until_us
        self._oracle = oracle
        self._tally = Tally()
        self._deliveries: list[Delivery] = []
        self._queue: list[_QueuedElement] = []
        """Elements for the one provider that posts lists."""

    def message(self, message: GeneratedMessage) -> None:
        """Add everything of a message."""
        self._tally.message(message)
        self._records(message)
        arrivals: dict[str, int] = {}
        for event_delivery in message.event_deliveries:
            at_us = self._arrival(event_delivery.at_us, self._delay())
            self._deliver(message, event_delivery, at_us, arrivals)
            if self._rng.random() < 0.03:  # delivered again, later
                again_us = self._arrival(at_us, self._later())
                self._deliver(message, self._redelivered(event_delivery), again_us, arrivals)
        if self._oracle is not None:
            self._oracle.take(message, {} if PROVIDERS[message.provider].posts_lists else arrivals)

    def broken(self, broken: Broken, at_us: int, stage: int) -> None:
        """Add something malformed. It is sent once, so that the dead letters can be counted."""
        value = broken.value(self._rng)
        at_us = at_us or self._until_us
        self._tally.broken += 1
        if self._oracle is not None:
            self._oracle.take_broken(broken.topic, broken.reason, value)
        if broken.kind == "element":
            self._queue.append(_QueuedElement(stage, at_us, len(self._queue), "", value))
            return
        if broken.kind == "post":
            self._tally.posts[broken.provider] += 1
        else:
            self._tally.records[broken.kind] += 1
        key = "" if broken.kind == "post" else "broken"
        delivery = Delivery(broken.kind, at_us, key, value, provider=broken.provider, stage=stage)
        self._deliveries.append(delivery)

    def plan(self) -> Plan:
        """Return the plan."""
        self._lists("sendgrid")
        self._deliveries.sort(key=lambda delivery: (delivery.stage, delivery.at_us))  # stable: equals keep this order
        return Plan(self._deliveries, self._tally.totals())

    def record(self, record: OwnRecord, at_us: int) -> None:
        """Add one record, to arrive at that time."""
        self._tally.records[record.kind] += 1
        self._deliveries.append(Delivery(record.kind, at_us, record.key, record.value, stage=record.stage))

    def _records(self, message: GeneratedMessage) -> None:
        late: dict[str, int] = {}
        last_us: dict[str, int] = {}
        for record in message.records:
            # One in a hundred is late, after the provider events of the message; so are its repeats.
            if record.kind not in late:
                late[record.kind] = self._later() if self._rng.random() < 0.01 else 0
            # A gate decides the first of two requests, so their order must be known.
            at_us = max(self._arrival(record.at_us, late[record.kind]), last_us.get(record.kind, 0))
            last_us[record.kind] = at_us
            self.record(record, at_us)
            if record.kind != "content" and self._rng.random() < 0.01:
                self.record(record, self._arrival(at_us, self._later()))

    def _deliver(
        self, message: GeneratedMessage, event_delivery: EventDelivery, at_us: int, arrivals: dict[str, int]
    ) -> None:
        type_, provider, stage = event_delivery.expected.type, message.provider, message.event_stage
        if PROVIDERS[provider].posts_lists:
            self._queue.append(_QueuedElement(stage, at_us, len(self._queue), type_, event_delivery.value))
            return
        arrivals[event_delivery.event_key] = min(at_us, arrivals.get(event_delivery.event_key, at_us))
        self._tally.posts[provider] += 1
        self._tally.sent[type_] += 1
        self._deliveries.append(
            Delivery(
                "post", at_us, "", event_delivery.value, provider=provider, query=event_delivery.query, stage=stage
            )
        )

    def _redelivered(self, event_delivery: EventDelivery) -> EventDelivery:
        """Return the same delivery; in half of the cases with another event id of the provider, as providers do."""
        if not event_delivery.provider_event_id or self._rng.random() < 0.5:
            return event_delivery
        provider_event_id = shuffled(event_delivery.provider_event_id, self._rng)
        value = event_delivery.value.replace(event_delivery.provider_event_id.encode(), provider_event_id.encode(), 1)
        return replace(event_delivery, value=value, provider_event_id=provider_event_id)

    def _lists(self, provider: str) -> None:
        """Pack the queue into posts of about 15 elements, each of one stage."""
        rng = self._rng
        self._queue.sort(reverse=True)
        while self._queue:
            stage = self._queue[-1].stage
            # Normally distributed around 15; one in a hundred has one element.
            size = 1 if rng.random() < 0.01 else max(1, min(MOST_IN_A_POST, round(rng.gauss(15, 4))))
            elements: list[_QueuedElement] = []
            while self._queue and self._queue[-1].stage == stage and len(elements) < size:
                elements.append(self._queue.pop())
            at_us = elements[-1].at_us
            valid = [element for element in elements if element.type]
            if valid and rng.random() < 0.1:  # a duplicate inside the post
                elements.append(rng.choice(valid))
            if rng.random() < 0.3:
                rng.shuffle(elements)
            body = self._body(elements)
            self._post(provider, at_us, body, elements)
            if len(valid) == len(elements) and rng.random() < 0.01:  # no 2xx was seen: the same bytes again
                self._post(provider, self._arrival(at_us, self._later()), body, elements)

    def _post(self, provider: str, at_us: int, body: bytes, elements: Sequence[_QueuedElement]) -> None:
        self._tally.posts[provider] += 1
        self._tally.sent.update(element.type for element in elements if element.type)
        stage = elements[0].stage
        self._deliveries.append(Delivery("post", at_us, "", body, len(elements), provider, stage=stage))

    def _body(self, elements: Sequence[_QueuedElement]) -> bytes:
        if len(elements) == 1 and elements[0].type and self._rng.random() < 0.5:
            return elements[0].value  # an object is accepted as a list of one
        body = body_of(element.value for element in elements)
        return b"\xef\xbb\xbf" + body if self._rng.random() < 0.005 else body

    def _arrival(self, at_us: int, delay_us: int) -> int:
        """Return the arrival time of something delayed: never after the end of the plan."""
        if at_us + delay_us <= self._until_us:
            return at_us + delay_us
        return at_us + int(self._rng.random() * max(0, self._until_us - at_us))

    def _delay(self) -> int:
        """Return the delay of a provider: mostly seconds, sometimes long enough to change the order."""
        chance = self._rng.random()
        if chance < 0.85:
            return int(self._rng.random() * 3 * SECOND)
        if chance < 0.97:
            return int(self._rng.random() * MINUTE)
        return int(self._rng.random() * HOUR)

    def _later(self) -> int:
        """Return the delay until a repeat: hours, or days."""
        longest = 3 * DAY if self._rng.random() < 0.1 else 2 * HOUR
        return int(SECOND + self._rng.random() ** 3 * longest)
