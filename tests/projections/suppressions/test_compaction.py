"""Evidence compaction: it changes no snapshot, and a flood of bounces takes no more room than some dozens."""

from dataclasses import dataclass
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projections.suppressions.addressing import AddressKey
from projections.suppressions.compaction import MAX_ROW_BYTES, compacted
from projections.suppressions.evidence import LIFTING_KINDS, Evidence, Kind
from projections.suppressions.published import suppression_state_value
from projections.suppressions.rows import encode_address
from projections.suppressions.rules import BOUNCES_PER_MESSAGE, GateRules
from projections.suppressions.state import AddressState, ScopeSnapshot, apply_evidence, merge, reevaluate, snapshot
from projections.suppressions.texts import MAX_CHARACTERS
from tests.projections.suppressions.building import (
    RULES,
    a_release,
    an_item,
    bounce,
    day,
    evidence_sets,
    state_after,
)


@dataclass(frozen=True)
class FewKept(GateRules):
    """Rules that keep so little that a test exceeds it."""

    suppress_bounces: int = 2
    suppress_window_days: int = 5
    room: int = 2 * BOUNCES_PER_MESSAGE * 2

    @property
    def kept_at_each_end(self) -> int:
        return self.room


class AllKept(FewKept):
    """The same rules without compaction."""

    @property
    def kept_at_each_end(self) -> int:
        return 1_000_000


FEW_KEPT, ALL_KEPT = FewKept(), AllKept()
SUPPRESSING = [kind for kind in Kind if kind not in LIFTING_KINDS]
DAYS = st.integers(0, 400).map(lambda n: n / 4)


def all_of(*evidence: Evidence) -> dict[str, Evidence]:
    return {e.key: e for e in evidence}


_some = evidence_sets(max_size=10, days=DAYS)
_much = evidence_sets(SUPPRESSING, min_size=20, max_size=70, days=DAYS)
_bounces = evidence_sets([Kind.BOUNCE], min_size=20, max_size=70, days=DAYS)


@given(st.tuples(_some, st.one_of(_much, _bounces)))
def test_compaction_does_not_change_the_snapshot(parts: tuple[list[Evidence], ...]) -> None:
    evidence = all_of(*chain(*parts))
    kept = compacted(evidence, FEW_KEPT)
    assert kept.items() <= evidence.items()
    assert snapshot(AddressState(kept), FEW_KEPT) == snapshot(AddressState(evidence), FEW_KEPT)


@given(st.tuples(_some, st.one_of(_much, _bounces)), evidence_sets(max_size=10, days=DAYS))
def test_compaction_does_not_change_the_effect_of_later_evidence(
    parts: tuple[list[Evidence], ...], more: list[Evidence]
) -> None:
    evidence = all_of(*chain(*parts))
    later = AddressState(all_of(*(e._replace(id=f"later {e.id}", at_us=e.at_us + day(100) - day(0)) for e in more)))
    with_all = merge(AddressState(evidence), later, ALL_KEPT)
    with_little = merge(AddressState(compacted(evidence, FEW_KEPT)), later, FEW_KEPT)
    assert snapshot(with_little, FEW_KEPT) == snapshot(with_all, FEW_KEPT)


@given(_much)
def test_compaction_is_idempotent(evidence: list[Evidence]) -> None:
    kept = compacted(all_of(*evidence), FEW_KEPT)
    assert compacted(kept, FEW_KEPT) == kept


@given(_much, st.data())
def test_the_same_scopes_are_suppressed_in_any_order(evidence: list[Evidence], data: st.DataObject) -> None:
    read = data.draw(st.permutations(evidence))
    suppressed = {
        scope.scope for scope in snapshot(AddressState(all_of(*evidence)), FEW_KEPT).scopes if scope.suppressed
    }
    found = snapshot(AddressState(state_after(*read, rules=FEW_KEPT).evidence), FEW_KEPT)
    assert {scope.scope for scope in found.scopes if scope.suppressed} == suppressed


@given(evidence_sets(max_size=RULES.kept_at_each_end))
def test_evidence_below_the_limit_is_kept_whole(evidence: list[Evidence]) -> None:
    assert compacted(all_of(*evidence), RULES) == all_of(*evidence)


@pytest.mark.parametrize(
    "flood",
    [
        pytest.param([bounce(n / 100, f"m{n}") for n in range(3000)], id="many messages"),
        pytest.param([bounce(n / 100, f"m{n % 3}", id=f"b{n}") for n in range(3000)], id="three messages"),
        pytest.param([an_item(Kind.COMPLAINT, n / 100) for n in range(3000)], id="complaints"),
        pytest.param([an_item(Kind.OPTED_OUT, n / 100, senders=("+1",)) for n in range(3000)], id="texts"),
        pytest.param([a_release(n / 100) for n in range(3000)], id="releases"),
    ],
)
def test_a_flood_of_evidence_is_bounded(flood: list[Evidence]) -> None:
    state = state_after(*flood)
    most = 2 * RULES.kept_at_each_end + RULES.suppress_bounces
    assert len(state.evidence) <= most
    assert len(encode_address(state)) < 200 * most
    assert snapshot(state, RULES) == snapshot(AddressState(all_of(*flood)), RULES)


