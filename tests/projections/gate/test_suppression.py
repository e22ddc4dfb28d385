"""Whether an address is suppressed: the law, the windows, releases, and when others are told."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projections.gate.addressing import sender_key
from projections.gate.evidence import LIFTS, Evidence, Kind
from projections.gate.rows import address_of_row, row_of_address
from projections.gate.rules import Rules
from projections.gate.suppression import (
    NOTHING,
    UNKNOWN,
    AddressState,
    Published,
    ScopeView,
    SuppressionView,
    join,
    of_account,
    review,
    step,
    view,
)
from tests.projections.gate.building import (
    RULES,
    a_release,
    at_once,
    bounce,
    day,
    evidence_sets,
    known,
    seen,
    seen_as,
    with_copies,
)
from tests.projections.gate.in_order import opt_outs_in_order, scope_in_order

COMPLAINT = seen(Kind.COMPLAINT, 2)
THREE = (bounce(1, "m1"), bounce(2, "m2"), bounce(3, "m3"))


def platform(*evidence: Evidence) -> ScopeView | None:
    """What holds on the whole platform."""
    return next((scope for scope in seen_as(*evidence).scopes if scope.scope == "*"), None)


def held(*evidence: Evidence) -> tuple[str, int] | None:
    """The reason on the whole platform and the day since which it holds; None where the address is open."""
    scope = platform(*evidence)
    return (scope.reason, scope.since_us) if scope and scope.suppressed else None


@given(evidence_sets(), st.data())
def test_order_repeats_and_batches_do_nothing(evidence: list[Evidence], data: st.DataObject) -> None:
    read = data.draw(with_copies(evidence))
    cut = data.draw(st.integers(0, len(read)))
    one_by_one = AddressState(known(*read).evidence)
    in_two_parts = join(at_once(read[cut:]), at_once(read[:cut]), RULES)
    assert one_by_one == in_two_parts == AddressState(known(*evidence).evidence)
    assert row_of_address(one_by_one) == row_of_address(in_two_parts)
    assert view(one_by_one, RULES) == seen_as(*evidence)


@given(evidence_sets(), evidence_sets(), evidence_sets(), st.data())
def test_states_join_as_sets_do(
    one: list[Evidence], two: list[Evidence], three: list[Evidence], data: st.DataObject
) -> None:
    everything = [*one, *two, *three]
    a, b, c = (at_once(data.draw(with_copies([*part, *everything[:2]], unalike=True))) for part in (one, two, three))
    assert join(a, b, RULES) == join(b, a, RULES)
    assert join(a, join(b, c, RULES), RULES) == join(join(a, b, RULES), c, RULES)
    assert join(a, a, RULES) == a


@given(evidence_sets(max_size=20), st.data())
def test_the_fold_says_what_reading_in_order_of_time_says(evidence: list[Evidence], data: st.DataObject) -> None:
    found = seen_as(*data.draw(with_copies(evidence)))
    scopes = {scope.scope: scope for scope in found.scopes}
    for scope in ("*", "acme", "bold"):
        shown = scopes.get(scope)
        told = shown and (shown.suppressed, shown.reason, shown.since_us, shown.released_us)
        assert told == scope_in_order(scope, evidence, RULES)
    outs = {(out.scope, out.group, sender_key(out.sender)): out.since_us for out in found.opt_outs}
    assert outs == opt_outs_in_order(evidence)


@given(evidence_sets(), st.integers(0, 24), st.data())
def test_a_release_voids_exactly_what_is_older(evidence: list[Evidence], at: int, data: st.DataObject) -> None:
    release = a_release(at / 2, id="the release")
    newer = [e for e in evidence if e.kind in LIFTS or e.at_us > release.at_us or _suppresses_at(e, release.at_us)]
    read = data.draw(st.permutations([*evidence, release]))
    assert _open_and_closed(*read) == _open_and_closed(*newer)


def _suppresses_at(e: Evidence, at_us: int) -> bool:
    return e.kind == Kind.SUPPRESS and e.at_us == at_us


def _open_and_closed(*evidence: Evidence) -> list[tuple[object, ...]]:
    return [
        (scope.scope, scope.reason, scope.since_us, scope.evidence)
        for scope in seen_as(*evidence).scopes
        if scope.suppressed
    ]


@given(evidence_sets(), evidence_sets([Kind.RELEASE]))
def test_a_release_touches_no_opt_out(evidence: list[Evidence], releases: list[Evidence]) -> None:
    assert seen_as(*evidence, *releases).opt_outs == seen_as(*evidence).opt_outs


@given(evidence_sets([kind for kind in Kind if kind not in LIFTS]), evidence_sets([Kind.BOUNCE, Kind.COMPLAINT]))
def test_without_a_release_what_is_suppressed_stays_so(evidence: list[Evidence], more: list[Evidence]) -> None:
    before = {scope.scope for scope in seen_as(*evidence).scopes if scope.suppressed}
    assert before <= {scope.scope for scope in seen_as(*evidence, *more).scopes if scope.suppressed}


def _first_closed(bounces: list[Evidence]) -> int | None:
    """The slow and plain form of the window: at which bounce are there enough messages within it?"""
    for at_us in sorted(e.at_us for e in bounces):
        within = {e.message or e.id for e in bounces if at_us - RULES.window_us <= e.at_us <= at_us}
        if len(within) >= RULES.suppress_bounces:
            return at_us
    return None


@given(evidence_sets([Kind.BOUNCE], max_size=20))
def test_the_window_is_the_first_that_has_enough_messages(bounces: list[Evidence]) -> None:
    scope = platform(*bounces)
    assert (scope and scope.since_us) == _first_closed(bounces)
    if scope is not None:
        proof = [e for e in bounces if e.id in scope.evidence]
        assert len({e.message or e.id for e in proof}) == len(proof) == RULES.suppress_bounces
        assert max(e.at_us for e in proof) == scope.since_us
        assert max(e.at_us for e in proof) - min(e.at_us for e in proof) <= RULES.window_us


@pytest.mark.parametrize(
    ("evidence", "expected"),
    [
        pytest.param(THREE[:2], None, id="two are not enough"),
        pytest.param(THREE, ("bounces", day(3)), id="the third closes it"),
        pytest.param((*THREE[:2], bounce(3, "m2")), None, id="two bounces of one message are one"),
        pytest.param((bounce(0, "m1"), bounce(1, "m2"), bounce(5, "m3")), ("bounces", day(5)), id="ends are included"),
        pytest.param((bounce(0, "m1"), bounce(1, "m2"), bounce(5.00001, "m3")), None, id="beyond the end is too late"),
        pytest.param(
            (bounce(0, "m1"), bounce(4, "m1", id="again"), bounce(8, "m2"), bounce(9, "m3")),
            ("bounces", day(9)),
            id="any one bounce of each message",
        ),
        pytest.param(
            (*THREE, bounce(2.5, "m9")), ("bounces", day(2.5)), id="a late bounce that completes it earlier moves since"
        ),
        pytest.param((*THREE, bounce(4, "m4"), bounce(5, "m5")), ("bounces", day(3)), id="more of them change nothing"),
        pytest.param((bounce(1, ""), bounce(2, "", id="b"), bounce(3, "", id="c")), ("bounces", day(3)), id="nameless"),
        pytest.param((COMPLAINT,), ("complaint", day(2)), id="one complaint is enough"),
        pytest.param((COMPLAINT, seen(Kind.COMPLAINT, 1)), ("complaint", day(1)), id="the first complaint says since"),
        pytest.param(
            (*THREE, seen(Kind.COMPLAINT, 9)), ("complaint", day(9)), id="a complaint is shown before bounces"
        ),
        pytest.param((seen(Kind.SUPPRESS, 2), seen(Kind.SUPPRESS, 4)), ("manual", day(2)), id="again by hand"),
        pytest.param((seen(Kind.SUPPRESS, 2), a_release(2)), ("manual", day(2)), id="suppress before release"),
        pytest.param((COMPLAINT, a_release(2)), None, id="a release voids what happened at its own time"),
        pytest.param((COMPLAINT, a_release(1.9)), ("complaint", day(2)), id="and nothing later"),
        pytest.param((*THREE, a_release(1)), None, id="two are left after the release"),
        pytest.param((*THREE, a_release(1), bounce(4, "m1", id="x")), ("bounces", day(4)), id="and a third again"),
        pytest.param((COMPLAINT, a_release(3, "acme")), ("complaint", day(2)), id="an account's release is its own"),
        pytest.param((seen(Kind.SUPPRESS, 2, scope="acme"),), None, id="an account's suppression is its own"),
    ],
)
def test_an_address_is_suppressed(evidence: tuple[Evidence, ...], expected: tuple[str, int] | None) -> None:
    assert held(*evidence) == expected
    assert held(*reversed(evidence)) == expected


LISTED = seen(Kind.LISTED, 1, list="1/outbound")


@pytest.mark.parametrize(
    ("evidence", "expected"),
    [
        pytest.param((LISTED,), ("provider", day(1)), id="at once"),
        pytest.param((LISTED, seen(Kind.UNLISTED, 2, list="1/outbound")), None, id="lifted by the provider"),
        pytest.param((LISTED, seen(Kind.UNLISTED, 0, list="1/outbound")), ("provider", day(1)), id="the latest counts"),
        pytest.param((LISTED, seen(Kind.UNLISTED, 2, list="2/outbound")), ("provider", day(1)), id="another server"),
        pytest.param((LISTED, seen(Kind.UNLISTED, 2, list="1/other")), ("provider", day(1)), id="another stream"),
        pytest.param((LISTED, seen(Kind.UNLISTED, 1, list="1/outbound")), ("provider", day(1)), id="at one moment"),
        pytest.param((LISTED, seen(Kind.LISTED, 2, list="1/outbound")), ("provider", day(1)), id="listed again"),
        pytest.param(
            (LISTED, seen(Kind.LISTED, 2, list="1/other"), seen(Kind.UNLISTED, 3, list="1/outbound")),
            ("provider", day(1)),
            id="while any list has it",
        ),
        pytest.param(
            (LISTED, seen(Kind.UNLISTED, 2, list="1/outbound"), seen(Kind.LISTED, 3, list="1/outbound")),
            ("provider", day(3)),
            id="since it holds without a break",
        ),
        pytest.param((LISTED, a_release(2)), None, id="released by us, whatever the provider does"),
        pytest.param(
            (LISTED, a_release(2), seen(Kind.UNLISTED, 3, list="1/outbound"), seen(Kind.LISTED, 4, list="1/outbound")),
            ("provider", day(4)),
            id="and listed anew",
        ),
        pytest.param(
            (LISTED, seen(Kind.COMPLAINT, 3), seen(Kind.UNLISTED, 4, list="1/outbound")),
            ("complaint", day(3)),
            id="what the provider lifts leaves our own reasons",
        ),
    ],
)
def test_a_provider_suppresses(evidence: tuple[Evidence, ...], expected: tuple[str, int] | None) -> None:
    assert held(*evidence) == expected
    assert held(*reversed(evidence)) == expected


def test_of_several_reasons_the_first_is_shown_with_its_own_since() -> None:
    reasons = (seen(Kind.COMPLAINT, 6), seen(Kind.SUPPRESS, 5), seen(Kind.LISTED, 4, list="1/o"), *THREE)
    shown = [held(*reasons[n:]) for n in range(4)]
    assert shown == [("complaint", day(6)), ("manual", day(5)), ("provider", day(4)), ("bounces", day(3))]


def test_a_release_of_the_platform_releases_every_scope() -> None:
    suppressed = [seen(Kind.SUPPRESS, 1, scope=scope, id=scope) for scope in ("*", "acme", "bold")]
    assert [scope.suppressed for scope in seen_as(*suppressed, a_release(2)).scopes] == [False, False, False]
    assert [s.suppressed for s in seen_as(*suppressed, a_release(2, "acme")).scopes] == [True, False, True]


def test_what_was_released_says_by_whom_and_why_it_had_been_suppressed() -> None:
    assert platform(*THREE, a_release(4)) == ScopeView(
        "*", False, "bounces", day(3), tuple(e.id for e in THREE), day(4), "support"
    )
    again = platform(*THREE, a_release(4), a_release(6))
    assert again is not None
    assert again.released_us == day(4), "the second one found nothing to release"


def test_what_a_provider_lifts_nobody_released() -> None:
    assert platform(LISTED, seen(Kind.UNLISTED, 2, list="1/outbound")) == ScopeView(
        "*", False, "provider", day(1), (LISTED.id,)
    )


def test_of_a_copy_the_time_of_the_first_arrival_counts() -> None:
    late = COMPLAINT._replace(at_us=day(9), received_us=day(9))
    assert held(COMPLAINT, a_release(3), late) is None
    assert held(late, a_release(3), COMPLAINT) is None


def test_the_first_arrival_counts_also_where_a_later_copy_says_earlier() -> None:
    first = COMPLAINT._replace(received_us=day(2))
    second = COMPLAINT._replace(at_us=day(1), received_us=day(3))
    assert held(first, second) == held(second, first) == ("complaint", day(2))


def test_if_any_copy_names_its_account_it_is_that_accounts() -> None:
    nameless = seen(Kind.UNSUBSCRIBED, 1, id="u1")
    named = nameless._replace(scope="acme", received_us=day(2))
    for read in ((nameless, named), (named, nameless)):
        assert [out.scope for out in seen_as(*read).opt_outs] == ["acme"]


def test_an_event_and_a_command_of_one_id_are_two() -> None:
    command = seen(Kind.SUPPRESS, 3, id=COMPLAINT.id)
    assert len(known(COMPLAINT, command).evidence) == 2


class TestTelling:
    @pytest.mark.parametrize(
        ("before", "then", "due"),
        [
            pytest.param(THREE[:1], THREE[1], False, id="evidence that is not enough"),
            pytest.param(THREE[:2], THREE[2], True, id="closed"),
            pytest.param(THREE, bounce(4, "m4"), False, id="more of the same"),
            pytest.param(THREE, THREE[0], False, id="the same again"),
            pytest.param(THREE, bounce(2.5, "m9"), True, id="since is earlier"),
            pytest.param(THREE, COMPLAINT, True, id="another reason is shown"),
            pytest.param((COMPLAINT,), THREE[0], False, id="a reason that is not shown"),
            pytest.param(THREE, a_release(4), True, id="released"),
            pytest.param((), a_release(4), False, id="nothing to release"),
            pytest.param((*THREE, a_release(4)), a_release(5), False, id="released already"),
            pytest.param((a_release(4),), COMPLAINT, False, id="void before it came"),
            pytest.param((*THREE, a_release(4)), bounce(2.5, "m9"), False, id="void, of a time that is over"),
            pytest.param(THREE, a_release(0.5), False, id="a release that is older than all of it"),
            pytest.param(THREE, seen(Kind.SUPPRESS, 9, scope="acme"), True, id="a scope more"),
            pytest.param((), seen(Kind.UNSUBSCRIBED, 1, scope="acme"), True, id="an opt-out"),
            pytest.param(
                (seen(Kind.UNSUBSCRIBED, 1, scope="acme"),),
                seen(Kind.UNSUBSCRIBED, 2, scope="acme"),
                False,
                id="opted out already",
            ),
            pytest.param(
                (seen(Kind.UNSUBSCRIBED, 1, scope="acme"),), seen(Kind.OPT_IN, 1, scope="acme"), True, id="opted in"
            ),
        ],
    )
    def test_a_record_is_due_when_something_changed(
        self, before: tuple[Evidence, ...], then: Evidence, *, due: bool
    ) -> None:
        state = known(*before)
        taken = step(state, then, RULES)
        assert taken.changed == due
        assert taken.state.version == state.version + due
        assert taken.view == view(AddressState(taken.state.evidence), RULES)

    @given(evidence_sets())
    def test_versions_count_the_changes(self, evidence: list[Evidence]) -> None:
        state, told = AddressState(), [NOTHING]
        for e in evidence:
            taken = step(state, e, RULES)
            if taken.changed:
                told.append(taken.view)
            state = taken.state
        assert state.version == len(told) - 1
        assert not any(Published.of(one).says(other) for one, other in pairwise(told))
        assert Published.of(told[-1]).says(view(state, RULES))
        assert not review(state, RULES).changed


LATE_RELEASE = a_release(2.5)
"""Read after the bounce that completed the window, dated before it: nothing is left that would ever have suppressed."""


def published(*evidence: Evidence, rules: Rules = RULES) -> list[SuppressionView]:
    """What is published as these are read one by one."""
    state, told = AddressState(), []
    for e in evidence:
        taken = step(state, e, rules)
        told += [taken.view] if taken.changed else []
        state = taken.state
    return told


class TestWhatWasPublishedOnce:
    def test_a_release_dated_before_what_completed_the_window_states_the_scope_as_released(self) -> None:
        suppressed, released = published(*THREE, LATE_RELEASE)
        proof = tuple(e.id for e in THREE)
        assert suppressed.scopes == (ScopeView("*", True, "bounces", day(3), proof),)
        assert released.scopes == (ScopeView("*", False, "bounces", day(3), proof, day(2.5), "support"),)

    @given(evidence_sets(max_size=20))
    def test_a_scope_that_was_stated_stays_stated(self, evidence: list[Evidence]) -> None:
        stated: set[str] = set()
        for told in published(*evidence):
            scopes = [scope.scope for scope in told.scopes]
            assert stated <= set(scopes)
            assert len(scopes) == len(set(scopes))
            assert scopes == sorted(scopes, key=lambda scope: (scope != "*", scope))
            stated |= set(scopes)

    @given(evidence_sets(max_size=20))
    def test_nothing_else_is_said_than_what_the_evidence_says(self, evidence: list[Evidence]) -> None:
        state = known(*evidence)
        holds, told = view(AddressState(state.evidence), RULES), review(state, RULES).view
        assert told.opt_outs == holds.opt_outs
        by_scope = {scope.scope: scope for scope in holds.scopes}
        for scope in told.scopes:
            assert scope == by_scope.get(scope.scope, scope)
            assert scope.scope in by_scope or not scope.suppressed

    def test_it_is_stated_in_later_records_in_the_same_words(self) -> None:
        *_, released, opted_out = published(*THREE, LATE_RELEASE, seen(Kind.UNSUBSCRIBED, 9, scope="acme"))
        assert opted_out.scopes == released.scopes

    def test_once_it_is_suppressed_again_that_is_what_is_said(self) -> None:
        *_, again = published(*THREE, LATE_RELEASE, bounce(4, "m4"), bounce(5, "m5"))
        assert (again.scopes[0].suppressed, again.scopes[0].since_us) == (True, day(5))

    def test_an_account_whose_only_command_is_void_stays_stated(self) -> None:
        closed = seen(Kind.SUPPRESS, 2, scope="acme")
        (_, told) = published(closed, a_release(3, "acme"))
        assert [(scope.scope, scope.suppressed, scope.released_us) for scope in told.scopes] == [
            ("acme", False, day(3))
        ]


class TestAChangedSetting:
    STRICT = Rules(suppress_bounces=2, suppress_window_days=5)

    def test_is_published_once_when_the_address_is_read_again(self) -> None:
        state = known(*THREE[:2])
        assert state.version == 0
        reviewed = review(state, self.STRICT)
        assert (reviewed.changed, reviewed.state.version) == (True, 1)
        assert [(scope.suppressed, scope.since_us) for scope in reviewed.view.scopes] == [(True, day(2))]
        assert not review(reviewed.state, self.STRICT).changed

    def test_is_published_with_the_next_evidence_also_if_that_changes_nothing(self) -> None:
        repeated = step(known(*THREE[:2]), THREE[0], self.STRICT)
        assert (repeated.changed, repeated.state.version) == (True, 1)

    def test_that_opens_an_address_states_the_scope_as_no_longer_suppressed(self) -> None:
        opened = review(known(*THREE[:2], rules=self.STRICT), RULES)
        assert opened.changed
        assert opened.view.scopes == (ScopeView("*", False, "bounces", day(2), tuple(e.id for e in THREE[:2])),)

    def test_a_row_remembers_what_was_published(self) -> None:
        closed = known(*THREE[:2], rules=self.STRICT)
        opened = review(address_of_row(row_of_address(closed)), RULES)
        assert opened == review(closed, RULES)
        assert opened.changed

    @given(evidence_sets(max_size=20))
    def test_that_changes_nothing_for_an_address_is_not_published(self, evidence: list[Evidence]) -> None:
        state = known(*evidence)
        reviewed = review(state, self.STRICT)
        before, after = view(state, RULES), view(state, self.STRICT)
        assert reviewed.changed == (not Published.of(before).says(after))

    def test_nothing_is_published_of_an_unknown_address(self) -> None:
        assert review(UNKNOWN, RULES) == (UNKNOWN, NOTHING, False)


def test_of_the_view_an_account_needs_its_own_and_the_platforms_part() -> None:
    whole = seen_as(
        COMPLAINT,
        *(seen(Kind.SUPPRESS, 1, scope=scope, id=scope) for scope in ("acme", "bold")),
        *(seen(Kind.UNSUBSCRIBED, 1, scope=scope, id=f"u{scope}") for scope in ("*", "acme", "bold")),
    )
    part = of_account(whole, "acme")
    assert [scope.scope for scope in part.scopes] == ["*", "acme"]
    assert [out.scope for out in part.opt_outs] == ["*", "acme"]
