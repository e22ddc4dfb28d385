"""What the recipient does not want, as far as nothing has lifted it.

In:  the evidence of one address.
Out: an `OptOut` for each account, group or sender whose mail or texts are not wanted.

A release touches none of them. What the recipient takes back must be later than what it takes back; a command lifts
what happened up to its own time, as a release does.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Final, NamedTuple

from projections.gate.evidence import Evidence, Kind

__all__ = ["OptOut", "opt_outs"]


class OptOut(NamedTuple):
    """One thing that is not wanted. Group and sender are blank where it is not about one."""

    scope: str
    group: str
    sender: str
    reason: str
    """`unsubscribed`, `group_unsubscribed` or `sms_opt_out`: the reason of the decision that it leads to."""
    since_us: int
    evidence: str
    """The id of the event that began it."""


def opt_outs(evidence: Collection[Evidence]) -> tuple[OptOut, ...]:
    """Return the opt-outs in force, in order of scope, group and sender."""
    lifts = [e for e in evidence if e.kind in _LIFTED_BY]
    wanted = [wish for e in evidence for wish in _wishes(e) if not any(_lifts(lift, e, wish) for lift in lifts)]
    first: dict[tuple[str, str, str], OptOut] = {}
    for wish in sorted(wanted, key=lambda wish: (wish.since_us, wish.evidence)):
        first.setdefault(wish[:3], wish)
    return tuple(sorted(first.values()))


def _wishes(e: Evidence) -> Iterator[OptOut]:
    """What one event opts out of: one thing, or each of several senders."""
    if e.kind == Kind.UNSUBSCRIBED:
        reason = "group_unsubscribed" if e.group else "unsubscribed"
        yield OptOut(e.scope, e.group, "", reason, e.at_us, e.id)
    elif e.kind == Kind.OPTED_OUT:
        for sender in e.senders or ("",):
            yield OptOut(e.scope, "", sender, "sms_opt_out", e.at_us, e.id)


def _lifts(lift: Evidence, out: Evidence, wish: OptOut) -> bool:
    return _LIFTED_BY[lift.kind](lift, out, wish)


def _resubscribed(lift: Evidence, out: Evidence, wish: OptOut) -> bool:
    same = (lift.scope, lift.group) == (wish.scope, wish.group)
    return same and out.kind == Kind.UNSUBSCRIBED and lift.at_us > out.at_us


def _opted_in(lift: Evidence, out: Evidence, wish: OptOut) -> bool:
    return out.kind == Kind.OPTED_OUT and wish.sender in (lift.senders or ("",)) and lift.at_us > out.at_us


def _unlisted(lift: Evidence, out: Evidence, wish: OptOut) -> bool:  # noqa: ARG001 (of whatever account it is)
    return bool(out.list) and lift.list == out.list and lift.at_us > out.at_us


def _commanded(lift: Evidence, out: Evidence, wish: OptOut) -> bool:
    """A command names groups and senders of its own scope, or means all of exactly that scope."""
    of_all = not lift.group and not lift.senders
    named = (bool(lift.group) and lift.group == wish.group) or (bool(wish.sender) and wish.sender in lift.senders)
    return lift.scope == wish.scope and (of_all or named) and lift.at_us >= out.at_us


_LIFTED_BY: Final[Mapping[Kind, Callable[[Evidence, Evidence, OptOut], bool]]] = {
    Kind.RESUBSCRIBED: _resubscribed,
    Kind.OPTED_IN: _opted_in,
    Kind.UNLISTED: _unlisted,
    Kind.OPT_IN: _commanded,
}
