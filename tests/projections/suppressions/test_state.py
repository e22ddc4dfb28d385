"""Whether an address is suppressed: order and repeats, windows, releases, and when a record is published."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projections.suppressions.addressing import sender_key
from projections.suppressions.evidence import LIFTING_KINDS, Evidence, Kind
from projections.suppressions.rows import decode_address, encode_address
from projections.suppressions.rules import GateRules
from projections.suppressions.state import (
    EMPTY_SNAPSHOT,
    UNKNOWN_ADDRESS,
    AddressSnapshot,
    AddressState,
    Published,
    ScopeSnapshot,
    apply_evidence,
    for_account,
    merge,
    reevaluate,
    snapshot,
)
from simulator.address_state import AddressEvent, Limits, opt_outs, scope_state
from tests.projections.suppressions.building import (
    RULES,
    a_release,
    an_item,
    bounce,
    day,
    evidence_sets,
    merged,
    snapshot_after,
    state_after,
    with_copies,
)

LIMITS = Limits(RULES.suppress_bounces, RULES.window_us)
COMPLAINT = an_item(Kind.COMPLAINT, 2)
THREE = (bounce(1, "m1"), bounce(2, "m2"), bounce(3, "m3"))


def platform(*evidence: Evidence) -> ScopeSnapshot | None:
    """The platform-wide scope."""
    return next((scope for scope in snapshot_after(*evidence).scopes if scope.scope == "*"), None)


def active_reason(*evidence: Evidence) -> tuple[str, int] | None:
    """The platform-wide reason and since when it is active; None if the address is not suppressed."""
    scope = platform(*evidence)
    return (scope.reason, scope.since_us) if scope and scope.suppressed else None


@given(evidence_sets(), st.data())
def test_order_repeats_and_batches_change_nothing(evidence: list[Evidence], data: st.DataObject) -> None:
    read = data.draw(with_copies(evidence))
    cut = data.draw(st.integers(0, len(read)))
    one_by_one = AddressState(state_after(*read).evidence)
    in_two_parts = merge(merged(read[cut:]), merged(read[:cut]), RULES)
    assert one_by_one == in_two_parts == AddressState(state_after(*evidence).evidence)
    assert encode_address(one_by_one) == encode_address(in_two_parts)
    assert snapshot(one_by_one, RULES) == snapshot_after(*evidence)


@given(evidence_sets(), evidence_sets(), evidence_sets(), st.data())
def test_merging_states_is_commutative_associative_and_idempotent(
    one: list[Evidence], two: list[Evidence], three: list[Evidence], data: st.DataObject
) -> None:
    everything = [*one, *two, *three]
    a, b, c = (merged(data.draw(with_copies([*part, *everything[:2]], unalike=True))) for part in (one, two, three))
    assert merge(a, b, RULES) == merge(b, a, RULES)
    assert merge(a, merge(b, c, RULES), RULES) == merge(merge(a, b, RULES), c, RULES)
    assert merge(a, a, RULES) == a


@given(evidence_sets(max_size=20), st.data())
def test_the_fold_equals_the_sequential_oracle(evidence: list[Evidence], data: st.DataObject) -> None:
    found = snapshot_after(*data.draw(with_copies(evidence)))
    events = [*map(_address_event, evidence)]
    scopes = {scope.scope: scope for scope in found.scopes}
    for scope in ("*", "acme", "bold"):
        one, expected = scopes.get(scope), scope_state(scope, events, LIMITS)
        result = one and (one.suppressed, one.reason, one.since_us, one.released_us)
        assert result == (expected and expected[:4])
    outs = {(out.scope, out.group, sender_key(out.sender), out.reason, out.since_us) for out in found.opt_outs}
    assert outs == {(*out[:2], sender_key(out.sender), *out[3:]) for out in opt_outs(events)}


def _address_event(e: Evidence) -> AddressEvent:
    """Evidence as the independent oracle reads it."""
    return AddressEvent(
        e.kind.value, e.at_us, e.scope, e.message or e.id, e.group, tuple(e.senders), e.list, getattr(e, "actor", "")
    )


@given(evidence_sets(), st.integers(0, 24), st.data())
def test_a_release_cancels_exactly_what_is_older(evidence: list[Evidence], at: int, data: st.DataObject) -> None:
    release = a_release(at / 2, id="the release")
    newer = [
        e for e in evidence if e.kind in LIFTING_KINDS or e.at_us > release.at_us or _suppresses_at(e, release.at_us)
    ]
    read = data.draw(st.permutations([*evidence, release]))
    assert _suppressed_scopes(*read) == _suppressed_scopes(*newer)


def _suppresses_at(e: Evidence, at_us: int) -> bool:
    return e.kind == Kind.SUPPRESS and e.at_us == at_us


def _suppressed_scopes(*evidence: Evidence) -> list[tuple[object, ...]]:
    return [
        (scope.scope, scope.reason, scope.since_us, scope.evidence)
        for scope in snapshot_after(*evidence).scopes
        if scope.suppressed
    ]


@given(evidence_sets(), evidence_sets([Kind.RELEASE]))
def test_a_release_touches_no_opt_out(evidence: list[Evidence], releases: list[Evidence]) -> None:
    assert snapshot_after(*evidence, *releases).opt_outs == snapshot_after(*evidence).opt_outs


@given(
    evidence_sets([kind for kind in Kind if kind not in LIFTING_KINDS]), evidence_sets([Kind.BOUNCE, Kind.COMPLAINT])
)
def test_without_a_release_a_suppressed_scope_stays_suppressed(evidence: list[Evidence], more: list[Evidence]) -> None:
    before = {scope.scope for scope in snapshot_after(*evidence).scopes if scope.suppressed}
    assert before <= {scope.scope for scope in snapshot_after(*evidence, *more).scopes if scope.suppressed}


@given(evidence_sets([Kind.BOUNCE], max_size=20))
def test_the_evidence_is_what_fills_the_first_window_with_enough_messages(bounces: list[Evidence]) -> None:
    scope, expected = platform(*bounces), scope_state("*", map(_address_event, bounces), LIMITS)
    assert (scope and scope.since_us) == (expected and expected.since_us)
    if scope is not None:
        proof = [e for e in bounces if e.id in scope.evidence]
        assert len({e.message or e.id for e in proof}) == len(proof) == RULES.suppress_bounces
        assert max(e.at_us for e in proof) == scope.since_us
        assert max(e.at_us for e in proof) - min(e.at_us for e in proof) <= RULES.window_us


@pytest.mark.parametrize(
    ("evidence", "expected"),
    [
        pytest.param(THREE[:2], None, id="two are not enough"),
        pytest.param(THREE, ("bounces", day(3)), id="the third suppresses"),
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
        pytest.param(
            (bounce(1, ""), bounce(2, "", id="b"), bounce(3, "", id="c")),
            ("bounces", day(3)),
            id="bounces without a message",
        ),
        pytest.param((COMPLAINT,), ("complaint", day(2)), id="one complaint is enough"),
        pytest.param(
            (COMPLAINT, an_item(Kind.COMPLAINT, 1)), ("complaint", day(1)), id="since is that of the first complaint"
        ),
        pytest.param(
            (*THREE, an_item(Kind.COMPLAINT, 9)), ("complaint", day(9)), id="a complaint is shown before bounces"
        ),
        pytest.param(
            (an_item(Kind.SUPPRESS, 2), an_item(Kind.SUPPRESS, 4)), ("manual", day(2)), id="suppressed again by hand"
        ),
        pytest.param((an_item(Kind.SUPPRESS, 2), a_release(2)), ("manual", day(2)), id="suppress before release"),
        pytest.param((COMPLAINT, a_release(2)), None, id="a release cancels what happened at its own time"),
        pytest.param((COMPLAINT, a_release(1.9)), ("complaint", day(2)), id="and nothing later"),
        pytest.param((*THREE, a_release(1)), None, id="two are left after the release"),
        pytest.param((*THREE, a_release(1), bounce(4, "m1", id="x")), ("bounces", day(4)), id="and a third again"),
        pytest.param((COMPLAINT, a_release(3, "acme")), ("complaint", day(2)), id="an account's release is its own"),
        pytest.param((an_item(Kind.SUPPRESS, 2, scope="acme"),), None, id="an account's suppression is its own"),
    ],
)
def test_an_address_is_suppressed(evidence: tuple[Evidence, ...], expected: tuple[str, int] | None) -> None:
    assert active_reason(*evidence) == expected
    assert active_reason(*reversed(evidence)) == expected


LISTED = an_item(Kind.LISTED, 1, list="1/outbound")


@pytest.mark.parametrize(
    ("evidence", "expected"),
    [
        pytest.param((LISTED,), ("provider", day(1)), id="at once"),
        pytest.param((LISTED, an_item(Kind.UNLISTED, 2, list="1/outbound")), None, id="lifted by the provider"),
        pytest.param(
            (LISTED, an_item(Kind.UNLISTED, 0, list="1/outbound")), ("provider", day(1)), id="the latest counts"
        ),
        pytest.param((LISTED, an_item(Kind.UNLISTED, 2, list="2/outbound")), ("provider", day(1)), id="another server"),
        pytest.param((LISTED, an_item(Kind.UNLISTED, 2, list="1/other")), ("provider", day(1)), id="another stream"),
        pytest.param(
            (LISTED, an_item(Kind.UNLISTED, 1, list="1/outbound")), ("provider", day(1)), id="at the same time"
        ),
        pytest.param((LISTED, an_item(Kind.LISTED, 2, list="1/outbound")), ("provider", day(1)), id="listed again"),
        pytest.param(
            (LISTED, an_item(Kind.LISTED, 2, list="1/other"), an_item(Kind.UNLISTED, 3, list="1/outbound")),
            ("provider", day(1)),
            id="while any list has it",
        ),
        pytest.param(
            (LISTED, an_item(Kind.UNLISTED, 2, list="1/outbound"), an_item(Kind.LISTED, 3, list="1/outbound")),
            ("provider", day(3)),
            id="since the start of an unbroken time",
        ),
        pytest.param((LISTED, a_release(2)), None, id="released by us, whatever the provider does"),
        pytest.param(
            (
                LISTED,
                a_release(2),
                an_item(Kind.UNLISTED, 3, list="1/outbound"),
                an_item(Kind.LISTED, 4, list="1/outbound"),
            ),
            ("provider", day(4)),
            id="and listed anew",
        ),
        pytest.param(
            (LISTED, an_item(Kind.COMPLAINT, 3), an_item(Kind.UNLISTED, 4, list="1/outbound")),
            ("complaint", day(3)),
            id="what the provider lifts leaves our own reasons",
        ),
    ],
)
def test_a_provider_suppresses(evidence: tuple[Evidence, ...], expected: tuple[str, int] | None) -> None:
    assert active_reason(*evidence) == expected
    assert active_reason(*reversed(evidence)) == expected


def test_of_several_reasons_the_first_in_order_is_shown_with_its_own_since() -> None:
    reasons = (an_item(Kind.COMPLAINT, 6), an_item(Kind.SUPPRESS, 5), an_item(Kind.LISTED, 4, list="1/o"), *THREE)
    found = [active_reason(*reasons[n:]) for n in range(4)]
    assert found == [("complaint", day(6)), ("manual", day(5)), ("provider", day(4)), ("bounces", day(3))]


def test_a_release_of_the_platform_releases_every_scope() -> None:
    suppressed = [an_item(Kind.SUPPRESS, 1, scope=scope, id=scope) for scope in ("*", "acme", "bold")]
    assert [scope.suppressed for scope in snapshot_after(*suppressed, a_release(2)).scopes] == [False, False, False]
    assert [s.suppressed for s in snapshot_after(*suppressed, a_release(2, "acme")).scopes] == [True, False, True]


def test_a_released_scope_has_who_released_it_and_its_earlier_reason() -> None:
    assert platform(*THREE, a_release(4)) == ScopeSnapshot(
        "*", False, "bounces", day(3), tuple(e.id for e in THREE), day(4), "support"
    )
    again = platform(*THREE, a_release(4), a_release(6))
    assert again is not None
    assert again.released_us == day(4), "the second one found nothing to release"


def test_a_scope_that_the_provider_unlisted_has_no_release() -> None:
    assert platform(LISTED, an_item(Kind.UNLISTED, 2, list="1/outbound")) == ScopeSnapshot(
        "*", False, "provider", day(1), (LISTED.id,)
    )


def test_of_several_copies_the_first_received_counts() -> None:
    late = COMPLAINT._replace(at_us=day(9), received_us=day(9))
    assert active_reason(COMPLAINT, a_release(3), late) is None
    assert active_reason(late, a_release(3), COMPLAINT) is None


def test_the_first_received_copy_counts_even_if_a_later_copy_has_an_earlier_time() -> None:
    first = COMPLAINT._replace(received_us=day(2))
    second = COMPLAINT._replace(at_us=day(1), received_us=day(3))
    assert active_reason(first, second) == active_reason(second, first) == ("complaint", day(2))


def test_if_any_copy_names_an_account_the_evidence_is_of_that_account() -> None:
    nameless = an_item(Kind.UNSUBSCRIBED, 1, id="u1")
    named = nameless._replace(scope="acme", received_us=day(2))
    for read in ((nameless, named), (named, nameless)):
        assert [out.scope for out in snapshot_after(*read).opt_outs] == ["acme"]


def test_an_event_and_a_command_with_the_same_id_are_kept_apart() -> None:
    command = an_item(Kind.SUPPRESS, 3, id=COMPLAINT.id)
    assert len(state_after(COMPLAINT, command).evidence) == 2


class TestPublishing:
    @pytest.mark.parametrize(
        ("before", "then", "due"),
        [
            pytest.param(THREE[:1], THREE[1], False, id="evidence that is not enough"),
            pytest.param(THREE[:2], THREE[2], True, id="suppressed"),
            pytest.param(THREE, bounce(4, "m4"), False, id="more of the same"),
            pytest.param(THREE, THREE[0], False, id="the same again"),
            pytest.param(THREE, bounce(2.5, "m9"), True, id="since is earlier"),
            pytest.param(THREE, COMPLAINT, True, id="another reason is shown"),
            pytest.param((COMPLAINT,), THREE[0], False, id="a reason that is not shown"),
            pytest.param(THREE, a_release(4), True, id="released"),
            pytest.param((), a_release(4), False, id="nothing to release"),
            pytest.param((*THREE, a_release(4)), a_release(5), False, id="released already"),
            pytest.param((a_release(4),), COMPLAINT, False, id="cancelled before it arrived"),
            pytest.param((*THREE, a_release(4)), bounce(2.5, "m9"), False, id="cancelled, of an earlier period"),
            pytest.param(THREE, a_release(0.5), False, id="a release that is older than all of it"),
            pytest.param(THREE, an_item(Kind.SUPPRESS, 9, scope="acme"), True, id="another scope"),
            pytest.param((), an_item(Kind.UNSUBSCRIBED, 1, scope="acme"), True, id="an opt-out"),
            pytest.param(
                (an_item(Kind.UNSUBSCRIBED, 1, scope="acme"),),
                an_item(Kind.UNSUBSCRIBED, 2, scope="acme"),
                False,
                id="opted out already",
            ),
            pytest.param(
                (an_item(Kind.UNSUBSCRIBED, 1, scope="acme"),),
                an_item(Kind.OPT_IN, 1, scope="acme"),
                True,
                id="opted in",
            ),
        ],
    )
    def test_a_record_is_due_when_something_changed(
        self, before: tuple[Evidence, ...], then: Evidence, *, due: bool
    ) -> None:
        state = state_after(*before)
        update = apply_evidence(state, then, RULES)
        assert update.changed == due
        assert update.state.version == state.version + due
        assert update.snapshot == snapshot(AddressState(update.state.evidence), RULES)

    @given(evidence_sets())
    def test_versions_count_the_changes(self, evidence: list[Evidence]) -> None:
        state, records = AddressState(), [EMPTY_SNAPSHOT]
        for e in evidence:
            update = apply_evidence(state, e, RULES)
            if update.changed:
                records.append(update.snapshot)
            state = update.state
        assert state.version == len(records) - 1
        assert not any(Published.of(one).matches(other) for one, other in pairwise(records))
        assert Published.of(records[-1]).matches(snapshot(state, RULES))
        assert not reevaluate(state, RULES).changed


LATE_RELEASE = a_release(2.5)
"""Read after the bounce that completed the window, but dated before it: no evidence is left for a suppression."""


def published(*evidence: Evidence, rules: GateRules = RULES) -> list[AddressSnapshot]:
    """The snapshots that are published as the evidence is applied item by item."""
    state, records = AddressState(), []
    for e in evidence:
        update = apply_evidence(state, e, rules)
        records += [update.snapshot] if update.changed else []
        state = update.state
    return records


class TestWhatWasPublishedOnce:
    def test_a_release_dated_before_the_bounce_that_completed_the_window_is_published_as_a_release(self) -> None:
        suppressed, released = published(*THREE, LATE_RELEASE)
        proof = tuple(e.id for e in THREE)
        assert suppressed.scopes == (ScopeSnapshot("*", True, "bounces", day(3), proof),)
        assert released.scopes == (ScopeSnapshot("*", False, "bounces", day(3), proof, day(2.5), "support"),)

    @given(evidence_sets(max_size=20))
    def test_a_published_scope_is_in_every_later_record(self, evidence: list[Evidence]) -> None:
        published_before: set[str] = set()
        for record in published(*evidence):
            scopes = [scope.scope for scope in record.scopes]
            assert published_before <= set(scopes)
            assert len(scopes) == len(set(scopes))
            assert scopes == sorted(scopes, key=lambda scope: (scope != "*", scope))
            published_before |= set(scopes)

    @given(evidence_sets(max_size=20))
    def test_records_state_only_what_follows_from_the_evidence(self, evidence: list[Evidence]) -> None:
        state = state_after(*evidence)
        current, record = snapshot(AddressState(state.evidence), RULES), reevaluate(state, RULES).snapshot
        assert record.opt_outs == current.opt_outs
        by_scope = {scope.scope: scope for scope in current.scopes}
        for scope in record.scopes:
            assert scope == by_scope.get(scope.scope, scope)
            assert scope.scope in by_scope or not scope.suppressed

    def test_later_records_repeat_it_unchanged(self) -> None:
        *_, released, opted_out = published(*THREE, LATE_RELEASE, an_item(Kind.UNSUBSCRIBED, 9, scope="acme"))
        assert opted_out.scopes == released.scopes

    def test_a_later_suppression_replaces_it(self) -> None:
        *_, again = published(*THREE, LATE_RELEASE, bounce(4, "m4"), bounce(5, "m5"))
        assert (again.scopes[0].suppressed, again.scopes[0].since_us) == (True, day(5))

    def test_an_account_scope_whose_only_command_is_cancelled_is_still_published(self) -> None:
        suppressed = an_item(Kind.SUPPRESS, 2, scope="acme")
        (_, record) = published(suppressed, a_release(3, "acme"))
        assert [(scope.scope, scope.suppressed, scope.released_us) for scope in record.scopes] == [
            ("acme", False, day(3))
        ]


class TestAChangedSetting:
    STRICT = GateRules(suppress_bounces=2, suppress_window_days=5)

    def test_is_published_once_when_the_address_is_read_again(self) -> None:
        state = state_after(*THREE[:2])
        assert state.version == 0
        reevaluated = reevaluate(state, self.STRICT)
        assert (reevaluated.changed, reevaluated.state.version) == (True, 1)
        assert [(scope.suppressed, scope.since_us) for scope in reevaluated.snapshot.scopes] == [(True, day(2))]
        assert not reevaluate(reevaluated.state, self.STRICT).changed

    def test_is_published_with_the_next_evidence_also_if_that_changes_nothing(self) -> None:
        repeated = apply_evidence(state_after(*THREE[:2]), THREE[0], self.STRICT)
        assert (repeated.changed, repeated.state.version) == (True, 1)

    def test_that_ends_a_suppression_publishes_the_scope_as_no_longer_suppressed(self) -> None:
        ended = reevaluate(state_after(*THREE[:2], rules=self.STRICT), RULES)
        assert ended.changed
        assert ended.snapshot.scopes == (ScopeSnapshot("*", False, "bounces", day(2), tuple(e.id for e in THREE[:2])),)

    def test_a_row_holds_what_was_published(self) -> None:
        suppressed = state_after(*THREE[:2], rules=self.STRICT)
        ended = reevaluate(decode_address(encode_address(suppressed)), RULES)
        assert ended == reevaluate(suppressed, RULES)
        assert ended.changed

    @given(evidence_sets(max_size=20))
    def test_that_changes_nothing_for_an_address_is_not_published(self, evidence: list[Evidence]) -> None:
        state = state_after(*evidence)
        reevaluated = reevaluate(state, self.STRICT)
        before, after = snapshot(state, RULES), snapshot(state, self.STRICT)
        assert reevaluated.changed == (not Published.of(before).matches(after))

    def test_nothing_is_published_of_an_unknown_address(self) -> None:
        assert reevaluate(UNKNOWN_ADDRESS, RULES) == (UNKNOWN_ADDRESS, EMPTY_SNAPSHOT, False)


def test_the_part_of_a_snapshot_for_an_account_has_its_own_scope_and_the_platforms() -> None:
    whole = snapshot_after(
        COMPLAINT,
        *(an_item(Kind.SUPPRESS, 1, scope=scope, id=scope) for scope in ("acme", "bold")),
        *(an_item(Kind.UNSUBSCRIBED, 1, scope=scope, id=f"u{scope}") for scope in ("*", "acme", "bold")),
    )
    part = for_account(whole, "acme")
    assert [scope.scope for scope in part.scopes] == ["*", "acme"]
    assert [out.scope for out in part.opt_outs] == ["*", "acme"]
