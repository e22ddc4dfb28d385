"""The same rules a second time, told as a story: everything is read once, in the order in which it happened.

It shares no code with the fold, knows no sets and no spells, and is slow. Of one moment: what closes comes after what
the recipient or the provider takes back, then what people lift, then what people close.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import NamedTuple

from projections.gate.evidence import Evidence, Kind
from projections.gate.rules import Rules

_ORDER = ("complaint", "manual", "provider", "bounces")


class Shown(NamedTuple):
    suppressed: bool
    reason: str
    since_us: int
    released_us: int | None


@dataclass
class Scope:
    """What is so at a moment."""

    since: dict[str, int] = field(default_factory=dict)
    on: set[str] = field(default_factory=set)
    bounces: list[tuple[int, str]] = field(default_factory=list)
    last: tuple[str, int] | None = None
    released_us: int | None = None

    def top(self) -> tuple[str, int] | None:
        return next(((reason, self.since[reason]) for reason in _ORDER if reason in self.since), None)

    def release(self, at_us: int) -> None:
        if self.since:
            self.last, self.released_us = self.top(), at_us
        self.since, self.on, self.bounces = {}, set(), []


def scope_in_order(scope: str, evidence: Iterable[Evidence], rules: Rules) -> Shown | None:
    now = Scope()
    for at_us, moment in groupby(sorted(evidence, key=lambda e: e.at_us), key=lambda e: e.at_us):
        events = list(moment)
        if scope == "*":
            _events(now, at_us, events, rules)
        if any(e.kind == Kind.RELEASE and e.scope in ("*", scope) for e in events):
            now.release(at_us)
        if any(e.kind == Kind.SUPPRESS and e.scope == scope for e in events):
            now.since.setdefault("manual", at_us)
    shown = now.top() or now.last
    return None if shown is None else Shown(bool(now.since), *shown, now.released_us)


def _events(now: Scope, at_us: int, events: Sequence[Evidence], rules: Rules) -> None:
    if any(e.kind == Kind.COMPLAINT for e in events):
        now.since.setdefault("complaint", at_us)
    now.bounces += [(at_us, e.message or e.id) for e in events if e.kind == Kind.BOUNCE]
    if len({message for when, message in now.bounces if when >= at_us - rules.window_us}) >= rules.suppress_bounces:
        now.since.setdefault("bounces", at_us)
    now.on -= {e.list for e in events if e.kind == Kind.UNLISTED}
    now.on |= {e.list for e in events if e.kind == Kind.LISTED}
    if now.on:
        now.since.setdefault("provider", at_us)
    elif "provider" in now.since:
        lapsed = ("provider", now.since.pop("provider"))
        now.last = now.last if now.since else lapsed


class Wish(NamedTuple):
    scope: str
    group: str
    sender: str
    list: str


def opt_outs_in_order(evidence: Iterable[Evidence]) -> dict[tuple[str, str, str], int]:
    """Since when what is not wanted: by scope, group and sender."""
    wishes: dict[Wish, int] = {}
    for at_us, moment in groupby(sorted(evidence, key=lambda e: e.at_us), key=lambda e: e.at_us):
        events = list(moment)
        for e in events:
            wishes = {wish: since for wish, since in wishes.items() if not _taken_back(e, wish)}
        for e in events:
            for wish in _wishes(e):
                wishes.setdefault(wish, at_us)
        for e in events:
            wishes = {wish: since for wish, since in wishes.items() if not _commanded(e, wish)}
    since: dict[tuple[str, str, str], int] = {}
    for wish, at_us in wishes.items():
        since[wish[:3]] = min(at_us, since.get(wish[:3], at_us))
    return since


def _wishes(e: Evidence) -> list[Wish]:
    if e.kind == Kind.UNSUBSCRIBED:
        return [Wish(e.scope, e.group, "", e.list)]
    if e.kind == Kind.OPTED_OUT:
        return [Wish(e.scope, "", _same(sender), "sms") for sender in e.senders or ("",)]
    return []


def _taken_back(e: Evidence, wish: Wish) -> bool:
    if e.kind == Kind.RESUBSCRIBED:
        return wish.list != "sms" and (e.scope, e.group) == (wish.scope, wish.group)
    if e.kind == Kind.OPTED_IN:
        return wish.list == "sms" and wish.sender in ("", *map(_same, e.senders))
    return e.kind == Kind.UNLISTED and e.list == wish.list


def _commanded(e: Evidence, wish: Wish) -> bool:
    if e.kind != Kind.OPT_IN or e.scope != wish.scope:
        return False
    if not e.group and not e.senders:
        return True
    return (e.group != "" and e.group == wish.group) or (wish.sender != "" and wish.sender in map(_same, e.senders))


def _same(sender: str) -> str:
    """A sender in one spelling: here only case and blanks differ."""
    return sender.replace(" ", "").lower()
