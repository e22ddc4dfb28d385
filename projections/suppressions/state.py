"""Whether an address is suppressed, and its opt-outs: the fold of docs/explanation/gate.md.

In:  `Evidence` of one address, in any order, with repeats and copies.
Out: an `AddressSnapshot`, the same for every order, any repeats and any split into batches.

The state is the set of all evidence, by id. Two states merge by set union, which is commutative, associative and
idempotent. What a release cancels is computed when a snapshot is taken, not when the release arrives: so it does not
matter whether the release or the evidence is read first. `projections.suppressions.compaction` keeps the set small.

The state also has what was published last. A record is due when the snapshot differs from it, so a changed setting is
published, too. A scope that was published once appears in every later record, even if the evidence that is known now
would never have suppressed it.
"""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Final, NamedTuple

import orjson

from projections.suppressions.addressing import sender_key
from projections.suppressions.compaction import compacted
from projections.suppressions.evidence import Evidence, Kind
from projections.suppressions.opt_outs import ActiveOptOut, active_opt_outs
from projections.suppressions.periods import active_reason
from projections.suppressions.rules import GateRules
from schemas.decoding.ids import ALL

__all__ = [
    "EMPTY_SNAPSHOT",
    "UNKNOWN_ADDRESS",
    "UNPUBLISHED",
    "AddressSnapshot",
    "AddressState",
    "AddressUpdate",
    "Published",
    "ScopeSnapshot",
    "apply_evidence",
    "for_account",
    "merge",
    "reevaluate",
    "snapshot",
]


_PLATFORM: Final = frozenset({Kind.BOUNCE, Kind.COMPLAINT, Kind.LISTED, Kind.UNLISTED})
"""Events that suppress an address on the whole platform, or lift that."""


class ScopeSnapshot(NamedTuple):
    """Whether an address is suppressed in one scope. A released scope keeps the reason of its last suppression."""

    scope: str
    suppressed: bool
    reason: str
    since_us: int
    evidence: tuple[str, ...]
    released_us: int | None = None
    """When a person last released a suppression of this scope; None if that never happened."""
    released_by: str = ""


class AddressSnapshot(NamedTuple):
    """An address as it is now: the scopes that are or were suppressed, `*` first, and the opt-outs in force."""

    scopes: tuple[ScopeSnapshot, ...]
    opt_outs: tuple[ActiveOptOut, ...]


EMPTY_SNAPSHOT: Final = AddressSnapshot((), ())
"""The snapshot of an address of which nothing is known."""


class Published(NamedTuple):
    """What the last `suppressions.changed` record of an address stated."""

    scopes: tuple[ScopeSnapshot, ...] = ()
    opt_outs: bytes = b""
    """A digest of the opt-outs, enough to tell whether they changed. Empty without opt-outs."""

    @classmethod
    def of(cls, snapshot: AddressSnapshot) -> "Published":
        """Return what a record of this snapshot states."""
        return cls(snapshot.scopes, _digest(snapshot.opt_outs))

    def matches(self, snapshot: AddressSnapshot) -> bool:
        """Return whether the snapshot needs no new record. More evidence for an active reason is no change."""
        return _suppressed(self.scopes) == _suppressed(snapshot.scopes) and self.opt_outs == _digest(snapshot.opt_outs)


UNPUBLISHED: Final = Published()
"""The value for an address of which nothing was published."""


@dataclass(frozen=True, slots=True)
class AddressState:
    """What is known of one address, and what was published of it."""

    evidence: Mapping[str, Evidence] = field(default_factory=dict)
    version: int = 0
    """The version of the last `suppressions.changed` record; 0 for none."""
    published: Published = UNPUBLISHED


UNKNOWN_ADDRESS: Final = AddressState()
"""An address of which nothing is known."""


class AddressUpdate(NamedTuple):
    """The result of applying evidence to an address, or of evaluating it again."""

    state: AddressState
    snapshot: AddressSnapshot
    """The snapshot now, with every scope that was ever published."""
    changed: bool
    """Whether a `suppressions.changed` record is due; then `state.version` is its version."""


def apply_evidence(state: AddressState, evidence: Evidence, rules: GateRules) -> AddressUpdate:
    """Apply one item of evidence. Batches are applied item by item, so that no change in the middle is lost."""
    merged = merge(state, AddressState({evidence.key: evidence}), rules)
    return reevaluate(state if merged.evidence == state.evidence else merged, rules)


def reevaluate(state: AddressState, rules: GateRules) -> AddressUpdate:
    """Compare the snapshot with what was published last: they differ after new evidence, or after a changed setting."""
    if state is UNKNOWN_ADDRESS:
        return AddressUpdate(state, EMPTY_SNAPSHOT, changed=False)
    current = _with_published_scopes(snapshot(state, rules), state)
    if state.published.matches(current):
        return AddressUpdate(state, current, changed=False)
    published = replace(state, version=state.version + 1, published=Published.of(current))
    return AddressUpdate(published, current, changed=True)


def merge(one: AddressState, other: AddressState, rules: GateRules) -> AddressState:
    """Return the union of the evidence; what was published is taken from the state with the greater version."""
    evidence = dict(one.evidence)
    for key, e in other.evidence.items():
        evidence[key] = _first_copy(evidence[key], e) if key in evidence else e
    newer = max(one, other, key=lambda state: state.version)
    return AddressState(compacted(evidence, rules), newer.version, newer.published)


