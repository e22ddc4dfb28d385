"""The value of `suppressions.changed`: the published model accepts it, and it states what holds for the address."""

import copy
from typing import Any

import orjson
from hypothesis import given

from projections.suppressions.addressing import AddressKey
from projections.suppressions.evidence import Evidence, Kind
from projections.suppressions.published import suppression_state_value
from projections.suppressions.state import AddressSnapshot
from schemas.decoding.times import rfc3339
from schemas.suppressions import SuppressionState
from tests.building import NOW_US
from tests.projections.suppressions.building import (
    a_release,
    an_item,
    bounce,
    day,
    evidence_sets,
    snapshot_after,
)

KEY = AddressKey("email", "ann@example.com")


def state(snapshot: AddressSnapshot) -> dict[str, Any]:
    encoded = suppression_state_value(KEY, snapshot, 3, NOW_US)
    SuppressionState.model_validate_json(encoded)
    value: dict[str, Any] = orjson.loads(encoded)
    return value


@given(evidence_sets())
def test_a_state_is_valid_for_any_evidence(evidence: list[Evidence]) -> None:
    snapshot = snapshot_after(*evidence)
    value = state(snapshot)
    assert [scope["suppressed"] for scope in value["scopes"]] == [scope.suppressed for scope in snapshot.scopes]
    assert len(value["opt_outs"]) == len(snapshot.opt_outs)


def test_a_state_has_reason_since_and_who_released_it() -> None:
    bounces = [bounce(n, f"m{n}") for n in (1, 2, 3)]
    scope = {
        "scope": "*",
        "suppressed": True,
        "reason": "bounces",
        "since": rfc3339(day(3)),
        "evidence": [e.id for e in bounces],
    }
    assert state(snapshot_after(*bounces)) == {
        "channel": "email",
        "address": "ann@example.com",
        "scopes": [scope],
        "opt_outs": [],
        "version": 3,
        "changed_at": rfc3339(NOW_US),
    }
    released = copy.copy(scope) | {"suppressed": False, "released": {"at": rfc3339(day(4)), "actor": "support"}}
    assert state(snapshot_after(*bounces, a_release(4)))["scopes"] == [released]


def test_a_state_names_what_each_opt_out_applies_to() -> None:
    value = state(
        snapshot_after(
            an_item(Kind.UNSUBSCRIBED, 1, scope="acme"),
            an_item(Kind.UNSUBSCRIBED, 1, scope="acme", group="12", id="g"),
            an_item(Kind.OPTED_OUT, 1, senders=("+1555",)),
        )
    )
    since = rfc3339(day(1))
    assert value["opt_outs"] == [
        {"scope": "*", "sender": "+1555", "reason": "sms_opt_out", "since": since},
        {"scope": "acme", "reason": "unsubscribed", "since": since},
        {"scope": "acme", "group": "12", "reason": "group_unsubscribed", "since": since},
    ]
