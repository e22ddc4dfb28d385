"""Whether an address is suppressed, and what its owner does not want: the fold of docs/explanation/gate.md.

In:  `Evidence` of one address, in any order, with repeats and copies.
Out: a `SuppressionView`, the same for every order, any repeats and any split into batches.

The state is a set of evidence: all that is known, by id. Two states join as sets do, so the join commutes, is
associative, and repeats do nothing. What a release voids is worked out when the set is read, never when the release
comes: so it is one whether the release or the evidence comes first. How the set stays small:
`projections.gate.thinning`.

Beside the evidence, the state has what was published last. That alone says whether a record is due, so that a changed
setting is published, too; and a scope that was stated once stays stated, also where the evidence that is now known
would never have suppressed it.
"""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Final, NamedTuple

import orjson

from projections.gate.addressing import sender_key
from projections.gate.evidence import Evidence, Kind
from projections.gate.opt_outs import OptOut, opt_outs
from projections.gate.rules import Rules
from projections.gate.spells import held
from projections.gate.thinning import thinned
from schemas.suppressions import EVERYWHERE

__all__ = [
    "NOTHING",
    "UNKNOWN",
    "UNPUBLISHED",
    "AddressState",
    "Published",
    "ScopeView",
    "Step",
    "SuppressionView",
    "join",
    "of_account",
    "review",
    "step",
    "view",
]


_PLATFORM: Final = frozenset({Kind.BOUNCE, Kind.COMPLAINT, Kind.LISTED, Kind.UNLISTED})
"""Events that suppress on the whole platform, and what takes that back."""


class ScopeView(NamedTuple):
    """Whether an address is suppressed in one scope. What was released still says why it had been suppressed."""

    scope: str
    suppressed: bool
    reason: str
    since_us: int
    evidence: tuple[str, ...]
    released_us: int | None = None
    """When the last suppression that a person ended was ended; None where none was."""
    released_by: str = ""


class SuppressionView(NamedTuple):
    """All that holds for one address: the scopes that are or were suppressed, `*` first, and the opt-outs in force."""

    scopes: tuple[ScopeView, ...]
    opt_outs: tuple[OptOut, ...]


NOTHING: Final = SuppressionView((), ())
"""What holds for an address of which nothing is known."""


class Published(NamedTuple):
    """What the last record of `suppressions.changed` said of an address."""

    scopes: tuple[ScopeView, ...] = ()
    opt_outs: bytes = b""
    """A digest of the opt-outs: only whether they are other ones is asked. Empty for none."""

    @classmethod
    def of(cls, view: SuppressionView) -> "Published":
        """Return what a record of this view says."""
        return cls(view.scopes, _digest(view.opt_outs))

    def says(self, view: SuppressionView) -> bool:
        """Return whether it says all that others must know. More evidence for what holds is no change."""
        return _suppressed(self.scopes) == _suppressed(view.scopes) and self.opt_outs == _digest(view.opt_outs)


UNPUBLISHED: Final = Published()
"""What was said of an address of which nothing was published."""


@dataclass(frozen=True, slots=True)
class AddressState:
    """What is known of one address, and what was published of it."""

    evidence: Mapping[str, Evidence] = field(default_factory=dict)
    version: int = 0
    """That of the last record in `suppressions.changed`; 0 for none."""
    published: Published = UNPUBLISHED


UNKNOWN: Final = AddressState()
"""An address of which nothing is known."""


class Step(NamedTuple):
    """What one piece of evidence, or another look at an address, did."""

    state: AddressState
    view: SuppressionView
    """What holds now, with each scope that was ever published."""
    changed: bool
    """Whether a record of `suppressions.changed` is due; then `state.version` is its version."""


def step(state: AddressState, evidence: Evidence, rules: Rules) -> Step:
    """Take in one piece of evidence. A batch is taken one by one, so that no change in the middle of it is lost."""
    taken = join(state, AddressState({evidence.key: evidence}), rules)
    return review(state if taken.evidence == state.evidence else taken, rules)


def review(state: AddressState, rules: Rules) -> Step:
    """Compare what holds with what was published last: they differ after new evidence, or after a changed setting."""
    if state is UNKNOWN:
        return Step(state, NOTHING, changed=False)
    holds = _with_published_scopes(view(state, rules), state)
    if state.published.says(holds):
        return Step(state, holds, changed=False)
    published = replace(state, version=state.version + 1, published=Published.of(holds))
    return Step(published, holds, changed=True)


def join(one: AddressState, other: AddressState, rules: Rules) -> AddressState:
    """Return all that both know. What was published is that of the greater version."""
    evidence = dict(one.evidence)
    for key, e in other.evidence.items():
        evidence[key] = _first_copy(evidence[key], e) if key in evidence else e
    newer = max(one, other, key=lambda state: state.version)
    return AddressState(thinned(evidence, rules), newer.version, newer.published)


