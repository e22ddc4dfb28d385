"""The gate's memory as bytes: what was written is read again, small, and never by a gate that does not know it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projections.gate.account import Accounts, decision_key
from projections.gate.evidence import Evidence
from projections.gate.published import Written
from projections.gate.rows import (
    POLICY,
    PREFERENCE,
    REMEMBERED,
    REQUEST,
    RUN,
    RUNS,
    USAGE,
    Codec,
    Remembered,
    Run,
    Runs,
    address_of_row,
    row_of_address,
)
from projections.gate.rules import Rules
from projections.gate.suppression import NOTHING, UNPUBLISHED, AddressState, Published
from projections.gate.trial import Usage
from schemas.errors import ConfigError
from schemas.gate_facts import FOR_EVER
from tests.building import MESSAGE, NOW_US, a_request
from tests.projections.gate.building import a_policy, a_preference, at_once, bounce, evidence_sets, known, seen_as
from tests.projections.gate.test_decide import CAUSES, Given


@given(evidence_sets(), evidence_sets(), st.integers(0, 2**40))
def test_an_address_is_what_it_was(evidence: list[Evidence], earlier: list[Evidence], version: int) -> None:
    for published in (UNPUBLISHED, Published.of(seen_as(*evidence)), Published.of(seen_as(*earlier))):
        state = AddressState(at_once(evidence).evidence, version, published)
        assert address_of_row(row_of_address(state)) == state


@pytest.mark.parametrize("given_", [*CAUSES.values(), Given()], ids=[*CAUSES, "ok"])
@pytest.mark.parametrize("written", [None, Written.of(a_request(cc=("a@example.com", "b@example.com")))])
def test_a_decision_is_what_it_was(given_: Given, written: Written | None) -> None:
    remembered = Remembered(NOW_US, given_.verdict(), written, "" if written else "0" * 32)
    assert REMEMBERED.decode(REMEMBERED.encode(remembered)) == remembered


def test_an_account_is_what_it_was() -> None:
    policy = a_policy(trial_started_us=0, trial_days=FOR_EVER, disabled_templates=("a", "b"))
    preference = a_preference(declined_templates=("",))
    usage = Usage(((0, 1), (NOW_US, FOR_EVER)))
    assert POLICY.decode(POLICY.encode(policy)) == policy
    assert PREFERENCE.decode(PREFERENCE.encode(preference)) == preference
    assert USAGE.decode(USAGE.encode(usage)) == usage
    run = Run(NOW_US, (decision_key("acme", MESSAGE), b"\x00\xff"))
    assert RUN.decode(RUN.encode(run)) == run
    assert RUNS.decode(RUNS.encode(Runs(3, 2**40))) == Runs(3, 2**40)


@pytest.mark.parametrize("said", [{}, {"cc": ("a@example.com", "b@example.com"), "subject": "ü\x00"}])
def test_a_request_is_what_it_was(said: dict[str, Any]) -> None:
    assert REQUEST.decode(REQUEST.encode(a_request(**said))) == a_request(**said)


@pytest.mark.parametrize("codec", [POLICY, PREFERENCE, REMEMBERED, REQUEST, RUN, RUNS, USAGE])
@pytest.mark.parametrize("row", [b"", b"\x03\x90", b"{}"])
def test_a_row_of_another_version_is_refused(codec: Codec[object], row: bytes) -> None:
    with pytest.raises(ConfigError, match="version"):
        codec.decode(row)
    with pytest.raises(ConfigError, match="version"):
        address_of_row(row)


def test_a_row_of_an_address_without_what_was_published_is_refused_and_not_misread() -> None:
    with pytest.raises(ConfigError, match="version 01; this gate knows 02"):
        address_of_row(b"\x01\x92\x00\x90")


def test_rows_are_small() -> None:
    """An address that bounced once, and a usual decision: what a million of them take follows."""
    event_id, message = "0f343b0931126a20f133d67c2b018a3b", "sendgrid:14c5d75ce93.dfd.64b469"
    assert len(row_of_address(at_once([bounce(1, message, id=event_id)]))) < 110
    closed = known(*(bounce(n, f"{message}{n}", id=f"{n}{event_id[1:]}") for n in (1, 2, 3)))
    assert closed.version == 1
    assert len(row_of_address(closed)) - len(row_of_address(AddressState(closed.evidence))) < 40
    accounts = Accounts({})
    accounts.decide(a_request(), NOTHING, decided_us=NOW_US, rules=Rules())
    ((key, row),) = accounts.changes.items()
    assert row is not None
    assert len(key) + len(row) < 210