def snapshot(state: AddressState, rules: GateRules) -> AddressSnapshot:
    """Return the snapshot that follows from all evidence."""
    if not state.evidence:
        return EMPTY_SNAPSHOT
    known = sorted(state.evidence.values(), key=lambda e: (e.at_us, e.id))
    suppressing: dict[str, list[Evidence]] = defaultdict(list)
    releases: dict[str, list[Evidence]] = defaultdict(list)
    for e in known:
        if e.kind in _PLATFORM:
            suppressing[ALL].append(e)
        elif e.kind == Kind.SUPPRESS:
            suppressing[e.scope].append(e)
        elif e.kind == Kind.RELEASE:
            releases[e.scope].append(e)
    scopes = (
        _scope(scope, suppressing[scope], _releases_of(scope, releases), rules)
        for scope in sorted(suppressing, key=_platform_first)
    )
    return AddressSnapshot(tuple(scope for scope in scopes if scope is not None), active_opt_outs(known))


def for_account(whole: AddressSnapshot, account_id: str) -> AddressSnapshot:
    """Return the part of a snapshot that applies to messages of one account."""
    if whole is EMPTY_SNAPSHOT:
        return EMPTY_SNAPSHOT
    scopes = (ALL, account_id)
    return AddressSnapshot(
        tuple(scope for scope in whole.scopes if scope.scope in scopes),
        tuple(out for out in whole.opt_outs if out.scope in scopes),
    )


def _first_copy(one: Evidence, other: Evidence) -> Evidence:
    """Of two copies the one received first, with the account and the message that either of them names."""
    scope, message = max(one.scope, other.scope), max(one.message, other.message)
    copies = (copy._replace(scope=scope, message=message) for copy in (one, other))
    return min(copies, key=lambda copy: (copy.received_us, copy))


def _platform_first(scope: str) -> tuple[bool, str]:
    return scope != ALL, scope


def _releases_of(scope: str, releases: Mapping[str, Sequence[Evidence]]) -> Sequence[Evidence]:
    """The releases that apply to a scope, in order of time: its own and the platform-wide ones."""
    everywhere, own = releases.get(ALL, ()), releases.get(scope, ())
    if scope == ALL or not own:
        return everywhere
    return sorted([*everywhere, *own], key=lambda e: (e.at_us, e.id))


def _scope(
    scope: str, suppressing: Iterable[Evidence], releases: Sequence[Evidence], rules: GateRules
) -> ScopeSnapshot | None:
    """The snapshot of one scope: its active reason, else the last one that was active. None if there never was one."""
    periods = [active_reason(period, rules) for period in _periods(suppressing, releases)]
    last = next((period for period in reversed(periods) if period is not None), None)
    if last is None:
        return None
    # The release after a period ended its suppression, if that had not lapsed by then.
    ended = [by for period, by in zip(periods, releases, strict=False) if period is not None and not period.lapsed]
    return ScopeSnapshot(
        scope,
        suppressed=last is periods[-1] and not last.lapsed,
        reason=last.reason,
        since_us=last.since_us,
        evidence=last.evidence,
        released_us=ended[-1].at_us if ended else None,
        released_by=ended[-1].actor if ended else "",
    )


def _periods(suppressing: Iterable[Evidence], releases: Sequence[Evidence]) -> list[list[Evidence]]:
    """The evidence of a scope, divided by its releases. A release cancels what happened up to and including its time.

    Of a suppress and a release at the same time the suppression stays in force: better one message too few.
    """
    times = [release.at_us for release in releases]
    periods: list[list[Evidence]] = [[] for _ in range(len(times) + 1)]
    for e in suppressing:
        after = bisect_right if e.kind == Kind.SUPPRESS else bisect_left
        periods[after(times, e.at_us)].append(e)
    return periods


def _with_published_scopes(current: AddressSnapshot, state: AddressState) -> AddressSnapshot:
    """Add the scopes that were published once and have no evidence any more, as no longer suppressed.

    That happens if a release is dated before the bounce that completed the window, or by a changed setting.
    """
    present = {scope.scope for scope in current.scopes}
    gone = [scope for scope in state.published.scopes if scope.scope not in present]
    if not gone:
        return current
    scopes = [*current.scopes, *(_no_longer(scope, state.evidence.values()) for scope in gone)]
    return current._replace(scopes=tuple(sorted(scopes, key=lambda scope: _platform_first(scope.scope))))


def _no_longer(published: ScopeSnapshot, known: Iterable[Evidence]) -> ScopeSnapshot:
    """A scope as it was published, but not suppressed; its last release, if there is one, released it."""
    if not published.suppressed:
        return published
    releases = (e for e in known if e.kind == Kind.RELEASE and e.scope in (ALL, published.scope))
    last = max(releases, key=lambda e: (e.at_us, e.id), default=None)
    if last is None:
        return published._replace(suppressed=False)
    return published._replace(suppressed=False, released_us=last.at_us, released_by=last.actor)


def _suppressed(scopes: Iterable[ScopeSnapshot]) -> list[tuple[str, str, int]]:
    return [(scope.scope, scope.reason, scope.since_us) for scope in scopes if scope.suppressed]


def _digest(outs: Iterable[ActiveOptOut]) -> bytes:
    """A hash, in 8 bytes, of all but the evidence. Senders go in by their keys."""
    fields = [(out.scope, out.group, sender_key(out.sender), out.reason, out.since_us) for out in outs]
    return blake2b(orjson.dumps(fields), digest_size=8).digest() if fields else b""
