"""The expected state of an address: why and since when it is suppressed, and the opt-outs in force.

In:  `AddressEvent`s about one address, in any order: from providers, and from suppression commands.
Out: for each scope a `ScopeState`; the opt-outs in force, each with its beginning.
Promise: implements docs/explanation/gate.md and shares no code with the product. It reads everything once, in order of
time, and keeps what holds at each time: slow and simple. It is the one independent implementation of these rules: the
simulator's oracle, the gate's oracle in tests, and the property tests of the product's fold compare with it.

At equal times it applies, in this order: what the recipient or the provider lifts, what suppresses or opts out, what
commands lift, what commands suppress.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Final, NamedTuple

from schemas.decoding.ids import ALL
from schemas.decoding.times import rfc3339
from simulator.durations import DAY

__all__ = [
    "USUAL_LIMITS",
    "AddressEvent",
    "Limits",
    "OptOutState",
    "ScopeState",
    "address_state",
    "opt_outs",
    "scope_state",
]

_REASONS: Final = ("complaint", "manual", "provider", "bounces")
"""In order of priority."""
_ON_ARRIVAL: Final = 1 << 62
"""In place of a time that only the gateway knows: later than all known times."""


class AddressEvent(NamedTuple):
    """An event or a command that concerns an address."""

    kind: str
    """Of a provider: `bounce`, `complaint`, `listed` and `unlisted` (on its suppression list), `unsubscribed`,
    `resubscribed`, `opted_out`, `opted_in`. Of a command: `suppress`, `release`, `opt_in`."""
    at_us: int | None = None
    """None: only the gateway knows when it arrived."""
    scope: str = ALL
    message: str = ""
    """The id of the bounced message: bounces of one message count once."""
    group: str = ""
    senders: tuple[str, ...] = ()
    list: str = ""
    actor: str = ""
    stage: int = 0
    """The stage of the plan that it is sent in: later stages are read later."""


class Limits(NamedTuple):
    """How many bounced messages suppress an address, and within which time."""

    bounces: int = 3
    window_us: int = 30 * DAY


USUAL_LIMITS: Final = Limits()


class ScopeState(NamedTuple):
    """A scope that was ever suppressed. If it was released, its reason is the last one."""

    suppressed: bool
    reason: str
    since_us: int
    released_us: int | None
    lists: frozenset[str]
    """The provider's suppression lists that have the address, as far as they were not released."""


class OptOutState(NamedTuple):
    """An opt-out in force; the sender as it was first written."""

    scope: str
    group: str
    sender: str
    reason: str
    since_us: int


def address_state(events: Sequence[AddressEvent], limits: Limits = USUAL_LIMITS) -> dict[str, Any]:
    """Return the state as the oracle has it. Opt-outs are left out if the order of arrival is not known."""
    scopes = {ALL, *(event.scope for event in events if event.kind == "suppress")}
    state: dict[str, Any] = {"scopes": {scope: _in_oracle(scope, events, limits) for scope in sorted(scopes)}}
    if not _unordered(events):
        state["opt_outs"] = sorted([out.scope, out.group, out.sender, out.reason] for out in opt_outs(events))
    return state


def scope_state(scope: str, events: Iterable[AddressEvent], limits: Limits = USUAL_LIMITS) -> ScopeState | None:
    """Return the state of a scope after all events; None if it was never suppressed."""
    now = _Scope()
    for at_us, together in _by_time(events):
        if scope == ALL:
            now.apply_events(at_us, together, limits)
        if any(event.kind == "release" and event.scope in (ALL, scope) for event in together):
            now.release(at_us)
        if any(event.kind == "suppress" and event.scope == scope for event in together):
            now.since.setdefault("manual", at_us)
    shown = now.first() or now.last
    return None if shown is None else ScopeState(bool(now.since), *shown, now.released_us, frozenset(now.lists))


def opt_outs(events: Iterable[AddressEvent]) -> list[OptOutState]:
    """Return the opt-outs in force after all events, each scope, group and sender once."""
    in_force: dict[_OptOut, int] = {}
    for at_us, together in _by_time(events):
        in_force = _without_lifted(in_force, together, _lifted_by_event)
        for event in together:
            in_force |= {out: at_us for out in _opted_out(event) if out not in in_force}
        in_force = _without_lifted(in_force, together, _lifted_by_command)
    found: dict[tuple[str, str, str], OptOutState] = {}
    for out, since_us in in_force.items():
        key = (out.scope, out.group, _same(out.sender))
        if key not in found or since_us < found[key].since_us:
            found[key] = OptOutState(out.scope, out.group, out.sender, out.reason, since_us)
    return list(found.values())


