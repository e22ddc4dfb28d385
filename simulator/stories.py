"""Stories: what is asked, what is decided and what a provider tells about each of many messages.

In:  a number of messages, a seed, the present, the accounts.
Out: one `Story` for each message: the records of our own topics and the tellings of its provider, with times.
Promise: pure; the same input gives the same bytes; no time lies ahead of the present; a story doesn't depend on how
many there are (but for the last, which can't be the first of two in one call). Among any 1,700 messages every course of
`simulator.courses` is met.
"""

from bisect import bisect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from math import log1p
from random import Random
from typing import Any, Final, Literal, NamedTuple

from schemas.identity import uuid7
from simulator import facts
from simulator.chance import randomness, shuffled
from simulator.courses import COURSES, in_turn
from simulator.durations import HOUR, MS, SECOND
from simulator.facts import APART, Asked, Decided, Dispatched
from simulator.people import TEMPLATES, Template, client, recipient, sender
from simulator.providers import PROVIDERS
from simulator.providers.teller import Envelope, Teller, Telling, json_bytes
from simulator.script import Again, Beat, Script

__all__ = ["RARE_EVERY", "SPREAD_US", "Fact", "FactKind", "Story", "stories", "stories_from_now"]

SPREAD_US: Final = 6 * HOUR
RARE_EVERY: Final = 8
LIVE_RARE_EVERY: Final = 20
CONTENT_SHARE: Final = 0.08

_PROVIDERS: Final = tuple(PROVIDERS)
_SHARES: Final = [provider.share for provider in PROVIDERS.values()]
_OF_PROVIDER: Final = {
    provider: [place for place, course in enumerate(COURSES) if provider in course.providers] for provider in PROVIDERS
}
_COURSE_WEIGHTS: Final = {
    provider: list(accumulate(COURSES[place].weight for place in places)) for provider, places in _OF_PROVIDER.items()
}
_TEMPLATE_WEIGHTS: Final = list(accumulate(template.weight for template in TEMPLATES))

FactKind = Literal["request", "decision", "dispatch", "content"]


@dataclass(frozen=True, slots=True)
class Fact:
    """A record of one of our own topics."""

    kind: FactKind
    at_us: int
    value: bytes


@dataclass(frozen=True, slots=True)
class Story:
    """All about one message."""

    account_id: str
    message_id: str
    course: str
    provider: str
    facts: tuple[Fact, ...]
    tellings: tuple[Telling, ...]
    requested: int
    """How many different requests there are, however often each comes."""
    asked: tuple[Asked, ...]
    """The different contents of its requests and of those inside its decisions."""
    decided: tuple[Decided, ...]
    dispatched: Dispatched | None
    shared: bool
    """Whether another message was dispatched under the same id."""


class _Cast(NamedTuple):
    """Who plays in a story."""

    number: int
    account: str
    course: int
    provider: str
    script: Script
    start_us: int
    shared_id: str = ""


def stories(
    messages: int,
    seed: int,
    *,
    now_us: int,
    accounts: Sequence[str],
    spread_us: int = SPREAD_US,
    rare_every: int = RARE_EVERY,
    decides: bool = True,
) -> Iterator[Story]:
    """Yield the stories of `messages` messages, each ended at some moment within `spread_us` before `now_us`.

    Each `rare_every`-th message takes the next course in turn, so that the rare ones are met, too. Without `decides`
    nothing is decided: somebody else will.
    """
    left = messages
    index = 0
    while left:
        rng = randomness(f"{seed}/{index}")
        course, provider, script = _played(index, rng, rare_every, pairs=left > 1, decides=decides)
        start_us = now_us - script.at_us - 30 * SECOND - int(spread_us * rng.random())
        told = _told(_Cast(index, rng.choice(accounts), course, provider, script, start_us))
        yield from told
        left -= len(told)
        index += len(told)


def stories_from_now(index: int, seed: int, *, now_us: int, account: str, decides: bool = True) -> list[Story]:
    """Return a story (or two, in one call) that begins at `now_us` and goes on, hours pressed into seconds."""
    rng = randomness(f"{seed}/live/{index}")
    course, provider, script = _played(index, rng, LIVE_RARE_EVERY, pairs=True, decides=decides)
    script.beats = [_pressed(beat) for beat in script.beats]
    script.at_us = _pressed_time(script.at_us)
    return _told(_Cast(index, account, course, provider, script, now_us))


