"""A small memory: what is dropped changes no answer, and a million bounces take no more room than some dozens."""

from dataclasses import dataclass
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projections.gate.addressing import AddressKey
from projections.gate.evidence import LIFTS, Evidence, Kind
from projections.gate.published import state_value
from projections.gate.rows import row_of_address
from projections.gate.rules import PER_MESSAGE, Rules
from projections.gate.suppression import AddressState, ScopeView, join, review, step, view
from projections.gate.texts import MAX_CHARACTERS
from projections.gate.thinning import MAX_ROW_BYTES, thinned
from tests.projections.gate.building import (
    RULES,
    a_release,
    bounce,
    day,
    evidence_sets,
    known,
    seen,
)


@dataclass(frozen=True)
class Forgetful(Rules):
    """Rules with so little memory that a test fills it."""

    suppress_bounces: int = 2
    suppress_window_days: int = 5
    room: int = 2 * PER_MESSAGE * 2

    @property
    def kept(self) -> int:
        return self.room


class Mindful(Forgetful):
    """The same with room for everything."""

    @property
    def kept(self) -> int:
        return 1_000_000


FORGETFUL, MINDFUL = Forgetful(), Mindful()
CLOSING = [kind for kind in Kind if kind not in LIFTS]
DAYS = st.integers(0, 400).map(lambda n: n / 4)


def all_of(*evidence: Evidence) -> dict[str, Evidence]:
    return {e.key: e for e in evidence}


_some = evidence_sets(max_size=10, days=DAYS)
_much = evidence_sets(CLOSING, min_size=20, max_size=70, days=DAYS)
_bounces = evidence_sets([Kind.BOUNCE], min_size=20, max_size=70, days=DAYS)


@given(st.tuples(_some, st.one_of(_much, _bounces)))
def test_what_is_dropped_changes_no_answer(parts: tuple[list[Evidence], ...]) -> None:
    evidence = all_of(*chain(*parts))
    kept = thinned(evidence, FORGETFUL)
    assert kept.items() <= evidence.items()
    assert view(AddressState(kept), FORGETFUL) == view(AddressState(evidence), FORGETFUL)


@given(st.tuples(_some, st.one_of(_much, _bounces)), evidence_sets(max_size=10, days=DAYS))
def test_nor_does_it_change_what_later_evidence_does(parts: tuple[list[Evidence], ...], more: list[Evidence]) -> None:
    evidence = all_of(*chain(*parts))
    later = AddressState(all_of(*(e._replace(id=f"later {e.id}", at_us=e.at_us + day(100) - day(0)) for e in more)))
    with_all = join(AddressState(evidence), later, MINDFUL)
    with_little = join(AddressState(thinned(evidence, FORGETFUL)), later, FORGETFUL)
    assert view(with_little, FORGETFUL) == view(with_all, FORGETFUL)


@given(_much)
def test_thinning_again_drops_nothing(evidence: list[Evidence]) -> None:
    kept = thinned(all_of(*evidence), FORGETFUL)
    assert thinned(kept, FORGETFUL) == kept


@given(_much, st.data())
def test_whatever_the_order_the_same_is_suppressed(evidence: list[Evidence], data: st.DataObject) -> None:
    read = data.draw(st.permutations(evidence))
    closed = {scope.scope for scope in view(AddressState(all_of(*evidence)), FORGETFUL).scopes if scope.suppressed}
    found = view(AddressState(known(*read, rules=FORGETFUL).evidence), FORGETFUL)
    assert {scope.scope for scope in found.scopes if scope.suppressed} == closed


@given(evidence_sets(max_size=RULES.kept))
def test_what_an_honest_address_has_is_kept_whole(evidence: list[Evidence]) -> None:
    assert thinned(all_of(*evidence), RULES) == all_of(*evidence)


@pytest.mark.parametrize(
    "flood",
    [
        pytest.param([bounce(n / 100, f"m{n}") for n in range(3000)], id="many messages"),
        pytest.param([bounce(n / 100, f"m{n % 3}", id=f"b{n}") for n in range(3000)], id="three messages"),
        pytest.param([seen(Kind.COMPLAINT, n / 100) for n in range(3000)], id="complaints"),
        pytest.param([seen(Kind.OPTED_OUT, n / 100, senders=("+1",)) for n in range(3000)], id="texts"),
        pytest.param([a_release(n / 100) for n in range(3000)], id="releases"),
    ],
)
def test_a_flood_fills_no_memory(flood: list[Evidence]) -> None:
    state = known(*flood)
    most = 2 * RULES.kept + RULES.suppress_bounces
    assert len(state.evidence) <= most
    assert len(row_of_address(state)) < 200 * most
    assert view(state, RULES) == view(AddressState(all_of(*flood)), RULES)


