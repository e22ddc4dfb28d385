"""Bulk releases: what is released, what never is, and that an undo restores exactly what was suppressed."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projections.suppressions.addressing import AddressKey
from projections.suppressions.bulk_release import (
    Cause,
    EvidenceEvent,
    Period,
    ReleaseCommand,
    ReleaseVerdict,
    ScopeChange,
    SuppressedScope,
    UndoVerdict,
    bulk_id_of,
    command_id_of,
    command_id_range,
    judge_release,
    judge_undo,
    refused_period,
)
from projections.suppressions.evidence import Evidence, Kind
from projections.suppressions.state import EMPTY_SNAPSHOT, AddressSnapshot, AddressState, ScopeSnapshot, apply_evidence
from schemas.decoding.ids import sent_at_us
from tests.building import NOW_US
from tests.projections.suppressions.building import RULES, a_release, an_item, bounce, day, evidence_sets

AS_OF_US = day(20)
BY = "ann"
ANN = "ann@example.com"
EVENT = EvidenceEvent("e1", "acme", "sendgrid", "550", "5.1.1", "550 5.1.1 Mailbox 100%_gone")
CAUSES = st.builds(
    Cause,
    reason=st.sampled_from(["bounces", "manual", "provider"]),
    domain=st.sampled_from(["", "example.com"]),
    from_us=st.one_of(st.none(), st.integers(0, 24).map(day)),
    to_us=st.one_of(st.none(), st.integers(0, 24).map(day)),
)


@dataclass
class Address:
    """An address as the gate keeps it, and every version of it as the tables have it."""

    name: str = ANN
    state: AddressState = field(default_factory=AddressState)
    snapshot: AddressSnapshot = EMPTY_SNAPSHOT
    changes: list[tuple[str, ScopeChange]] = field(default_factory=list)
    """Each scope that a version states."""

    def apply(self, evidence: Iterable[Evidence], at_us: int) -> None:
        for e in evidence:
            update = apply_evidence(self.state, e, RULES)
            self.state = update.state
            if update.changed:
                self.snapshot = update.snapshot
                self.changes += [(scope.scope, self._change(scope, at_us)) for scope in update.snapshot.scopes]

    def _change(self, scope: ScopeSnapshot, at_us: int) -> ScopeChange:
        released = (scope.released_us, scope.released_by)
        return ScopeChange(self.state.version, scope.suppressed, scope.since_us, *released, at_us)

    def of_scope(self, scope: str) -> list[ScopeChange]:
        return [change for of, change in self.changes if of == scope]

    @property
    def suppressed(self) -> set[str]:
        return {s.scope for s in self.snapshot.scopes if s.suppressed}

    def rows(self) -> list[SuppressedScope]:
        changed_us = self.changes[-1][1].changed_us if self.changes else 0
        return [
            SuppressedScope(
                "email", self.name, s.scope, s.reason, s.since_us, changed_us, s.evidence, len(self.suppressed) - 1
            )
            for s in self.snapshot.scopes
            if s.suppressed
        ]

    def to_release(self, cause: Cause, as_of_us: int = AS_OF_US) -> list[Evidence]:
        """The commands that a bulk release writes."""
        return [
            Evidence(Kind.RELEASE, self.command(row.scope, cause).command_id, as_of_us, as_of_us, row.scope, actor=BY)
            for row in self.rows()
            if judge_release(row, (), cause, as_of_us) is ReleaseVerdict.RELEASE
        ]

    def command(self, scope: str, cause: Cause) -> ReleaseCommand:
        key = AddressKey("email", self.name)
        id_ = command_id_of(bulk_id_of(cause, AS_OF_US), "release", key, scope)
        return ReleaseCommand(id_, *key, scope, BY, AS_OF_US)

    def to_undo(self, released: Sequence[Evidence], cause: Cause, at_us: int) -> list[Evidence]:
        """The commands that the undo of these releases writes."""
        return [
            Evidence(Kind.SUPPRESS, f"undo {e.id}", at_us, at_us, e.scope, actor="bob")
            for e in released
            if judge_undo(self.command(e.scope, cause), self.of_scope(e.scope)) is UndoVerdict.UNDO
        ]


def an_address(evidence: Iterable[Evidence], read_us: int = AS_OF_US) -> Address:
    address = Address()
    address.apply(evidence, read_us)
    return address


@given(evidence_sets(max_size=20), CAUSES)
def test_the_undo_of_a_release_restores_exactly_what_was_suppressed(evidence: list[Evidence], cause: Cause) -> None:
    address = an_address(evidence)
    before = address.snapshot
    released = address.to_release(cause)
    address.apply(released, AS_OF_US + 1)
    freed = {s.scope for s in before.scopes if s.suppressed} - address.suppressed
    assert freed == {e.scope for e in released}, "each command frees its scope, and nothing else is freed"
    address.apply(address.to_undo(released, cause, AS_OF_US + 2), AS_OF_US + 2)
    assert address.suppressed == {s.scope for s in before.scopes if s.suppressed}
    assert address.snapshot.opt_outs == before.opt_outs


@given(evidence_sets(max_size=20), CAUSES)
def test_a_complaint_is_never_released(evidence: list[Evidence], cause: Cause) -> None:
    address = an_address(evidence)
    before = {s.scope for s in address.snapshot.scopes if s.suppressed and s.reason == "complaint"}
    address.apply(address.to_release(cause), AS_OF_US + 1)
    assert before <= address.suppressed
    of_complaints = replace(cause, reason="complaint")
    assert judge_release(a_row(reason="complaint"), [EVENT], of_complaints, AS_OF_US) is ReleaseVerdict.UNRELATED


@given(evidence_sets(max_size=14), evidence_sets(max_size=8), CAUSES, st.data())
def test_what_happened_after_the_preview_suppresses_whatever_was_released(
    evidence: list[Evidence], newer: list[Evidence], cause: Cause, data: st.DataObject
) -> None:
    newer = [e._replace(at_us=e.at_us + AS_OF_US, id=f"new {e.id}") for e in newer if e.at_us > NOW_US]
    address = an_address(evidence)
    released = address.to_release(cause)
    address.apply(data.draw(st.permutations([*released, *newer])), AS_OF_US + 1)
    assert an_address(newer).suppressed <= address.suppressed


@given(evidence_sets(max_size=20), CAUSES, st.data())
def test_an_interrupted_release_that_is_repeated_frees_the_same(
    evidence: list[Evidence], cause: Cause, data: st.DataObject
) -> None:
    whole, interrupted = an_address(evidence), an_address(evidence)
    released = whole.to_release(cause)
    whole.apply(released, AS_OF_US + 1)
    interrupted.apply(data.draw(st.lists(st.sampled_from(released))) if released else [], AS_OF_US + 1)
    interrupted.apply(interrupted.to_release(cause), AS_OF_US + 2)
    interrupted.apply(released, AS_OF_US + 2)
    assert interrupted.state.evidence == whole.state.evidence
    assert interrupted.suppressed == whole.suppressed


@given(evidence_sets(max_size=20), CAUSES)
def test_an_address_that_changed_after_the_preview_is_left(evidence: list[Evidence], cause: Cause) -> None:
    assert an_address(evidence, read_us=AS_OF_US + 1).to_release(cause) == []


THREE = (bounce(1, "m1"), bounce(2, "m2"), bounce(3, "m3"))
BOUNCES = Cause(domain="example.com")


@pytest.mark.parametrize(
    ("since_then", "suppressed"),
    [
        pytest.param([], {"*"}, id="nothing: it is suppressed again"),
        pytest.param([an_item(Kind.SUPPRESS, 21), a_release(22)], set(), id="suppressed, and released by somebody"),
        pytest.param([bounce(21, "m9")], {"*"}, id="a bounce that suppresses nothing"),
        pytest.param([an_item(Kind.UNSUBSCRIBED, 21)], {"*"}, id="an opt-out"),
    ],
)
def test_an_undo_leaves_what_somebody_changed_since(since_then: list[Evidence], suppressed: set[str]) -> None:
    address = an_address(THREE)
    released = address.to_release(BOUNCES)
    address.apply([*released, *since_then], AS_OF_US + 1)
    assert address.suppressed == set()
    address.apply(address.to_undo(released, BOUNCES, day(23)), day(23))
    assert address.suppressed == suppressed


def test_an_undo_that_is_repeated_changes_nothing() -> None:
    address = an_address(THREE)
    released = address.to_release(BOUNCES)
    assert address.to_undo(released, BOUNCES, day(21)) == [], "the release is not applied yet"
    address.apply(released, AS_OF_US + 1)
    address.apply(address.to_undo(released, BOUNCES, day(21)), day(21))
    assert address.to_undo(released, BOUNCES, day(22)) == []
    assert judge_undo(address.command("*", BOUNCES), address.of_scope("*")) is UndoVerdict.SUPPRESSED


def test_the_release_of_two_people_is_undone_for_the_one_that_counts() -> None:
    address = an_address(THREE)
    other = a_release(20.5)
    released = address.to_release(BOUNCES)
    address.apply([other, *released], AS_OF_US + 1)
    assert address.to_undo(released, BOUNCES, day(21)) == [], "it was free already"


def a_row(**fields: object) -> SuppressedScope:
    whole: Mapping[str, object] = {
        "channel": "email",
        "address": ANN,
        "scope": "*",
        "reason": "bounces",
        "since_us": day(3),
        "changed_us": day(3),
        "evidence": ("e1",),
    } | fields
    return SuppressedScope(**whole)  # type: ignore[arg-type]  # the test's own fields


OTHER = EVENT._replace(event_id="e2", account_id="bold")


@pytest.mark.parametrize(
    ("cause", "row", "events", "verdict"),
    [
        pytest.param(Cause(code="550"), a_row(), [EVENT], "RELEASE", id="a code"),
        pytest.param(Cause(code="55"), a_row(), [EVENT], "UNRELATED", id="a part of a code"),
        pytest.param(Cause(enhanced_code="5.1.1"), a_row(), [EVENT], "RELEASE", id="an enhanced code"),
        pytest.param(Cause(provider="postmark"), a_row(), [EVENT], "UNRELATED", id="another provider"),
        pytest.param(Cause(text="mailbox 100%_GONE"), a_row(), [EVENT], "RELEASE", id="a text, in any case"),
        pytest.param(Cause(text="mailbox%gone"), a_row(), [EVENT], "UNRELATED", id="a wildcard is a character: %"),
        pytest.param(Cause(text="mailbox_100"), a_row(), [EVENT], "UNRELATED", id="a wildcard is a character: _"),
        pytest.param(Cause(text=".*"), a_row(), [EVENT], "UNRELATED", id="no regular expression"),
        pytest.param(Cause(code="550"), a_row(), [], "UNRELATED", id="no event is known"),
        pytest.param(
            Cause(code="550", provider="twilio"),
            a_row(),
            [EVENT, EVENT._replace(provider="twilio", code="30005")],
            "UNRELATED",
            id="conditions that two events meet, but neither alone",
        ),
        pytest.param(Cause(domain="example.com"), a_row(), [], "RELEASE", id="a domain"),
        pytest.param(Cause(domain="ample.com"), a_row(), [], "UNRELATED", id="the end of a domain"),
        pytest.param(Cause(domain="com"), a_row(), [], "UNRELATED", id="the domain above"),
        pytest.param(Cause(from_us=day(3)), a_row(), [], "RELEASE", id="from: included"),
        pytest.param(Cause(to_us=day(3)), a_row(), [], "UNRELATED", id="to: excluded"),
        pytest.param(Cause(code="550", account="acme"), a_row(), [EVENT], "RELEASE", id="an account's bounces"),
        pytest.param(Cause(code="550", account="bold"), a_row(), [EVENT], "UNRELATED", id="another account's"),
        pytest.param(
            Cause(code="550", account="acme"),
            a_row(evidence=("e1", "e2")),
            [EVENT, OTHER],
            "OTHER_ACCOUNT",
            id="bounces of another account count, too",
        ),
        pytest.param(
            Cause(code="550", account="acme"),
            a_row(evidence=("e1", "e2")),
            [EVENT],
            "OTHER_ACCOUNT",
            id="bounces that nobody knows count, too",
        ),
        pytest.param(
            Cause("manual", account="acme", to_us=day(9)),
            a_row(scope="acme", reason="manual"),
            [],
            "RELEASE",
            id="a suppression of the account's own",
        ),
        pytest.param(Cause(from_us=0), a_row(other_scopes=1), [], "OTHER_SCOPE", id="an account suppresses it, too"),
        pytest.param(
            Cause("manual", from_us=0),
            a_row(scope="acme", reason="manual", other_scopes=1),
            [],
            "RELEASE",
            id="of an account, while the platform suppresses it",
        ),
        pytest.param(Cause(from_us=0), a_row(changed_us=AS_OF_US + 1), [], "CHANGED", id="changed after the preview"),
        pytest.param(Cause(from_us=0), a_row(since_us=AS_OF_US + 1), [], "CHANGED", id="dated after the preview"),
        pytest.param(Cause(from_us=0), a_row(address="ann"), [], "NOT_SENDABLE", id="no address"),
        pytest.param(Cause(from_us=0), a_row(address="Ann@example.com"), [], "NOT_SENDABLE", id="no key"),
    ],
)
def test_what_is_released(cause: Cause, row: SuppressedScope, events: list[EvidenceEvent], verdict: str) -> None:
    assert judge_release(row, events, cause, AS_OF_US).name == verdict


def test_the_id_is_of_its_cause_and_millisecond() -> None:
    bulk_id = bulk_id_of(BOUNCES, AS_OF_US + 1)
    assert (bulk_id, sent_at_us(bulk_id)) == (bulk_id_of(BOUNCES, AS_OF_US), AS_OF_US)
    assert bulk_id != bulk_id_of(replace(BOUNCES, code="550"), AS_OF_US)
    assert bulk_id != bulk_id_of(BOUNCES, AS_OF_US + 1000)


def test_the_ids_of_commands_are_in_the_range_of_their_release_and_action() -> None:
    ids = {
        (bulk_id, action): command_id_of(bulk_id, action, AddressKey("email", ANN), "*")
        for bulk_id in (bulk_id_of(BOUNCES, AS_OF_US), bulk_id_of(BOUNCES, AS_OF_US + 1000))
        for action in ("release", "undo")
    }
    for key in ids:
        begin, end = command_id_range(*key)
        assert [other for other, id_ in ids.items() if begin <= id_ < end] == [key]
    begin, end = command_id_range()
    assert all(begin <= id_ < end for id_ in ids.values())


def test_refusals_are_looked_for_until_the_next_suppression() -> None:
    address = an_address(THREE, read_us=day(3))
    released = address.to_release(BOUNCES)
    command = address.command("*", BOUNCES)
    assert refused_period(command, address.of_scope("*")) is None
    address.apply(released, AS_OF_US + 1)
    assert refused_period(command, address.of_scope("*")) == Period(day(3), None)
    address.apply([an_item(Kind.SUPPRESS, 21)], day(22))
    assert refused_period(command, address.of_scope("*")) == Period(day(3), day(22))
