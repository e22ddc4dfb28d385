"""Whether an address is suppressed, and what its owner does not want: the fold of CONTRACT section 6.

In:  `Evidence` of one address, in any order, with repeats and copies.
Out: a `SuppressionView`, the same for every order, any repeats and any split into batches.

The state is a set of evidence: all that is known, by id. Two states join as sets do, so the join commutes, is
associative, and repeats do nothing. What a release voids is worked out when the set is read, never when the release
comes: so it is one whether the release or the evidence comes first. How the set stays small:
`projections.gate.thinning`.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from projections.gate.evidence import Evidence, Kind
from projections.gate.opt_outs import OptOut, opt_outs
from projections.gate.rules import Rules
from projections.gate.spells import held
from projections.gate.thinning import thinned
from schemas.suppressions import EVERYWHERE

__all__ = [
    "NOTHING",
    "UNKNOWN",
    "AddressState",
    "ScopeView",
    "Step",
    "SuppressionView",
    "changed",
    "join",
    "of_account",
    "step",
    "view",
]


_EVENTS: Final = frozenset({Kind.BOUNCE, Kind.COMPLAINT, Kind.LISTED, Kind.UNLISTED})
"""What suppresses on the whole platform, and what takes that back."""


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


@dataclass(frozen=True, slots=True)
class AddressState:
    """What is known of one address. `version` is that of the last record in `suppressions.changed`; 0 for none."""

    evidence: Mapping[str, Evidence] = field(default_factory=dict)
    version: int = 0


UNKNOWN: Final = AddressState()
"""An address of which nothing is known."""


class Step(NamedTuple):
    """What one piece of evidence did."""

    state: AddressState
    view: SuppressionView
    changed: bool
    """Whether a record of `suppressions.changed` is due; then `state.version` is its version."""


def step(state: AddressState, evidence: Evidence, rules: Rules) -> Step:
    """Take in one piece of evidence. A batch is taken one by one, so that no change in the middle of it is lost."""
    taken = join(state, AddressState({evidence.key: evidence}), rules)
    if taken.evidence == state.evidence:
        return Step(state, view(state, rules), changed=False)
    before, after = view(state, rules), view(taken, rules)
    if not changed(before, after):
        return Step(taken, after, changed=False)
    return Step(AddressState(taken.evidence, state.version + 1), after, changed=True)


def join(one: AddressState, other: AddressState, rules: Rules) -> AddressState:
    """Return all that both know."""
    evidence = dict(one.evidence)
    for key, e in other.evidence.items():
        evidence[key] = _first_copy(evidence[key], e) if key in evidence else e
    return AddressState(thinned(evidence, rules), max(one.version, other.version))


def view(state: AddressState, rules: Rules) -> SuppressionView:
    """Return what holds, given all that is known."""
    if not state.evidence:
        return NOTHING
    known = sorted(state.evidence.values(), key=lambda e: (e.at_us, e.id))
    accounts = {e.scope for e in known if e.kind == Kind.SUPPRESS} - {EVERYWHERE}
    scopes = (_scope(scope, known, rules) for scope in (EVERYWHERE, *sorted(accounts)))
    return SuppressionView(tuple(scope for scope in scopes if scope is not None), opt_outs(known))


def changed(before: SuppressionView, after: SuppressionView) -> bool:
    """Return whether something that others must know is different. More evidence for what holds is no change."""
    return _told(before) != _told(after)


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


def _scope(scope: str, known: Iterable[Evidence], rules: Rules) -> ScopeView | None:
    """What holds in one scope now; where nothing does, what was the last that did. None if nothing ever did."""
    releases = [e for e in known if e.kind == Kind.RELEASE and e.scope in (EVERYWHERE, scope)]
    spells = [held(spell, rules) for spell in _spells(scope, known, releases)]
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


def _spells(scope: str, known: Iterable[Evidence], releases: Sequence[Evidence]) -> list[list[Evidence]]:
    """The evidence of a scope, parted by its releases. A release voids what happened up to its own time.

    Of a command to suppress and one to release at the same time the first is in force: rather no mail than unwanted.
    """
    times = [release.at_us for release in releases]
    spells: list[list[Evidence]] = [[] for _ in range(len(times) + 1)]
    for e in known:
        if e.kind == Kind.SUPPRESS:
            if e.scope == scope:
                spells[bisect_right(times, e.at_us)].append(e)
        elif scope == EVERYWHERE and e.kind in _EVENTS:
            spells[bisect_left(times, e.at_us)].append(e)
    return spells


def _told(whole: SuppressionView) -> tuple[object, object]:
    return (
        [(scope.scope, scope.reason, scope.since_us) for scope in whole.scopes if scope.suppressed],
        [out[:-1] for out in whole.opt_outs],
    )
