"""Stories: what is asked, what is decided and what a provider tells about each of many messages.

In:  a number of messages, a seed, the present, the accounts.
Out: one `Story` for each message: the records of our own topics and the tellings of its provider, with times.
Promise: pure; the same input gives the same bytes; no time lies ahead of the present; a story doesn't depend on how
many there are (but for the last ones, of which several belong together). Every course of `simulator.courses` and,
where a gate decides, every plot of `simulator.plots` has its turn.

What a gate decides follows from what it has read before. So a plan whose messages a gate decides has chapters, and
whoever sends it sees to it that the gate has read all of one before the next begins.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import count
from math import log1p
from random import Random
from typing import Final

from schemas.times import rfc3339
from simulator.chance import randomness
from simulator.courses import Course
from simulator.durations import HOUR, SECOND
from simulator.plot import Ask, Plot, Said
from simulator.plots import Tale
from simulator.providers.teller import json_bytes
from simulator.repertoire import DECIDING, OF_A_GATE
from simulator.script import Again, Beat, Script
from simulator.story import Fact, Story
from simulator.telling import Cast, told

__all__ = ["RARE_EVERY", "SPREAD_US", "Setting", "policies", "stories", "stories_from_now"]

SPREAD_US: Final = 6 * HOUR
RARE_EVERY: Final = 8
LIVE_RARE_EVERY: Final = 20
CHAPTERS: Final = 7
"""Over so many of them the stories of one message are spread. Plots may have more."""


@dataclass(frozen=True, slots=True)
class Setting:
    """In which stories play."""

    now_us: int
    """Nothing happens after it, and each story ends within `spread_us` before it."""
    accounts: Sequence[str]
    """At least two."""
    spread_us: int = SPREAD_US
    rare_every: int = RARE_EVERY
    """Each so-many-th time the next course or plot in turn is played, so that the rare ones are met, too."""
    decides: bool = True
    """Whether they say what is decided; else a gate decides, …"""
    refuses_unknown: bool = False
    """… and this is whether it refuses accounts without a policy."""


def stories(messages: int, seed: int, setting: Setting) -> Iterator[Story]:
    """Yield the stories of `messages` messages."""
    mark = sha256(f"{seed}/{setting.now_us}".encode()).hexdigest()[:6]
    repertoire = DECIDING if setting.decides else OF_A_GATE
    left, index = messages, 0
    for number in count():
        if not left:
            return
        rng = randomness(f"{seed}/{number}")
        tale = repertoire.tale_of(number, setting.rare_every)
        plot = _plotted(tale, rng, f"{mark}{number:x}", setting) if tale else None
        if tale and plot and plot.messages <= left:
            start_us = _start(setting, plot.at_us, rng)
            those = _of_plot(plot, Cast(index, plot.mark, "", tale.name, "", Script(rng), start_us))
        else:
            course, provider = repertoire.course_of(number, setting.rare_every, rng)
            script = _played(course, rng, pairs=left > 1, decides=setting.decides)
            account, chapter = rng.choice(setting.accounts), 0 if setting.decides else 1 + number % CHAPTERS
            start_us = _start(setting, script.at_us, rng)
            those = told(Cast(index, f"{mark}{number:x}", account, course.name, provider, script, start_us, chapter))
        yield from those
        left -= len(those)
        index += len(those)


def stories_from_now(index: int, seed: int, *, now_us: int, account: str, decides: bool = True) -> list[Story]:
    """Return a story (or two, in one call) that begins at `now_us` and goes on, hours pressed into seconds."""
    rng = randomness(f"{seed}/live/{index}")
    course, provider = (DECIDING if decides else OF_A_GATE).course_of(index, LIVE_RARE_EVERY, rng)
    script = _played(course, rng, pairs=True, decides=decides)
    script.beats = [_pressed(beat) for beat in script.beats]
    script.at_us = _pressed_time(script.at_us)
    mark = f"{seed % 16**6:06x}live{index:x}"
    return told(Cast(index, mark, account, course.name, provider, script, now_us))


def policies(accounts: Sequence[str], updated_us: int) -> list[Fact]:
    """Return the policies of accounts that pay and may send everything. They come before all else."""
    return [
        Fact(
            "policy",
            updated_us,
            json_bytes({"account_id": account, "sms_enabled": True, "updated_at": rfc3339(updated_us)}),
            account,
        )
        for account in accounts
    ]


def _start(setting: Setting, length_us: int, rng: Random) -> int:
    """Return when something begins that is so long."""
    return setting.now_us - length_us - 30 * SECOND - int(setting.spread_us * rng.random())


def _played(course: Course, rng: Random, *, pairs: bool, decides: bool) -> Script:
    """Return the script of a course as it was played."""
    script = Script(rng)
    course.play(script)
    if script.twin and not pairs:
        script = replace(script, twin=False, beats=[])
    if not decides:
        script.leave_to_gate()
    return script


def _plotted(tale: Tale, rng: Random, mark: str, setting: Setting) -> Plot:
    """Return a plot as it was played."""
    account, other = rng.sample(setting.accounts, 2)
    plot = Plot(rng, mark, account, other, setting.refuses_unknown)
    tale.play(plot)
    return plot


def _of_plot(plot: Plot, cast: Cast) -> list[Story]:
    """Return the stories of a plot; what else is said in it is told with the message that follows it, or the last."""
    those: list[Story] = []
    before: list[Said] = []
    for part in plot.parts:
        if isinstance(part, Ask):
            story = _of_ask(part, cast._replace(number=cast.number + len(those)))
            those.append(_with(story, before, cast.start_us))
            before = []
        else:
            before.append(part)
    return [*those[:-1], _with(those[-1], before, cast.start_us)]


def _of_ask(ask: Ask, cast: Cast) -> Story:
    """Return the story of a message that a plot asks for."""
    because = ask.because
    evidence = tuple(said.name(cast.start_us) for said in because) if isinstance(because, tuple) else because
    (story,) = told(
        cast._replace(
            account=ask.account,
            provider=ask.provider,
            script=ask.script,
            start_us=cast.start_us + ask.at_us,
            chapter=ask.chapter,
            ask=ask,
            evidence=evidence,
        )
    )
    request = next(fact for fact in story.facts if fact.kind == "request")
    again = (replace(request, at_us=cast.start_us + at_us, chapter=chapter) for at_us, chapter in ask.again)
    return replace(story, facts=(*story.facts, *again))


def _with(story: Story, said: Sequence[Said], start_us: int) -> Story:
    """Return a story with what else is said."""
    facts = [
        Fact(one.kind, start_us + one.at_us, json_bytes(one.write(start_us)), one.key, one.chapter) for one in said
    ]
    words = [
        (one.person, one.word._replace(at_us=start_us + (one.word.at_us or 0)))
        for one in said
        if one.word and one.person
    ]
    return replace(story, facts=(*facts, *story.facts), words=(*story.words, *words))


def _pressed(beat: Beat) -> Beat:
    again = tuple(Again(_pressed_time(once.after_us), once.lacks) for once in beat.again)
    return beat._replace(after_us=_pressed_time(beat.after_us), again=again)


def _pressed_time(after_us: int) -> int:
    """An hour becomes 18 seconds, three days 30; the order stays."""
    return int(2.5 * SECOND * log1p(after_us / (2.5 * SECOND)))
