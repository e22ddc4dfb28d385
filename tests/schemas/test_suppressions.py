"""Suppression commands and states: valid and invalid records."""

from typing import Any

import orjson
import pytest
from pydantic import ValidationError

from schemas.records import problems
from schemas.suppressions import SuppressionCommand, SuppressionState

AT = "2026-11-24T09:30:00Z"
COMMAND: dict[str, Any] = {
    "command_id": "c-1",
    "action": "suppress",
    "channel": "email",
    "address": "ann@example.com",
    "scope": "*",
    "reason": "she asked on the phone",
    "actor": "support",
    "at": AT,
}
SCOPE: dict[str, Any] = {"scope": "*", "suppressed": True, "reason": "bounces", "since": AT, "evidence": ["e1", "e2"]}
STATE: dict[str, Any] = {
    "channel": "email",
    "address": "ann@example.com",
    "scopes": [SCOPE],
    "opt_outs": [],
    "version": 1,
    "changed_at": AT,
}


def a_command(**said: Any) -> SuppressionCommand:
    return SuppressionCommand.model_validate_json(orjson.dumps(COMMAND | said))


def a_state(**said: Any) -> SuppressionState:
    return SuppressionState.model_validate_json(orjson.dumps(STATE | said))


@pytest.mark.parametrize(
    "said",
    [
        pytest.param({}, id="suppress everywhere"),
        pytest.param(
            {"action": "release", "scope": "acme", "note": "the mailbox is in use again"}, id="release for one account"
        ),
        pytest.param({"action": "opt_in", "group": "12"}, id="opt in to a group"),
        pytest.param({"action": "opt_in", "channel": "sms", "address": "+14155550123", "sender": "+1555"}, id="texts"),
        pytest.param({"action": "opt_in"}, id="opt in to all of a scope"),
        pytest.param({"sender": None, "group": None, "note": None}, id="null for optional fields"),
        pytest.param({"reason": "", "actor": ""}, id="a blank reason"),
        pytest.param({"at": "1999-01-01T00:00:00-08:00"}, id="times are not checked against a clock"),
        pytest.param({"ticket": 7}, id="unknown fields"),
    ],
)
def test_a_command_is_valid(said: dict[str, Any]) -> None:
    a_command(**said)


@pytest.mark.parametrize(
    ("said", "named"),
    [
        pytest.param({"action": "SUPPRESS"}, "action", id="actions are case-sensitive"),
        pytest.param({"action": "delete"}, "action", id="no such action"),
        pytest.param({"channel": "post"}, "channel", id="no such channel"),
        pytest.param({"address": " "}, "address", id="no address"),
        pytest.param({"scope": ""}, "scope", id="no scope"),
        pytest.param({"scope": "**"}, "scope", id="two stars are not a scope"),
        pytest.param({"scope": ["acme"]}, "scope", id="one scope"),
        pytest.param({"command_id": ""}, "command_id", id="no id"),
        pytest.param({"reason": None}, "reason", id="null is not a reason"),
        pytest.param({"group": True}, "group", id="a boolean is not a group"),
        pytest.param({"command_id": False}, "command_id", id="a boolean is not an id"),
        pytest.param({"at": "today"}, "at", id="today is not a time"),
    ],
)
def test_an_invalid_command_is_rejected_and_the_field_is_named(said: dict[str, Any], named: str) -> None:
    with pytest.raises(ValidationError) as refusal:
        a_command(**said)
    assert problems(refusal.value).startswith(f"{named}: ")


def test_a_field_without_a_default_is_required() -> None:
    for field in COMMAND:
        with pytest.raises(ValidationError, match=field):
            SuppressionCommand.model_validate({name: value for name, value in COMMAND.items() if name != field})


@pytest.mark.parametrize(
    "said",
    [
        pytest.param({}, id="suppressed"),
        pytest.param(
            {"scopes": [SCOPE | {"suppressed": False, "released": {"at": AT, "actor": "support"}}]}, id="released"
        ),
        pytest.param({"scopes": []}, id="only opt-outs"),
        pytest.param(
            {
                "opt_outs": [
                    {"scope": "acme", "reason": "unsubscribed", "since": AT},
                    {"scope": "acme", "group": "12", "reason": "group_unsubscribed", "since": AT},
                    {"scope": "*", "sender": "+1555", "reason": "sms_opt_out", "since": AT},
                ]
            },
            id="opt-outs of an account, a group and a sender",
        ),
    ],
)
def test_a_state_is_valid(said: dict[str, Any]) -> None:
    a_state(**said)


@pytest.mark.parametrize(
    ("said", "named"),
    [
        pytest.param({"version": 0}, "version", id="the first is 1"),
        pytest.param(
            {"scopes": [SCOPE | {"reason": "unsubscribed"}]},
            "scopes.0.reason",
            id="an opt-out is not a suppression reason",
        ),
        pytest.param(
            {"scopes": [SCOPE | {"released": {"at": AT}}]}, "scopes.0.released.actor", id="a release without an actor"
        ),
        pytest.param(
            {"opt_outs": [{"scope": "*", "group": "1", "sender": "2", "reason": "r", "since": AT}]},
            "opt_outs.0",
            id="both a group and a sender",
        ),
        pytest.param({"address": ""}, "address", id="no address"),
    ],
)
def test_an_invalid_state_is_rejected_and_the_field_is_named(said: dict[str, Any], named: str) -> None:
    with pytest.raises(ValidationError) as refusal:
        a_state(**said)
    assert problems(refusal.value).startswith(f"{named}: ")
