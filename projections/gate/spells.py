"""Why an address is suppressed: the reasons that hold over one spell, the time between two releases.

In:  the evidence of one scope that no release voids, in order of time.
Out: the reason that is shown, since when it holds, and the ids that prove it.

Complaints, commands and bounces hold until they are released. What a provider lists, it may also take off its list:
then the reason has lapsed.
"""

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Final, NamedTuple

from projections.gate.evidence import Evidence, Kind
from projections.gate.rules import Rules

__all__ = ["REASONS", "Held", "first_window", "held"]

REASONS: Final = ("complaint", "manual", "provider", "bounces")
"""Of several the first is shown."""


class Held(NamedTuple):
    """A reason, and whether it still holds at the end of its spell."""

    reason: str
    since_us: int
    evidence: tuple[str, ...]
    lapsed: bool = False


def held(spell: Sequence[Evidence], rules: Rules) -> Held | None:
    """Return the reason that is shown: of those that hold the first, else the one that has lapsed."""
    found = (
        _first(spell, Kind.COMPLAINT, "complaint"),
        _first(spell, Kind.SUPPRESS, "manual"),
        _listed(spell),
        _bounces(spell, rules),
    )
    said = [reason for reason in found if reason is not None]
    return next((reason for reason in said if not reason.lapsed), said[0] if said else None)


def first_window(bounces: Iterable[Evidence], rules: Rules) -> list[Evidence]:
    """Return the bounces, one of each message, that are the first to be enough within the window; else none.

    The last of them completed it. `bounces` are in order of time.
    """
    window: list[Evidence] = []
    for bounce in bounces:
        # The later bounce of a message stays longer within reach: it takes the place of the earlier one.
        near = (b for b in window if b.at_us >= bounce.at_us - rules.window_us and _message(b) != _message(bounce))
        window = [*near, bounce]
        if len(window) == rules.suppress_bounces:
            return window
    return []


def _first(spell: Sequence[Evidence], kind: Kind, reason: str) -> Held | None:
    first = next((e for e in spell if e.kind == kind), None)
    return Held(reason, first.at_us, (first.id,)) if first else None


def _bounces(spell: Sequence[Evidence], rules: Rules) -> Held | None:
    window = first_window((e for e in spell if e.kind == Kind.BOUNCE), rules)
    return Held("bounces", window[-1].at_us, tuple(b.id for b in window)) if window else None


def _listed(spell: Sequence[Evidence]) -> Held | None:
    """The last time without a break in which some list had the address. Of one moment, what lists counts last."""
    on: dict[str, str] = {}
    last: Held | None = None
    changes = (e for e in spell if e.kind in (Kind.LISTED, Kind.UNLISTED))
    for at_us, moment in groupby(changes, key=lambda e: e.at_us):
        for change in sorted(moment, key=lambda e: (e.kind == Kind.LISTED, e.id)):
            if change.kind == Kind.UNLISTED:
                on.pop(change.list, None)
            else:
                on.setdefault(change.list, change.id)
        if on:
            since_us = at_us if last is None or last.lapsed else last.since_us
            last = Held("provider", since_us, tuple(on.values()))
        elif last is not None:
            last = last._replace(lapsed=True)
    return last


def _message(bounce: Evidence) -> str:
    """What tells its message from others."""
    return bounce.message or bounce.id