def view(state: AddressState, rules: Rules) -> SuppressionView:
    """Return what holds, given all that is known."""
    if not state.evidence:
        return NOTHING
    known = sorted(state.evidence.values(), key=lambda e: (e.at_us, e.id))
    suppressing: dict[str, list[Evidence]] = defaultdict(list)
    releases: dict[str, list[Evidence]] = defaultdict(list)
    for e in known:
        if e.kind in _PLATFORM:
            suppressing[EVERYWHERE].append(e)
        elif e.kind == Kind.SUPPRESS:
            suppressing[e.scope].append(e)
        elif e.kind == Kind.RELEASE:
            releases[e.scope].append(e)
    scopes = (
        _scope(scope, suppressing[scope], _releases_of(scope, releases), rules)
        for scope in sorted(suppressing, key=_platform_first)
    )
    return SuppressionView(tuple(scope for scope in scopes if scope is not None), opt_outs(known))


def of_account(whole: SuppressionView, account_id: str) -> SuppressionView:
    """Return what of a view concerns the mail of one account."""
    if whole is NOTHING:
        return NOTHING
    scopes = (EVERYWHERE, account_id)
    return SuppressionView(
        tuple(scope for scope in whole.scopes if scope.scope in scopes),
        tuple(out for out in whole.opt_outs if out.scope in scopes),
    )


def _first_copy(one: Evidence, other: Evidence) -> Evidence:
    """Of two copies the one received first; if either names its account or its message, that is told, too."""
    scope, message = max(one.scope, other.scope), max(one.message, other.message)
    copies = (copy._replace(scope=scope, message=message) for copy in (one, other))
    return min(copies, key=lambda copy: (copy.received_us, copy))


def _platform_first(scope: str) -> tuple[bool, str]:
    return scope != EVERYWHERE, scope


def _releases_of(scope: str, releases: Mapping[str, Sequence[Evidence]]) -> Sequence[Evidence]:
    """The releases that a scope obeys, in order of time: its own and those of the whole platform."""
    everywhere, own = releases.get(EVERYWHERE, ()), releases.get(scope, ())
    if scope == EVERYWHERE or not own:
        return everywhere
    return sorted([*everywhere, *own], key=lambda e: (e.at_us, e.id))


def _scope(scope: str, suppressing: Iterable[Evidence], releases: Sequence[Evidence], rules: Rules) -> ScopeView | None:
    """What holds in one scope now; where nothing does, what was the last that did. None if nothing ever did."""
    spells = [held(spell, rules) for spell in _spells(suppressing, releases)]
    last = next((spell for spell in reversed(spells) if spell is not None), None)
    if last is None:
        return None
    # The release that follows a spell ended it, if anything still held.
    ended = [by for spell, by in zip(spells, releases, strict=False) if spell is not None and not spell.lapsed]
    return ScopeView(
        scope,
        suppressed=last is spells[-1] and not last.lapsed,
        reason=last.reason,
        since_us=last.since_us,
        evidence=last.evidence,
        released_us=ended[-1].at_us if ended else None,
        released_by=ended[-1].actor if ended else "",
    )


def _spells(suppressing: Iterable[Evidence], releases: Sequence[Evidence]) -> list[list[Evidence]]:
    """The evidence of a scope, parted by its releases. A release voids what happened up to its own time.

    Of a command to suppress and one to release at the same time the first is in force: rather no mail than unwanted.
    """
    times = [release.at_us for release in releases]
    spells: list[list[Evidence]] = [[] for _ in range(len(times) + 1)]
    for e in suppressing:
        after = bisect_right if e.kind == Kind.SUPPRESS else bisect_left
        spells[after(times, e.at_us)].append(e)
    return spells


def _with_published_scopes(holds: SuppressionView, state: AddressState) -> SuppressionView:
    """Add the scopes that were published once and for which no evidence is left: they are not suppressed any more.

    That happens where a release is dated before what completed the suppression, or by a changed setting.
    """
    stated = {scope.scope for scope in holds.scopes}
    gone = [scope for scope in state.published.scopes if scope.scope not in stated]
    if not gone:
        return holds
    scopes = [*holds.scopes, *(_no_longer(scope, state.evidence.values()) for scope in gone)]
    return holds._replace(scopes=tuple(sorted(scopes, key=lambda scope: _platform_first(scope.scope))))


def _no_longer(published: ScopeView, known: Iterable[Evidence]) -> ScopeView:
    """A scope as it was published, but not suppressed: released by its last release, if there was any."""
    if not published.suppressed:
        return published
    releases = (e for e in known if e.kind == Kind.RELEASE and e.scope in (EVERYWHERE, published.scope))
    last = max(releases, key=lambda e: (e.at_us, e.id), default=None)
    if last is None:
        return published._replace(suppressed=False)
    return published._replace(suppressed=False, released_us=last.at_us, released_by=last.actor)


def _suppressed(scopes: Iterable[ScopeView]) -> list[tuple[str, str, int]]:
    return [(scope.scope, scope.reason, scope.since_us) for scope in scopes if scope.suppressed]


def _digest(outs: Iterable[OptOut]) -> bytes:
    """What tells opt-outs from others, in 8 bytes: all but the evidence, and senders in any spelling."""
    said = [(out.scope, out.group, sender_key(out.sender), out.reason, out.since_us) for out in outs]
    return blake2b(orjson.dumps(said), digest_size=8).digest() if said else b""
