"""Policies and preferences: valid and invalid records, and the defaults of omitted fields."""

from typing import Any

import orjson
import pytest
from pydantic import ValidationError

from schemas.policies import AccountPolicy, RecipientPreference
from schemas.records import problems

AT = "2026-11-24T09:30:00Z"
POLICY: dict[str, Any] = {"account_id": "acme", "updated_at": AT}
PREFERENCE: dict[str, Any] = {
    "account_id": "acme",
    "recipient_kind": "client",
    "recipient_id": "c1",
    "updated_at": AT,
}


def a_policy(**said: Any) -> AccountPolicy:
    return AccountPolicy.model_validate_json(orjson.dumps(POLICY | said))


def a_preference(**said: Any) -> RecipientPreference:
    return RecipientPreference.model_validate_json(orjson.dumps(PREFERENCE | said))


def test_an_empty_policy_is_that_of_a_paying_account() -> None:
    assert a_policy().model_dump() == {
        "account_id": "acme",
        "trial_started_at": None,
        "billing_entered_at": None,
        "trial_days": 14,
        "trial_email_limit": 100,
        "sms_enabled": False,
        "disabled_templates": [],
        "invitation_opt_in_enabled": False,
        "blocked": None,
        "updated_at": AT,
    }


def test_an_empty_preference_declines_nothing() -> None:
    found = a_preference()
    assert (found.declined_templates, found.invitation_opted_in) == ([], False)


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(
            {"trial_started_at": AT, "trial_days": 0, "trial_email_limit": 0}, id="a trial of no days and no emails"
        ),
        pytest.param(
            {"trial_started_at": None, "billing_entered_at": None, "blocked": None}, id="null for optional fields"
        ),
        pytest.param({"blocked": {"reason": "fraud", "since": AT}}, id="blocked"),
        pytest.param({"disabled_templates": ["t1", "t1", ""]}, id="repeated and blank templates"),
        pytest.param({"updated_at": "2999-01-01T00:00:00+05:30"}, id="times are not checked against a clock"),
        pytest.param({"plan": "gold", "blocked": {"reason": "", "since": AT, "by": "ops"}}, id="unknown fields"),
        pytest.param({"account_id": "A" * 64}, id="the longest account id"),
    ],
)
def test_a_policy_is_valid(said: dict[str, Any]) -> None:
    a_policy(**said)


@pytest.mark.parametrize(
    ("said", "named"),
    [
        pytest.param({"account_id": "a/b"}, "account_id", id="an invalid account id"),
        pytest.param({"account_id": "*"}, "account_id", id="* is not an account"),
        pytest.param({"blocked": {"reason": "fraud"}}, "blocked.since", id="blocked without a time"),
        pytest.param({"blocked": {"since": AT}}, "blocked.reason", id="blocked without a reason"),
        pytest.param({"blocked": True}, "blocked", id="blocked is an object"),
        pytest.param({"trial_days": "14"}, "trial_days", id="a number as text"),
        pytest.param({"trial_days": 14.5}, "trial_days", id="half a day"),
        pytest.param({"trial_days": -1}, "trial_days", id="negative days"),
        pytest.param({"trial_days": True}, "trial_days", id="true is not a number"),
        pytest.param({"trial_email_limit": -1}, "trial_email_limit", id="negative emails"),
        pytest.param({"sms_enabled": "yes"}, "sms_enabled", id="yes is a string"),
        pytest.param({"sms_enabled": 1}, "sms_enabled", id="one is a number"),
        pytest.param({"disabled_templates": "t1"}, "disabled_templates", id="one template is not a list"),
        pytest.param({"disabled_templates": None}, "disabled_templates", id="null is not the default"),
        pytest.param({"disabled_templates": [True]}, "disabled_templates.0", id="a boolean is not an id"),
        pytest.param({"trial_started_at": "2026-11-24"}, "trial_started_at", id="a date is not a time"),
        pytest.param({"updated_at": None}, "updated_at", id="without a time"),
    ],
)
def test_an_invalid_policy_is_rejected_and_the_field_is_named(said: dict[str, Any], named: str) -> None:
    with pytest.raises(ValidationError) as refusal:
        a_policy(**said)
    assert problems(refusal.value).startswith(f"{named}: ")


@pytest.mark.parametrize(
    ("said", "named"),
    [
        pytest.param({"recipient_kind": "owner"}, "recipient_kind", id="unknown kind of recipient"),
        pytest.param({"recipient_id": " "}, "recipient_id", id="without a recipient"),
        pytest.param({"recipient_id": True}, "recipient_id", id="a boolean is not an id"),
        pytest.param({"declined_templates": {}}, "declined_templates", id="a list is a list"),
        pytest.param({"invitation_opted_in": None}, "invitation_opted_in", id="null is not the default"),
        pytest.param({"updated_at": "now"}, "updated_at", id="now is not a time"),
    ],
)
def test_an_invalid_preference_is_rejected_and_the_field_is_named(said: dict[str, Any], named: str) -> None:
    with pytest.raises(ValidationError) as refusal:
        a_preference(**said)
    assert problems(refusal.value).startswith(f"{named}: ")


@pytest.mark.parametrize("kind", [AccountPolicy, RecipientPreference])
def test_a_field_without_a_default_is_required(kind: type[AccountPolicy] | type[RecipientPreference]) -> None:
    whole = POLICY if kind is AccountPolicy else PREFERENCE
    for field in whole:
        with pytest.raises(ValidationError, match=field):
            kind.model_validate({name: value for name, value in whole.items() if name != field})
