"""The rows of accounts: what was encoded is decoded again, rows are small, and unknown versions are refused."""

from typing import Any

import pytest

from projections.decisions.account import Accounts, decision_key
from projections.decisions.published import RequestFields
from projections.decisions.rows import (
    DECISION,
    POLICY,
    PREFERENCE,
    REQUEST,
    RUN,
    RUNS,
    USAGE,
    RememberedDecision,
    Run,
    Runs,
)
from projections.decisions.trial import Usage
from projections.suppressions.rules import GateRules
from projections.suppressions.state import EMPTY_SNAPSHOT
from projections.versioned_codec import VersionedCodec
from schemas.decoding.gate_inputs import FOR_EVER
from schemas.errors import ConfigError
from tests.building import MESSAGE, NOW_US, a_request
from tests.projections.decisions.test_decide import CAUSES, Given
from tests.projections.suppressions.building import a_policy, a_preference


@pytest.mark.parametrize("given_", [*CAUSES.values(), Given()], ids=[*CAUSES, "ok"])
@pytest.mark.parametrize("request_", [None, RequestFields.of(a_request(cc=("a@example.com", "b@example.com")))])
def test_decoding_a_decision_gives_what_was_encoded(given_: Given, request_: RequestFields | None) -> None:
    remembered = RememberedDecision(NOW_US, given_.verdict(), request_, "" if request_ else "0" * 32)
    assert DECISION.decode(DECISION.encode(remembered)) == remembered


def test_decoding_the_other_rows_gives_what_was_encoded() -> None:
    policy = a_policy(trial_started_us=0, trial_days=FOR_EVER, disabled_templates=("a", "b"))
    preference = a_preference(declined_templates=("",))
    usage = Usage(((0, 1), (NOW_US, FOR_EVER)))
    assert POLICY.decode(POLICY.encode(policy)) == policy
    assert PREFERENCE.decode(PREFERENCE.encode(preference)) == preference
    assert USAGE.decode(USAGE.encode(usage)) == usage
    run = Run(NOW_US, (decision_key("acme", MESSAGE), b"\x00\xff"))
    assert RUN.decode(RUN.encode(run)) == run
    assert RUNS.decode(RUNS.encode(Runs(3, 2**40))) == Runs(3, 2**40)


@pytest.mark.parametrize("fields", [{}, {"cc": ("a@example.com", "b@example.com"), "subject": "ü\x00"}])
def test_decoding_a_request_gives_what_was_encoded(fields: dict[str, Any]) -> None:
    assert REQUEST.decode(REQUEST.encode(a_request(**fields))) == a_request(**fields)


@pytest.mark.parametrize("codec", [POLICY, PREFERENCE, DECISION, REQUEST, RUN, RUNS, USAGE])
@pytest.mark.parametrize("row", [b"", b"\x03\x90", b"{}"])
def test_a_row_of_another_version_is_refused(codec: VersionedCodec[object], row: bytes) -> None:
    with pytest.raises(ConfigError, match="version"):
        codec.decode(row)


def test_the_row_of_a_decision_is_small() -> None:
    """A usual decision: the memory for a million of them follows from it."""
    accounts = Accounts({})
    accounts.decide(a_request(), EMPTY_SNAPSHOT, decided_us=NOW_US, rules=GateRules())
    ((key, row),) = accounts.changes.items()
    assert row is not None
    assert len(key) + len(row) < 210