@dataclass
class _Scope:
    """What holds in one scope at a time."""

    since: dict[str, int] = field(default_factory=dict)
    """The active reasons, with their beginnings."""
    lists: set[str] = field(default_factory=set)
    """The provider's suppression lists that have the address."""
    bounces: list[tuple[int, str]] = field(default_factory=list)
    """Time and message of each since the last release."""
    last: tuple[str, int] | None = None
    released_us: int | None = None

    def first(self) -> tuple[str, int] | None:
        return next(((reason, self.since[reason]) for reason in _REASONS if reason in self.since), None)

    def release(self, at_us: int) -> None:
        if self.since:
            self.last, self.released_us = self.first(), at_us
        self.since, self.lists, self.bounces = {}, set(), []

    def apply_events(self, at_us: int, events: Sequence[AddressEvent], limits: Limits) -> None:
        if any(event.kind == "complaint" for event in events):
            self.since.setdefault("complaint", at_us)
        self.bounces += [(at_us, event.message) for event in events if event.kind == "bounce"]
        near = {message for bounced_us, message in self.bounces if bounced_us >= at_us - limits.window_us}
        if len(near) >= limits.bounces:
            self.since.setdefault("bounces", at_us)
        self.lists -= {event.list for event in events if event.kind == "unlisted"}
        self.lists |= {event.list for event in events if event.kind == "listed"}
        if self.lists:
            self.since.setdefault("provider", at_us)
        elif "provider" in self.since:
            removed = ("provider", self.since.pop("provider"))
            self.last = self.last if self.since else removed


class _OptOut(NamedTuple):
    scope: str
    group: str
    sender: str
    reason: str
    list: str
    """The provider's list that it came from, if any."""


def _opted_out(event: AddressEvent) -> Iterator[_OptOut]:
    if event.kind == "unsubscribed":
        reason = "group_unsubscribed" if event.group else "unsubscribed"
        yield _OptOut(event.scope, event.group, "", reason, event.list)
    elif event.kind == "opted_out":
        for sender in event.senders or ("",):
            yield _OptOut(event.scope, "", sender, "sms_opt_out", "")


def _without_lifted(
    in_force: Mapping[_OptOut, int],
    events: Sequence[AddressEvent],
    lifts: Callable[[AddressEvent, _OptOut], bool],
) -> dict[_OptOut, int]:
    return {out: since for out, since in in_force.items() if not any(lifts(event, out) for event in events)}


def _lifted_by_event(event: AddressEvent, out: _OptOut) -> bool:
    is_sms = out.reason == "sms_opt_out"
    match event.kind:
        case "resubscribed":
            return not is_sms and (event.scope, event.group) == (out.scope, out.group)
        case "opted_in":
            return is_sms and (not out.sender or _named(out.sender, event))
        case "unlisted":
            return bool(out.list) and event.list == out.list
    return False


def _lifted_by_command(event: AddressEvent, out: _OptOut) -> bool:
    if event.kind != "opt_in" or event.scope != out.scope:
        return False
    names_none = not event.group and not event.senders
    names_it = (bool(out.group) and event.group == out.group) or (bool(out.sender) and _named(out.sender, event))
    return names_none or names_it


def _named(sender: str, event: AddressEvent) -> bool:
    return _same(sender) in map(_same, event.senders)


def _same(sender: str) -> str:
    """Return a sender in the form that compares: case and blanks don't matter."""
    return sender.replace(" ", "").lower()


def _by_time(events: Iterable[AddressEvent]) -> Iterator[tuple[int, list[AddressEvent]]]:
    """Yield the events in order of time, those of one time together; of those without a time, a stage together."""

    def key(event: AddressEvent) -> tuple[int, int]:
        return (event.at_us, 0) if event.at_us is not None else (_ON_ARRIVAL, event.stage)

    for (at_us, _), together in groupby(sorted(events, key=key), key=key):
        yield at_us, list(together)


def _in_oracle(scope: str, events: Sequence[AddressEvent], limits: Limits) -> dict[str, Any]:
    state = scope_state(scope, events, limits)
    if state is not None and state.suppressed:
        since = {"any": True} if state.since_us == _ON_ARRIVAL else rfc3339(state.since_us)
        return {"suppressed": True, "reason": state.reason, "since": since}
    releases = [event for event in events if event.kind == "release" and event.scope in (ALL, scope)]
    if releases and _was_suppressed(scope, events, limits):
        return {"suppressed": False, "actor": max(releases, key=lambda event: (event.at_us or 0, event.stage)).actor}
    return {"suppressed": False}


def _was_suppressed(scope: str, events: Sequence[AddressEvent], limits: Limits) -> bool:
    """Return whether the scope was suppressed at some time, or after some stage: then it was published."""
    read_so_far = ([event for event in events if event.stage <= stage] for stage in {event.stage for event in events})
    states = [scope_state(scope, read, limits) for read in read_so_far]
    return any(state is not None and (state.suppressed or state.released_us is not None) for state in states)


def _unordered(events: Iterable[AddressEvent]) -> bool:
    """Return whether one stage has an opt-out and an opt-in whose order only the gateway knows."""
    untimed = [event for event in events if event.at_us is None]
    opt_in_stages = {event.stage for event in untimed if event.kind == "opted_in"}
    return any(event.kind == "opted_out" and event.stage in opt_in_stages for event in untimed)