def _played(index: int, rng: Random, rare_every: int, *, pairs: bool, decides: bool) -> tuple[int, str, Script]:
    """Return the course of a message, its provider, and the script as it was played."""
    if index % rare_every == 0:
        course, provider = in_turn(index // rare_every)
    else:
        provider = rng.choices(_PROVIDERS, _SHARES)[0]
        weights = _COURSE_WEIGHTS[provider]
        course = _OF_PROVIDER[provider][bisect(weights, rng.random() * weights[-1])]
    script = Script(rng)
    COURSES[course].play(script)
    if script.twin and not pairs:
        script = replace(script, twin=False, beats=[])
    if not decides:
        script.verdicts = ()
    return course, provider, script


def _pressed(beat: Beat) -> Beat:
    again = tuple(Again(_pressed_time(once.after_us), once.lacks) for once in beat.again)
    return beat._replace(after_us=_pressed_time(beat.after_us), again=again)


def _pressed_time(after_us: int) -> int:
    """An hour becomes 18 seconds, three days 30; the order stays."""
    return int(2.5 * SECOND * log1p(after_us / (2.5 * SECOND)))


def _told(cast: _Cast) -> list[Story]:
    """Return the story, and that of the other message in the same call where the script wants one."""
    first, provider_message_id = _story(cast)
    if not cast.script.twin:
        return [first]
    other = replace(cast.script, to="other")
    second, _ = _story(
        cast._replace(
            number=cast.number + 1, script=other, start_us=cast.start_us + 2 * SECOND, shared_id=provider_message_id
        )
    )
    return [first, second]


def _story(cast: _Cast) -> tuple[Story, str]:
    """Return one story, and the id that its provider gave the message."""
    script, rng, account = cast.script, cast.script.rng, cast.account
    provider = PROVIDERS[cast.provider]
    message_id = uuid7(cast.start_us, rng.randbytes(10))
    spelled_id = message_id.upper() if "shouted" in script.requests else message_id
    template = _template(script)
    to = recipient(rng, provider.channel, template, script.to)
    ccs = tuple(client(20_000 + rng.randrange(500) * 2 + n) for n in range(script.ccs))
    from_ = sender(account, provider.channel, to)
    teller = provider.teller(Envelope(cast.number, account, spelled_id, template, to, ccs, from_, cast.shared_id), rng)

    requested_us = cast.start_us + rng.randrange(40) * MS
    request = facts.request((account, spelled_id), provider.channel, template, to, ccs, from_, requested_us, rng)
    contents = [request, facts.changed(request, requested_us + APART)]
    asked = [facts.shown(contents[0], to, requested_us), facts.shown(contents[1], to, requested_us + APART)]
    decided = tuple(
        Decided(requested_us + _thinking(rng) + verdict.after_us, *verdict[:3], asked[verdict.about])
        for verdict in script.verdicts
    )
    dispatched = None
    if script.dispatched:
        dispatched_us = requested_us + 1_300 * MS + rng.randrange(500 * MS)
        dispatched = Dispatched(dispatched_us, cast.provider, _dispatched_id(script, teller))

    records = _Records(cast, (account, message_id))
    records.requests(contents, requested_us)
    records.decisions(contents, decided)
    if dispatched:
        whole = teller.whole_id if script.dispatched == "whole" else dispatched.provider_message_id
        records.add("dispatch", dispatched.at_us, facts.dispatch(records.ids, cast.provider, whole, dispatched.at_us))
        if rng.random() < CONTENT_SHARE:
            records.add("content", requested_us, facts.content(records.ids, request, rng))
    story = Story(
        account_id=account,
        message_id=message_id,
        course=COURSES[cast.course].name,
        provider=cast.provider,
        facts=tuple(records.made),
        tellings=tuple(telling for beat in script.beats for telling in teller.tell(beat, cast.start_us)),
        requested=len({kind == "other" for kind in script.requests}),
        asked=tuple(asked[number] for number in _contents_told(script)),
        decided=decided,
        dispatched=dispatched,
        shared=script.twin,
    )
    return story, teller.provider_message_id


class _Records:
    """The records of our own topics about one message."""

    def __init__(self, cast: _Cast, ids: tuple[str, str]) -> None:
        self.ids = ids
        self.made: list[Fact] = []
        self._cast = cast

    def requests(self, contents: Sequence[dict[str, Any]], requested_us: int) -> None:
        """Add what the script asks for."""
        for number, kind in enumerate(self._cast.script.requests):
            said = contents[1] if kind == "other" else contents[0]
            if kind == "respelled":
                said = facts.respelled(said)
            self.add("request", requested_us + number * APART, said)

    def decisions(self, contents: Sequence[dict[str, Any]], decided: Sequence[Decided]) -> None:
        """Add what the script decides."""
        for verdict, made in zip(self._cast.script.verdicts, decided, strict=True):
            said = facts.decision(verdict, contents[verdict.about], self.ids[1], made.at_us, self._cast.script.rng)
            self.add("decision", made.at_us, said)

    def add(self, kind: FactKind, at_us: int, said: dict[str, Any]) -> None:
        """Add a record: in time, or after all that the provider tells."""
        script = self._cast.script
        if kind in script.late:
            at_us = self._cast.start_us + script.at_us + 5 * SECOND + script.rng.randrange(15 * SECOND)
        self.made.append(Fact(kind, at_us, json_bytes(said)))


def _contents_told(script: Script) -> list[int]:
    """Return which of the contents are told, by a request or inside a decision."""
    told = {int(kind == "other") for kind in script.requests} | {verdict.about for verdict in script.verdicts}
    return sorted(told)


def _thinking(rng: Random) -> int:
    """How long a decision takes."""
    return 20 * MS + int(1_200 * MS * rng.random() ** 3)


def _dispatched_id(script: Script, teller: Teller) -> str:
    """Return the id that the dispatch states, as it is compared."""
    if script.dispatched == "other":
        return shuffled(teller.provider_message_id, script.rng)
    return teller.provider_message_id


def _template(script: Script) -> Template:
    if not script.kinds:
        return TEMPLATES[bisect(_TEMPLATE_WEIGHTS, script.rng.random() * _TEMPLATE_WEIGHTS[-1])]
    return script.rng.choice([template for template in TEMPLATES if template.kind in script.kinds])
