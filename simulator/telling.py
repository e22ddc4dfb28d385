"""How a story is told: a script becomes records of our own topics, and what the provider tells.

In:  a `Cast`: a script, who plays in it, when it begins. Out: its `Story`.
"""

from bisect import bisect
from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate
from random import Random
from typing import Any, Final, NamedTuple

from schemas.identity import uuid7
from simulator import facts
from simulator.chance import shuffled
from simulator.durations import MS, SECOND
from simulator.facts import APART, Asked, Decided, Dispatched
from simulator.people import TEMPLATES, Person, Template, client, own, recipient, sender
from simulator.plot import Ask
from simulator.providers import PROVIDERS
from simulator.providers.postmark import BROADCAST
from simulator.providers.teller import Envelope, Teller, json_bytes
from simulator.script import Script
from simulator.story import Fact, FactKind, Story

__all__ = ["Cast", "told"]

CONTENT_SHARE: Final = 0.08

_TEMPLATE_WEIGHTS: Final = list(accumulate(template.weight for template in TEMPLATES))
_TEMPLATES: Final = {template.id: template for template in TEMPLATES}


class Cast(NamedTuple):
    """Who plays in a story."""

    number: int
    mark: str
    """It is in the name of whoever is this story's alone."""
    account: str
    course: str
    provider: str
    script: Script
    start_us: int
    chapter: int = 0
    """In which it is asked for."""
    shared_id: str = ""
    ask: Ask | None = None
    """What a plot wants of it, …"""
    evidence: tuple[str, ...] | int | None = None
    """… and what its decision must go by."""


def told(cast: Cast) -> list[Story]:
    """Return the story, and that of the other message in the same call where the script wants one."""
    first, provider_message_id = _story(cast)
    if not cast.script.twin:
        return [first]
    other = cast._replace(
        number=cast.number + 1,
        script=replace(cast.script, to="other"),
        start_us=cast.start_us + 2 * SECOND,
        shared_id=provider_message_id,
    )
    return [first, _story(other)[0]]


def _story(cast: Cast) -> tuple[Story, str]:
    """Return one story, and the id that its provider gave the message."""
    script, rng, account, ask = cast.script, cast.script.rng, cast.account, cast.ask
    provider = PROVIDERS[cast.provider]
    message_id = uuid7(cast.start_us, rng.randbytes(10))
    spelled_id = message_id.upper() if "shouted" in script.requests else message_id
    template = _template(cast)
    mark = cast.mark if script.closes else ""
    to = ask.to if ask else recipient(rng, provider.channel, template, script.to, mark)
    ccs = tuple(_copied(rng, mark, n) for n in range(script.ccs))
    from_ = (ask.sender if ask else "") or sender(account, provider.channel, to)
    teller = provider.teller(Envelope(cast.number, account, spelled_id, template, to, ccs, from_, cast.shared_id), rng)

    requested_us = cast.start_us + rng.randrange(40) * MS
    request = facts.request((account, spelled_id), provider.channel, template, to, ccs, from_, requested_us, rng)
    contents = [request, facts.changed(request, requested_us + APART)]
    asked = [facts.shown(contents[0], to, requested_us), facts.shown(contents[1], to, requested_us + APART)]
    dispatched = None
    if script.dispatched:
        dispatched_us = requested_us + 1_300 * MS + rng.randrange(500 * MS)
        dispatched = Dispatched(dispatched_us, cast.provider, _dispatched_id(script, teller))

    told_in = cast.chapter + (script.by_gate and (script.closes or ask is not None))
    records = _Records(cast, (account, message_id), told_in)
    records.requests(contents, requested_us)
    decided = _decided(cast, asked, requested_us)
    records.decisions(contents, decided)
    if dispatched:
        forms = {"whole": teller.whole_id, "smtp-id": teller.smtp_id}
        id_ = forms.get(script.dispatched, dispatched.provider_message_id)
        records.add("dispatch", dispatched.at_us, facts.dispatch(records.ids, cast.provider, id_, dispatched.at_us))
        if rng.random() < CONTENT_SHARE:
            records.add("content", requested_us, facts.content(records.ids, request, rng))
    story = Story(
        account_id=account,
        message_id=message_id,
        course=cast.course,
        provider=cast.provider,
        facts=tuple(records.made),
        tellings=tuple(telling for beat in script.beats for telling in teller.tell(beat, cast.start_us)),
        told_in=told_in,
        requested=len({kind == "other" for kind in script.requests}),
        asked=tuple(asked[number] for number in _contents_told(script)),
        decided=decided,
        dispatched=dispatched,
        shared=script.twin,
        quota=ask.quota if ask else None,
    )
    return story, teller.provider_message_id


