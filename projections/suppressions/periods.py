"""Why an address is suppressed: the active reason of one suppression period, the time between two releases.

In:  the evidence of one scope and period, in order of time.
Out: the reason that is shown, since when it is active, and the ids of its evidence.

Complaints, commands and bounces stay active until they are released. A provider may take an address off its list
again: then the reason has lapsed.
"""

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Final, NamedTuple

from projections.suppressions.evidence import Evidence, Kind
from projections.suppressions.rules import GateRules

__all__ = ["REASONS", "ActiveReason", "active_reason", "first_window"]

REASONS: Final = ("complaint", "manual", "provider", "bounces")
"""In order of precedence: of several active reasons the first is shown."""


class ActiveReason(NamedTuple):
    """A reason, and whether it has lapsed by the end of its period."""

    reason: str
    since_us: int
    evidence: tuple[str, ...]
    lapsed: bool = False


def active_reason(period: Sequence[Evidence], rules: GateRules) -> ActiveReason | None:
    """Return the reason that is shown: the first that has not lapsed, else the lapsed one; None without any."""
    found = (
        _first(period, Kind.COMPLAINT, "complaint"),
        _first(period, Kind.SUPPRESS, "manual"),
        _listed(period),
        _bounces(period, rules),
    )
    reasons = [reason for reason in found if reason is not None]
    return next((reason for reason in reasons if not reason.lapsed), reasons[0] if reasons else None)


def first_window(bounces: Iterable[Evidence], rules: GateRules) -> list[Evidence]:
    """Return the first bounces, one of each message, that suppress the address; empty if there are too few in a window.

    The last of them completed the window. `bounces` are in order of time.
    """
    window: list[Evidence] = []
    for bounce in bounces:
        # The later bounce of a message stays in the window for longer, so it replaces the earlier one.
        near = (b for b in window if b.at_us >= bounce.at_us - rules.window_us and _message(b) != _message(bounce))
        window = [*near, bounce]
        if len(window) == rules.suppress_bounces:
            return window
    return []


def _first(period: Sequence[Evidence], kind: Kind, reason: str) -> ActiveReason | None:
    first = next((e for e in period if e.kind == kind), None)
    return ActiveReason(reason, first.at_us, (first.id,)) if first else None


def _bounces(period: Sequence[Evidence], rules: GateRules) -> ActiveReason | None:
    window = first_window((e for e in period if e.kind == Kind.BOUNCE), rules)
    return ActiveReason("bounces", window[-1].at_us, tuple(b.id for b in window)) if window else None


def _listed(period: Sequence[Evidence]) -> ActiveReason | None:
    """The last unbroken time in which some list had the address. At equal times, listing is applied after unlisting."""
    on: dict[str, str] = {}
    last: ActiveReason | None = None
    changes = (e for e in period if e.kind in (Kind.LISTED, Kind.UNLISTED))
    for at_us, same_time in groupby(changes, key=lambda e: e.at_us):
        for change in sorted(same_time, key=lambda e: (e.kind == Kind.LISTED, e.id)):
            if change.kind == Kind.UNLISTED:
                on.pop(change.list, None)
            else:
                on.setdefault(change.list, change.id)
        if on:
            since_us = at_us if last is None or last.lapsed else last.since_us
            last = ActiveReason("provider", since_us, tuple(on.values()))
        elif last is not None:
            last = last._replace(lapsed=True)
    return last


def _message(bounce: Evidence) -> str:
    """The identity of its message; without one each bounce counts as a message."""
    return bounce.message or bounce.id
