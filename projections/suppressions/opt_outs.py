"""The opt-outs of a recipient that are in force.

In:  the evidence of one address.
Out: an `ActiveOptOut` for each account, group or sender that the recipient has opted out of and not back in.

A release lifts no opt-out. The recipient lifts an opt-out by a later event; a command lifts what happened up to and
including its own time, as a release does. Of everything that lifts an opt-out only the latest counts, so the work is
linear in the evidence, not quadratic.
"""

from collections.abc import Collection, Iterable, Iterator
from typing import Final, NamedTuple

from projections.suppressions.addressing import sender_key
from projections.suppressions.evidence import Evidence, Kind

__all__ = ["ActiveOptOut", "active_opt_outs"]


class ActiveOptOut(NamedTuple):
    """One opt-out in force. Group and sender are blank where it names none."""

    scope: str
    group: str
    sender: str
    """The number or the service as the first event of the opt-out wrote it; compared by `sender_key`."""
    reason: str
    """`unsubscribed`, `group_unsubscribed` or `sms_opt_out`: the reason code of decisions that it causes."""
    since_us: int
    evidence: str
    """The id of the event that began it."""


def active_opt_outs(evidence: Collection[Evidence]) -> tuple[ActiveOptOut, ...]:
    """Return the opt-outs in force, in order of scope, group and sender."""
    lifts = _Lifts(evidence)
    first: dict[tuple[str, str, str], ActiveOptOut] = {}
    for e in evidence:
        for out in _opted_out(e):
            if lifts.lift(e, out):
                continue
            of = out.scope, out.group, sender_key(out.sender)
            if of not in first or _began(out) < _began(first[of]):
                first[of] = out
    return tuple(first[of] for of in sorted(first))


def _began(out: ActiveOptOut) -> tuple[int, str, str]:
    return out.since_us, out.evidence, out.sender


def _opted_out(e: Evidence) -> Iterator[ActiveOptOut]:
    """The opt-outs that one event makes: one, or one for each of several senders."""
    if e.kind == Kind.UNSUBSCRIBED:
        reason = "group_unsubscribed" if e.group else "unsubscribed"
        yield ActiveOptOut(e.scope, e.group, "", reason, e.at_us, e.id)
    elif e.kind == Kind.OPTED_OUT:
        for sender in e.senders or ("",):
            yield ActiveOptOut(e.scope, "", sender, "sms_opt_out", e.at_us, e.id)


_NEVER: Final = -(2**63)


class _Lifts:
    """When each opt-out was lifted last, by what identifies it."""

    def __init__(self, evidence: Iterable[Evidence]) -> None:
        self._by_recipient: dict[tuple[str, ...], int] = {}
        """By the recipient or the provider: lifts earlier opt-outs."""
        self._by_command: dict[tuple[str, ...], int] = {}
        """By a command: lifts opt-outs up to and including its time."""
        for e in evidence:
            if e.kind == Kind.OPT_IN:
                _keep_latest(self._by_command, _lifted_by_command(e), e.at_us)
            else:
                _keep_latest(self._by_recipient, _lifted_by_recipient(e), e.at_us)

    def lift(self, e: Evidence, out: ActiveOptOut) -> bool:
        """Return whether something lifted the opt-out that an event made."""
        by_recipient = max(self._by_recipient.get(what, _NEVER) for what in _lifted_by_recipient_as(e, out))
        by_command = max(self._by_command.get(what, _NEVER) for what in _lifted_by_command_as(out))
        return by_recipient > out.since_us or by_command >= out.since_us


def _keep_latest(times: dict[tuple[str, ...], int], lifted: Iterable[tuple[str, ...]], at_us: int) -> None:
    for what in lifted:
        times[what] = max(times.get(what, _NEVER), at_us)


def _lifted_by_recipient(e: Evidence) -> Iterator[tuple[str, ...]]:
    """What an event of the recipient or the provider lifts. START also lifts an opt-out that names no sender."""
    if e.kind == Kind.RESUBSCRIBED:
        yield "group", e.scope, e.group
    elif e.kind == Kind.UNLISTED:
        yield "list", e.list
    elif e.kind == Kind.OPTED_IN:
        yield "sender", ""
        for sender in e.senders:
            yield "sender", sender_key(sender)


def _lifted_by_recipient_as(e: Evidence, out: ActiveOptOut) -> Iterator[tuple[str, ...]]:
    if e.kind == Kind.OPTED_OUT:
        yield "sender", sender_key(out.sender)
    else:
        yield "group", out.scope, out.group
        if e.list:
            yield "list", e.list


def _lifted_by_command(e: Evidence) -> Iterator[tuple[str, ...]]:
    """The group and the sender that a command names, in its own scope; everything in exactly that scope if none."""
    if e.group:
        yield "group", e.scope, e.group
    for sender in e.senders:
        yield "sender", e.scope, sender_key(sender)
    if not e.group and not e.senders:
        yield "all", e.scope


def _lifted_by_command_as(out: ActiveOptOut) -> Iterator[tuple[str, ...]]:
    yield "all", out.scope
    if out.group:
        yield "group", out.scope, out.group
    if out.sender:
        yield "sender", out.scope, sender_key(out.sender)