def _decided(cast: Cast, asked: Sequence[Asked], requested_us: int) -> tuple[Decided, ...]:
    """Return what is decided: by the script, or by a gate of what it was asked for first."""
    script, ask = cast.script, cast.ask
    if not script.by_gate:
        return tuple(
            Decided(requested_us + _thinking(script.rng) + verdict.after_us, *verdict[:3], asked[verdict.about])
            for verdict in script.verdicts
        )
    if not script.requests:
        return ()
    if ask is None:
        return (Decided(None, "approved", "ok", None, asked[0], ()),)
    outcome = "" if ask.quota else ask.outcome
    return (Decided(None, outcome, ask.reason, None, asked[0], cast.evidence),)


class _Records:
    """The records of our own topics about one message. `told_in`: the chapter of what follows its request."""

    def __init__(self, cast: Cast, ids: tuple[str, str], told_in: int) -> None:
        self.ids = ids
        self.made: list[Fact] = []
        self._cast = cast
        self._told_in = told_in

    def requests(self, contents: Sequence[dict[str, Any]], requested_us: int) -> None:
        """Add what the script asks for."""
        for number, kind in enumerate(self._cast.script.requests):
            said = contents[1] if kind == "other" else contents[0]
            if kind == "respelled":
                said = facts.respelled(said)
            self.add("request", requested_us + number * APART, said)

    def decisions(self, contents: Sequence[dict[str, Any]], decided: Sequence[Decided]) -> None:
        """Add what the script decides; a gate writes its own."""
        for verdict, made in zip(self._cast.script.verdicts, decided, strict=False):
            at_us = made.at_us or 0
            said = facts.decision(verdict, contents[verdict.about], self.ids[1], at_us, self._cast.script.rng)
            self.add("decision", at_us, said)

    def add(self, kind: FactKind, at_us: int, said: dict[str, Any]) -> None:
        """Add a record: in time, or after all that the provider tells."""
        script = self._cast.script
        if kind in script.late:
            at_us = self._cast.start_us + script.at_us + 5 * SECOND + script.rng.randrange(15 * SECOND)
        chapter = self._cast.chapter if kind in ("request", "content") else self._told_in
        self.made.append(Fact(kind, at_us, json_bytes(said), self.ids[1], chapter))


def _contents_told(script: Script) -> list[int]:
    """Return which of the contents are told, by a request or inside a decision."""
    told = {int(kind == "other") for kind in script.requests} | {verdict.about for verdict in script.verdicts}
    return sorted(told)


def _copied(rng: Random, mark: str, number: int) -> Person:
    """Return whom a copy goes to."""
    if mark:
        return own("email", f"{mark}cc{number}")
    return client(20_000 + rng.randrange(500) * 2 + number)


def _thinking(rng: Random) -> int:
    """How long a decision takes."""
    return 20 * MS + int(1_200 * MS * rng.random() ** 3)


def _dispatched_id(script: Script, teller: Teller) -> str:
    """Return the id that the dispatch states, as it is compared."""
    if script.dispatched == "other":
        return shuffled(teller.provider_message_id, script.rng)
    return teller.provider_message_id


def _template(cast: Cast) -> Template:
    script = cast.script
    if cast.ask:
        template = _TEMPLATES[cast.ask.template]
    elif script.kinds:
        template = script.rng.choice([template for template in TEMPLATES if template.kind in script.kinds])
    else:
        template = TEMPLATES[bisect(_TEMPLATE_WEIGHTS, script.rng.random() * _TEMPLATE_WEIGHTS[-1])]
    # One leaves a group at SendGrid, and a stream at Postmark.
    return template._replace(group=BROADCAST) if template.group and cast.provider == "postmark" else template