LONG = "\x00" * MAX_CHARACTERS
"""A text that takes six times its length in JSON."""


@pytest.mark.parametrize(
    "flood",
    [
        pytest.param(
            [an_item(Kind.UNSUBSCRIBED, n / 100, scope=f"a{n}", group=f"{n}{LONG[6:]}") for n in range(6000)],
            id="groups",
        ),
        pytest.param(
            [an_item(Kind.OPTED_OUT, n / 100, senders=(f"{n}{LONG[6:]}", f"m{n}{LONG[6:]}")) for n in range(3000)],
            id="senders",
        ),
        pytest.param(
            [
                an_item(Kind.OPT_IN, n / 100, group=f"{n}{LONG[6:]}", senders=(LONG,), id=f"{n}{LONG[6:]}", actor=LONG)
                for n in range(2000)
            ],
            id="commands",
        ),
        pytest.param(
            [
                *(an_item(Kind.SUPPRESS, n / 100, scope=f"a{n}", id=f"{n}") for n in range(20_000)),
                a_release(1000, "*")._replace(actor=LONG),
            ],
            id="accounts",
        ),
        pytest.param([an_item(Kind.LISTED, n / 100, list=f"{n}{LONG[6:]}") for n in range(6000)], id="lists"),
        pytest.param([bounce(n / 100, f"{n}{LONG[6:]}") for n in range(6000)], id="messages"),
    ],
)
def test_a_row_and_the_published_record_fit_into_a_kafka_record_with_any_texts(flood: list[Evidence]) -> None:
    state = reevaluate(AddressState(compacted(all_of(*flood), RULES)), RULES)
    assert len(encode_address(state.state)) <= MAX_ROW_BYTES
    assert (
        len(suppression_state_value(AddressKey("email", "a" * MAX_CHARACTERS), state.snapshot, 1, 0)) <= MAX_ROW_BYTES
    )
    newest = sorted(flood, key=lambda e: e.at_us)[-len(state.state.evidence) :]
    assert flood[0].kind == Kind.BOUNCE or set(state.state.evidence.values()) == set(newest), "the oldest goes first"


SPARSE = [bounce(10 * n, f"m{n}") for n in range(200)]
"""Bounces too far apart to suppress an address, and more than are kept."""


def after_sparse(*later: Evidence) -> ScopeSnapshot | None:
    """The platform-wide scope if these come after all the sparse ones were compacted."""
    state = AddressState(compacted(all_of(*SPARSE), RULES))
    assert len(state.evidence) < len(SPARSE)
    for e in later:
        state = apply_evidence(state, e, RULES).state
    return next(iter(snapshot(state, RULES).scopes), None)


def test_the_window_that_suppressed_an_address_is_kept_however_much_came_before_and_after() -> None:
    (scope,) = snapshot(state_after(*SPARSE[:101], bounce(1001, "x"), bounce(1002, "y"), *SPARSE[101:]), RULES).scopes
    assert (scope.suppressed, scope.since_us, scope.evidence[0]) == (True, day(1002), SPARSE[100].id)


def test_the_newest_bounces_are_kept_for_later_ones() -> None:
    assert after_sparse() is None
    scope = after_sparse(bounce(1991, "x"), bounce(1992, "y"))
    assert scope is not None
    assert (scope.since_us, scope.evidence[0]) == (day(1992), SPARSE[-1].id)


def test_the_oldest_bounces_are_kept_for_late_ones() -> None:
    scope = after_sparse(bounce(1, "x"), bounce(2, "y"))
    assert scope is not None
    assert (scope.since_us, scope.evidence[0]) == (day(2), SPARSE[0].id)


def test_after_a_release_the_first_window_counts_whatever_came_before_and_after() -> None:
    before = [bounce(n / 100, f"m{n}") for n in range(500)]
    after = [bounce(6 + n / 100, f"n{n}") for n in range(500)]
    (scope,) = snapshot(state_after(*before, a_release(5), *after), RULES).scopes
    assert (scope.suppressed, scope.since_us, scope.released_us) == (True, day(6.02), day(5))


def test_old_periods_are_dropped_with_their_releases() -> None:
    read = [e for n in range(300) for e in (an_item(Kind.COMPLAINT, n), a_release(n + 0.5))]
    state = state_after(*read)
    assert len(state.evidence) <= 5 * RULES.kept_at_each_end
    assert snapshot(state, RULES) == snapshot(AddressState(all_of(*read)), RULES)