LONG = "\x00" * MAX_CHARACTERS
"""A text of which JSON makes six times as much."""


@pytest.mark.parametrize(
    "flood",
    [
        pytest.param(
            [seen(Kind.UNSUBSCRIBED, n / 100, scope=f"a{n}", group=f"{n}{LONG[6:]}") for n in range(6000)], id="groups"
        ),
        pytest.param(
            [seen(Kind.OPTED_OUT, n / 100, senders=(f"{n}{LONG[6:]}", f"m{n}{LONG[6:]}")) for n in range(3000)],
            id="senders",
        ),
        pytest.param(
            [
                seen(Kind.OPT_IN, n / 100, group=f"{n}{LONG[6:]}", senders=(LONG,), id=f"{n}{LONG[6:]}", actor=LONG)
                for n in range(2000)
            ],
            id="commands",
        ),
        pytest.param(
            [
                *(seen(Kind.SUPPRESS, n / 100, scope=f"a{n}", id=f"{n}") for n in range(20_000)),
                a_release(1000, "*")._replace(actor=LONG),
            ],
            id="accounts",
        ),
        pytest.param([seen(Kind.LISTED, n / 100, list=f"{n}{LONG[6:]}") for n in range(6000)], id="lists"),
        pytest.param([bounce(n / 100, f"{n}{LONG[6:]}") for n in range(6000)], id="messages"),
    ],
)
def test_whatever_anybody_writes_a_row_and_what_is_published_fit_into_a_record(flood: list[Evidence]) -> None:
    state = review(AddressState(thinned(all_of(*flood), RULES)), RULES)
    assert len(row_of_address(state.state)) <= MAX_ROW_BYTES
    assert len(state_value(AddressKey("email", "a" * MAX_CHARACTERS), state.view, 1, 0)) <= MAX_ROW_BYTES
    newest = sorted(flood, key=lambda e: e.at_us)[-len(state.state.evidence) :]
    assert flood[0].kind == Kind.BOUNCE or set(state.state.evidence.values()) == set(newest), "the oldest goes first"


SPARSE = [bounce(10 * n, f"m{n}") for n in range(200)]
"""Bounces too far apart to close an address, and more than are kept."""


def after_sparse(*later: Evidence) -> ScopeView | None:
    """What holds on the platform if these come after all the sparse ones were thinned."""
    state = AddressState(thinned(all_of(*SPARSE), RULES))
    assert len(state.evidence) < len(SPARSE)
    for e in later:
        state = step(state, e, RULES).state
    return next(iter(view(state, RULES).scopes), None)


def test_what_closed_an_address_is_kept_however_much_came_before_and_after() -> None:
    (scope,) = view(known(*SPARSE[:101], bounce(1001, "x"), bounce(1002, "y"), *SPARSE[101:]), RULES).scopes
    assert (scope.suppressed, scope.since_us, scope.evidence[0]) == (True, day(1002), SPARSE[100].id)


def test_the_last_bounces_are_kept_for_what_comes_next() -> None:
    assert after_sparse() is None
    scope = after_sparse(bounce(1991, "x"), bounce(1992, "y"))
    assert scope is not None
    assert (scope.since_us, scope.evidence[0]) == (day(1992), SPARSE[-1].id)


def test_the_first_bounces_are_kept_for_one_that_comes_late() -> None:
    scope = after_sparse(bounce(1, "x"), bounce(2, "y"))
    assert scope is not None
    assert (scope.since_us, scope.evidence[0]) == (day(2), SPARSE[0].id)


def test_after_a_release_the_first_window_counts_however_much_was_before_and_comes_after() -> None:
    before = [bounce(n / 100, f"m{n}") for n in range(500)]
    after = [bounce(6 + n / 100, f"n{n}") for n in range(500)]
    (scope,) = view(known(*before, a_release(5), *after), RULES).scopes
    assert (scope.suppressed, scope.since_us, scope.released_us) == (True, day(6.02), day(5))


def test_old_spells_are_forgotten_as_their_releases_are() -> None:
    read = [e for n in range(300) for e in (seen(Kind.COMPLAINT, n), a_release(n + 0.5))]
    state = known(*read)
    assert len(state.evidence) <= 5 * RULES.kept
    assert view(state, RULES) == view(AddressState(all_of(*read)), RULES)
