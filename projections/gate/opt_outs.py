"""What the recipient does not want, as far as nothing has lifted it.

In:  the evidence of one address.
Out: an `OptOut` for each account, group or sender whose mail or texts are not wanted.

A release touches none of them. What the recipient takes back must be later than what it takes back; a command lifts
what happened up to its own time, as a release does. Of all that lifts one thing only the latest counts, so that the
work grows with the evidence, and not with its square.
"""

from collections.abc import Collection, Iterable, Iterator
from typing import Final, NamedTuple

from projections.gate.addressing import sender_key
from projections.gate.evidence import Evidence, Kind

__all__ = ["OptOut", "opt_outs"]


class OptOut(NamedTuple):
    """One thing that is not wanted. Group and sender are blank where it is not about one."""

    scope: str
    group: str
    sender: str
    """As the first event of it wrote the number or the service; compared by `sender_key`."""
    reason: str
    """`unsubscribed`, `group_unsubscribed` or `sms_opt_out`: the reason of the decision that it leads to."""
    since_us: int
    evidence: str
    """The id of the event that began it."""


def opt_outs(evidence: Collection[Evidence]) -> tuple[OptOut, ...]:
    """Return the opt-outs in force, in order of scope, group and sender."""
    lifts = _Lifts(evidence)
    first: dict[tuple[str, str, str], OptOut] = {}
    for e in evidence:
        for out in _opted_out(e):
            if lifts.lift(e, out):
                continue
            of = out.scope, out.group, sender_key(out.sender)
            if of not in first or _began(out) < _began(first[of]):
                first[of] = out
    return tuple(first[of] for of in sorted(first))


def _began(out: OptOut) -> tuple[int, str, str]:
    return out.since_us, out.evidence, out.sender


def _opted_out(e: Evidence) -> Iterator[OptOut]:
    """What one event opts out of: one thing, or each of several senders."""
    if e.kind == Kind.UNSUBSCRIBED:
        reason = "group_unsubscribed" if e.group else "unsubscribed"
        yield OptOut(e.scope, e.group, "", reason, e.at_us, e.id)
    elif e.kind == Kind.OPTED_OUT:
        for sender in e.senders or ("",):
            yield OptOut(e.scope, "", sender, "sms_opt_out", e.at_us, e.id)


_NEVER: Final = -(2**63)


class _Lifts:
    """When each thing was lifted last, by what was lifted."""

    def __init__(self, evidence: Iterable[Evidence]) -> None:
        self._by_recipient: dict[tuple[str, ...], int] = {}
        """By the recipient or the provider: lifts what is older."""
        self._by_command: dict[tuple[str, ...], int] = {}
        """By a command: lifts what is not later."""
        for e in evidence:
            if e.kind == Kind.OPT_IN:
                _keep_latest(self._by_command, _named_by_command(e), e.at_us)
            else:
                _keep_latest(self._by_recipient, _taken_back_by(e), e.at_us)

    def lift(self, e: Evidence, out: OptOut) -> bool:
        """Return whether something lifted what an event opted out of."""
        taken_back = max(self._by_recipient.get(what, _NEVER) for what in _may_be_taken_back_as(e, out))
        commanded = max(self._by_command.get(what, _NEVER) for what in _may_be_named_as(out))
        return taken_back > out.since_us or commanded >= out.since_us


def _keep_latest(times: dict[tuple[str, ...], int], lifted: Iterable[tuple[str, ...]], at_us: int) -> None:
    for what in lifted:
        times[what] = max(times.get(what, _NEVER), at_us)


def _taken_back_by(e: Evidence) -> Iterator[tuple[str, ...]]:
    """What an event of the recipient or the provider takes back. A START means texts that name no sender, too."""
    if e.kind == Kind.RESUBSCRIBED:
        yield "group", e.scope, e.group
    elif e.kind == Kind.UNLISTED:
        yield "list", e.list
    elif e.kind == Kind.OPTED_IN:
        yield "sender", ""
        for sender in e.senders:
            yield "sender", sender_key(sender)


def _may_be_taken_back_as(e: Evidence, out: OptOut) -> Iterator[tuple[str, ...]]:
    if e.kind == Kind.OPTED_OUT:
        yield "sender", sender_key(out.sender)
    else:
        yield "group", out.scope, out.group
        if e.list:
            yield "list", e.list


def _named_by_command(e: Evidence) -> Iterator[tuple[str, ...]]:
    """The group and the sender that a command names, of its own scope; all of exactly that scope if it names none."""
    if e.group:
        yield "group", e.scope, e.group
    for sender in e.senders:
        yield "sender", e.scope, sender_key(sender)
    if not e.group and not e.senders:
        yield "all", e.scope


def _may_be_named_as(out: OptOut) -> Iterator[tuple[str, ...]]:
    yield "all", out.scope
    if out.group:
        yield "group", out.scope, out.group
    if out.sender:
        yield "sender", out.scope, sender_key(out.sender)
