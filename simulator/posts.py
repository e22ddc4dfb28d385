"""Stories packed as the world delivers them: posts and records, late, out of order and more than once.

In:  stories.
Out: a `Plan`: an ordered list of deliveries (records of our own topics, posts of the providers), and what is in it by
     numbers. An oracle that is given along is told all that must come out.
Promise: the same input gives the same plan, byte for byte. Each fact is delivered at least once, and nothing after
`until_us`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final, Literal, NamedTuple

from simulator.broken import BROKEN, Broken
from simulator.chance import randomness, shuffled
from simulator.durations import DAY, HOUR, MINUTE, SECOND
from simulator.oracle import Oracle
from simulator.providers import PROVIDERS
from simulator.providers.teller import Telling
from simulator.stories import RARE_EVERY, SPREAD_US, FactKind, Story, stories
from simulator.totals import Tally, Totals

__all__ = ["BROKEN_EVERY", "Delivery", "Kind", "Plan", "body_of", "pack", "plan"]

Kind = Literal["request", "decision", "dispatch", "content", "post"]

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
    """The message id; blank for a post."""
    value: bytes
    events: int = 1
    """How many elements a post has; 1 for a record."""
    provider: str = "sendgrid"
    """Who posts it; of no meaning for a record."""
    query: str = ""
    """Of the URL that it is posted to."""

    def url(self, base: str) -> str:
        """Return the URL that a post is sent to, at the gateway `base`."""
        return f"{base.rstrip('/')}/webhooks/{self.provider}{'?' if self.query else ''}{self.query}"


@dataclass(frozen=True, slots=True)
class Plan:
    """All that is delivered, in order."""

    deliveries: list[Delivery]
    totals: Totals

    @property
    def size(self) -> int:
        """Records and elements: what `rate` and `progress` count."""
        return sum(delivery.events for delivery in self.deliveries)


class _Parcel(NamedTuple):
    """One element on its way into a post with others."""

    at_us: int
    number: int
    """No two are equal, so that what stands behind it is never compared."""
    type: str
    """Blank for what is broken."""
    value: bytes


def plan(
    messages: int,
    seed: int,
    *,
    now_us: int,
    accounts: Sequence[str],
    spread_us: int = SPREAD_US,
    rare_every: int = RARE_EVERY,
    broken_every: int = BROKEN_EVERY,
    decides: bool = True,
    oracle: Oracle | None = None,
) -> Plan:
    """Return the plan of `messages` messages, of which nothing comes after `now_us`.

    Beside every `broken_every`-th story (0: none) comes something that can't be read, and is meant so. Without
    `decides` it has no decisions.
    """
    told = stories(
        messages, seed, now_us=now_us, accounts=accounts, spread_us=spread_us, rare_every=rare_every, decides=decides
    )
    return pack(told, seed, until_us=now_us, broken_every=broken_every, oracle=oracle)


def pack(
    told: Iterable[Story], seed: int, *, until_us: int, broken_every: int = 0, oracle: Oracle | None = None
) -> Plan:
    """Return the plan that delivers these stories."""
    packer = _Packer(randomness(f"{seed}/posts"), until_us, oracle)
    for number, story in enumerate(told):
        packer.story(story)
        if broken_every and number % broken_every == broken_every // 2:
            packer.broken(BROKEN[number // broken_every % len(BROKEN)], story.facts[0].at_us if story.facts else 0)
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
            self._deliver(story.provider, telling, at_us, arrivals)
            if self._rng.random() < 0.03:  # told again, later
                again_us = self._arrival(at_us, self._later())
                self._deliver(story.provider, self._retold(telling), again_us, arrivals)
        if self._oracle is not None:
            self._oracle.take(story, {} if PROVIDERS[story.provider].posts_lists else arrivals)

    def broken(self, broken: Broken, at_us: int) -> None:
        """Add something that can't be read. It comes once, so that the dead letters can be counted."""
        value = broken.value(self._rng)
        at_us = at_us or self._until_us
        self._tally.broken += 1
        if self._oracle is not None:
            self._oracle.take_broken(broken.topic, broken.reason, value)
        if broken.kind == "element":
            self._queue.append(_Parcel(at_us, len(self._queue), "", value))
            return
        if broken.kind == "post":
            self._tally.posts[broken.provider] += 1
        else:
            self._tally.records[broken.kind] += 1
        key = "" if broken.kind == "post" else "broken"
        self._deliveries.append(Delivery(broken.kind, at_us, key, value, provider=broken.provider))

    def plan(self) -> Plan:
        """Return all of it."""
        self._lists("sendgrid")
        self._deliveries.sort(key=lambda delivery: delivery.at_us)  # stable: equal times keep this order
        return Plan(self._deliveries, self._tally.totals())

    def _facts(self, story: Story) -> None:
        late: dict[str, int] = {}
        for fact in story.facts:
            # One in a hundred comes late: after what the provider tells of the message. So do its repeats.
            if fact.kind not in late:
                late[fact.kind] = self._later() if self._rng.random() < 0.01 else 0
            at_us = self._arrival(fact.at_us, late[fact.kind])
            self._record(story, fact.kind, at_us, fact.value)
            if fact.kind != "content" and self._rng.random() < 0.01:
                self._record(story, fact.kind, self._arrival(at_us, self._later()), fact.value)

    def _record(self, story: Story, kind: FactKind, at_us: int, value: bytes) -> None:
        self._tally.records[kind] += 1
        self._deliveries.append(Delivery(kind, at_us, story.message_id, value))

    def _deliver(self, provider: str, telling: Telling, at_us: int, arrivals: dict[str, int]) -> None:
        type_ = telling.meaning.type
        if PROVIDERS[provider].posts_lists:
            self._queue.append(_Parcel(at_us, len(self._queue), type_, telling.value))
            return
        arrivals[telling.fact] = min(at_us, arrivals.get(telling.fact, at_us))
        self._tally.posts[provider] += 1
        self._tally.sent[type_] += 1
        self._deliveries.append(Delivery("post", at_us, "", telling.value, provider=provider, query=telling.query))

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
        """Put the queue into posts of about 15."""
        rng = self._rng
        self._queue.sort(reverse=True)
        while self._queue:
            # The number follows a bell around 15; one in a hundred is one element alone.
            wanted = 1 if rng.random() < 0.01 else max(1, min(MOST_IN_A_POST, round(rng.gauss(15, 4))))
            parcels = [self._queue.pop() for _ in range(min(wanted, len(self._queue)))]
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
        self._deliveries.append(Delivery("post", at_us, "", body, len(parcels), provider))

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
