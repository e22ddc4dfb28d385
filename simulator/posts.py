"""Stories packed as the world delivers them: posts and records, late, out of order and more than once.

In:  stories.
Out: a `Plan`: an ordered list of deliveries (records of our own topics, posts of the providers), and what is in it by
     numbers. An oracle that is given along is told all that must come out.
Promise: the same input gives the same plan, byte for byte. Each fact is delivered at least once, and nothing after
`until_us`.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from random import Random
from typing import Final, Literal, NamedTuple

from simulator.broken import BROKEN, Broken
from simulator.chance import randomness, shuffled
from simulator.durations import DAY, HOUR, MINUTE, SECOND
from simulator.oracle import Oracle
from simulator.providers import PROVIDERS
from simulator.providers.teller import Telling
from simulator.stories import Setting, policies, stories
from simulator.story import Fact, FactKind, Story
from simulator.totals import Tally, Totals

__all__ = ["BROKEN_EVERY", "Delivery", "Kind", "Plan", "body_of", "pack", "plan"]

Kind = FactKind | Literal["post"]

MOST_IN_A_POST: Final = 25
BROKEN_EVERY: Final = 100


@dataclass(frozen=True, slots=True)
class Delivery:
    """One record of our own topics, or one post."""

    kind: Kind
    at_us: int
    """When it arrives, in the plan's own time: for the order, for who plays it in real time, and of a post over Kafka
    also its `received_at`."""
    key: str
    """The key of its record; blank for a post."""
    value: bytes
    events: int = 1
    """How many elements a post has; 1 for a record."""
    provider: str = "sendgrid"
    """Who posts it; of no meaning for a record."""
    query: str = ""
    """Of the URL that it is posted to."""
    chapter: int = 0
    """Where a gate decides, it has read all of the chapters before when this one is sent."""

    def url(self, base: str) -> str:
        """Return the URL that a post is sent to, at the gateway `base`."""
        return f"{base.rstrip('/')}/webhooks/{self.provider}{'?' if self.query else ''}{self.query}"


@dataclass(frozen=True, slots=True)
class Plan:
    """All that is delivered, in order."""

    deliveries: list[Delivery]
    totals: Totals

    @property
    def chapters(self) -> Iterator[list[Delivery]]:
        """The deliveries of each chapter."""
        for _, some in groupby(self.deliveries, key=lambda delivery: delivery.chapter):
            yield list(some)

    @property
    def size(self) -> int:
        """Records and elements: what `rate` and `progress` count."""
        return sum(delivery.events for delivery in self.deliveries)


class _Parcel(NamedTuple):
    """One element on its way into a post with others."""

    chapter: int
    at_us: int
    number: int
    """No two are equal, so that what stands behind it is never compared."""
    type: str
    """Blank for what is broken."""
    value: bytes


def plan(
    messages: int,
    seed: int,
    setting: Setting,
    *,
    broken_every: int = BROKEN_EVERY,
    policies_us: int | None = None,
    oracle: Oracle | None = None,
) -> Plan:
    """Return the plan of `messages` messages, of which nothing comes after `setting.now_us`.

    Beside every `broken_every`-th story (0: none) comes something that can't be read, and is meant so. Where a gate
    decides, the accounts' policies come first, written at `policies_us` (else the present).
    """
    said = [] if setting.decides else policies(setting.accounts, policies_us or setting.now_us)
    told = stories(messages, seed, setting)
    return pack(told, seed, until_us=setting.now_us, broken_every=broken_every, before=said, oracle=oracle)


def pack(
    told: Iterable[Story],
    seed: int,
    *,
    until_us: int,
    broken_every: int = 0,
    before: Iterable[Fact] = (),
    oracle: Oracle | None = None,
) -> Plan:
    """Return the plan that delivers these stories, after the records `before`."""
    packer = _Packer(randomness(f"{seed}/posts"), until_us, oracle)
    for fact in before:
        packer.record(fact, until_us)
    for number, story in enumerate(told):
        packer.story(story)
        if broken_every and number % broken_every == broken_every // 2:
            broken = BROKEN[number // broken_every % len(BROKEN)]
            packer.broken(broken, story.facts[0].at_us if story.facts else 0, story.told_in)
    return packer.plan()


def body_of(values: Iterable[bytes]) -> bytes:
    """Return the body of a post with these elements, ended as SendGrid ends it."""
    return b"[" + b",\r\n".join(values) + b"]\r\n"


class _Packer:
    """Puts tellings into posts, and decides when each arrives."""

    def __init__(self, rng: Random, until_us: int, oracle: Oracle | None) -> None:
        self._rng = rng
        self._until_us = until_us
        self._oracle = oracle
        self._tally = Tally()
        self._deliveries: list[Delivery] = []
        self._queue: list[_Parcel] = []
        """Elements for the one provider that posts lists."""

    def story(self, story: Story) -> None:
        """Take in all that a story has."""
        self._tally.story(story)
        self._facts(story)
        arrivals: dict[str, int] = {}
        for telling in story.tellings:
            at_us = self._arrival(telling.at_us, self._delay())
            self._deliver(story, telling, at_us, arrivals)
            if self._rng.random() < 0.03:  # told again, later
                again_us = self._arrival(at_us, self._later())
                self._deliver(story, self._retold(telling), again_us, arrivals)
        if self._oracle is not None:
            self._oracle.take(story, {} if PROVIDERS[story.provider].posts_lists else arrivals)

    def broken(self, broken: Broken, at_us: int, chapter: int) -> None:
        """Add something that can't be read. It comes once, so that the dead letters can be counted."""
        value = broken.value(self._rng)
        at_us = at_us or self._until_us
        self._tally.broken += 1
        if self._oracle is not None:
            self._oracle.take_broken(broken.topic, broken.reason, value)
        if broken.kind == "element":
            self._queue.append(_Parcel(chapter, at_us, len(self._queue), "", value))
            return
        if broken.kind == "post":
            self._tally.posts[broken.provider] += 1
        else:
            self._tally.records[broken.kind] += 1
        key = "" if broken.kind == "post" else "broken"
        delivery = Delivery(broken.kind, at_us, key, value, provider=broken.provider, chapter=chapter)
        self._deliveries.append(delivery)

    def plan(self) -> Plan:
        """Return all of it."""
        self._lists("sendgrid")
        self._deliveries.sort(key=lambda delivery: (delivery.chapter, delivery.at_us))  # stable: equals keep this order
        return Plan(self._deliveries, self._tally.totals())

    def record(self, fact: Fact, at_us: int) -> None:
        """Add one record, to arrive at that time."""
        self._tally.records[fact.kind] += 1
        self._deliveries.append(Delivery(fact.kind, at_us, fact.key, fact.value, chapter=fact.chapter))

    def _facts(self, story: Story) -> None:
        late: dict[str, int] = {}
        last_us: dict[str, int] = {}
        for fact in story.facts:
            # One in a hundred comes late: after what the provider tells of the message. So do its repeats.
            if fact.kind not in late:
                late[fact.kind] = self._later() if self._rng.random() < 0.01 else 0
            # The first of two requests is the one that a gate decides: their order must be known.
            at_us = max(self._arrival(fact.at_us, late[fact.kind]), last_us.get(fact.kind, 0))
            last_us[fact.kind] = at_us
            self.record(fact, at_us)
            if fact.kind != "content" and self._rng.random() < 0.01:
                self.record(fact, self._arrival(at_us, self._later()))

    def _deliver(self, story: Story, telling: Telling, at_us: int, arrivals: dict[str, int]) -> None:
        type_, provider, chapter = telling.meaning.type, story.provider, story.told_in
        if PROVIDERS[provider].posts_lists:
            self._queue.append(_Parcel(chapter, at_us, len(self._queue), type_, telling.value))
            return
        arrivals[telling.fact] = min(at_us, arrivals.get(telling.fact, at_us))
        self._tally.posts[provider] += 1
        self._tally.sent[type_] += 1
        self._deliveries.append(
            Delivery("post", at_us, "", telling.value, provider=provider, query=telling.query, chapter=chapter)
        )

    def _retold(self, telling: Telling) -> Telling:
        """Return the same telling; half of them under another id of the provider's, as it is known to happen."""
        if not telling.own_id or self._rng.random() < 0.5:
            return telling
        own_id = shuffled(telling.own_id, self._rng)
        value = telling.value.replace(telling.own_id.encode(), own_id.encode(), 1)
        return Telling(
            telling.at_us, telling.fact, telling.meaning, telling.names_message, value, telling.query, own_id
        )

    def _lists(self, provider: str) -> None:
        """Put the queue into posts of about 15, each of one chapter."""
        rng = self._rng
        self._queue.sort(reverse=True)
        while self._queue:
            chapter = self._queue[-1].chapter
            # The number follows a bell around 15; one in a hundred is one element alone.
            wanted = 1 if rng.random() < 0.01 else max(1, min(MOST_IN_A_POST, round(rng.gauss(15, 4))))
            parcels: list[_Parcel] = []
            while self._queue and self._queue[-1].chapter == chapter and len(parcels) < wanted:
                parcels.append(self._queue.pop())
            at_us = parcels[-1].at_us
            whole = [parcel for parcel in parcels if parcel.type]
            if whole and rng.random() < 0.1:  # a copy inside the post
                parcels.append(rng.choice(whole))
            if rng.random() < 0.3:
                rng.shuffle(parcels)
            body = self._body(parcels)
            self._post(provider, at_us, body, parcels)
            if len(whole) == len(parcels) and rng.random() < 0.01:  # it saw no 2xx, and comes again, byte for byte
                self._post(provider, self._arrival(at_us, self._later()), body, parcels)

    def _post(self, provider: str, at_us: int, body: bytes, parcels: Sequence[_Parcel]) -> None:
        self._tally.posts[provider] += 1
        self._tally.sent.update(parcel.type for parcel in parcels if parcel.type)
        chapter = parcels[0].chapter
        self._deliveries.append(Delivery("post", at_us, "", body, len(parcels), provider, chapter=chapter))

    def _body(self, parcels: Sequence[_Parcel]) -> bytes:
        if len(parcels) == 1 and parcels[0].type and self._rng.random() < 0.5:
            return parcels[0].value  # an object counts as a list of one
        body = body_of(parcel.value for parcel in parcels)
        return b"\xef\xbb\xbf" + body if self._rng.random() < 0.005 else body

    def _arrival(self, at_us: int, delay_us: int) -> int:
        """Return when something arrives that is delayed: never after the end of the plan."""
        if at_us + delay_us <= self._until_us:
            return at_us + delay_us
        return at_us + int(self._rng.random() * max(0, self._until_us - at_us))

    def _delay(self) -> int:
        """How long a provider keeps what it tells: mostly seconds; sometimes long enough that others overtake it."""
        dice = self._rng.random()
        if dice < 0.85:
            return int(self._rng.random() * 3 * SECOND)
        if dice < 0.97:
            return int(self._rng.random() * MINUTE)
        return int(self._rng.random() * HOUR)

    def _later(self) -> int:
        """How much later something comes again: within hours, or days."""
        longest = 3 * DAY if self._rng.random() < 0.1 else 2 * HOUR
        return int(SECOND + self._rng.random() ** 3 * longest)
