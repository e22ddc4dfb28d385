"""Policies, preferences and commands: the published models and the decoders accept the same records and values."""

import copy
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from schemas.decoding.gate_inputs import FOR_EVER, decode_command, decode_policy, decode_preference
from schemas.decoding.times import DAY_US, rfc3339
from schemas.errors import RecordInvalid
from schemas.events import SourcePosition
from schemas.policies import AccountPolicy, RecipientPreference
from schemas.records import Record
from schemas.suppressions import SuppressionCommand

NOW_US = 1_780_000_000_000_000
NOW = rfc3339(NOW_US)
TOO_FAR = rfc3339(NOW_US + DAY_US + 1)
SOURCE = SourcePosition("accounts.policies", 0, 7, NOW_US)
POLICY: dict[str, Any] = {
    "account_id": "acme",
    "trial_started_at": NOW,
    "billing_entered_at": NOW,
    "trial_days": 7,
    "trial_email_limit": 50,
    "sms_enabled": True,
    "disabled_templates": ["t2", "t1", "t2"],
    "invitation_opt_in_enabled": True,
    "blocked": {"reason": "fraud", "since": NOW},
    "updated_at": "2026-05-28T10:00:00Z",
}
PREFERENCE: dict[str, Any] = {
    "account_id": "acme",
    "recipient_kind": "client",
    "recipient_id": "c1",
    "declined_templates": ["t1"],
    "invitation_opted_in": True,
    "updated_at": NOW,
}
COMMAND: dict[str, Any] = {
    "command_id": "c-1",
    "action": "opt_in",
    "channel": "email",
    "address": " Ann@Example.com",
    "scope": "acme",
    "sender": None,
    "group": "12",
    "reason": "she asked",
    "actor": "support",
    "note": "by phone",
    "at": NOW,
}
CASES: dict[str, tuple[dict[str, Any], type[Record], Callable[[bytes, SourcePosition], Any]]] = {
    "policy": (POLICY, AccountPolicy, decode_policy),
    "preference": (PREFERENCE, RecipientPreference, decode_preference),
    "command": (COMMAND, SuppressionCommand, decode_command),
}
ODD = st.sampled_from(
    [None, "", " ", "x", "*", "a/b", 0, 1, -1, 2.0, 10**30, True, NOW, [], ["x"], [1], {}, {"k": "v"}, "email", "staff"]
    + [1.5, -0.0, 1e22, 4711, 4711.0, 2**64 - 1, [1, "1", 1.0], [True], [None]]
    + ["suppress", {"reason": "", "since": NOW}, {"reason": "r"}, {"reason": 1, "since": NOW}]
)


@st.composite
def nearly(draw: st.DrawFn, record: dict[str, Any]) -> dict[str, Any]:
    """Draw the record with some fields replaced by odd values, or left out."""
    made = copy.deepcopy(record)
    for name in draw(st.lists(st.sampled_from(sorted(made)), max_size=3)):
        if draw(st.booleans()):
            made[name] = draw(ODD)
        else:
            made.pop(name, None)
    return made


def accepted(read: Callable[[], object]) -> bool:
    try:
        read()
    except (ValidationError, RecordInvalid):
        return False
    return True


@pytest.mark.parametrize("case", list(CASES))
@given(st.data())
def test_model_and_decoder_accept_the_same(case: str, data: st.DataObject) -> None:
    whole, model, decode = CASES[case]
    value = orjson.dumps({k: str(v) if v == 10**30 else v for k, v in data.draw(nearly(whole)).items()})
    value = value.replace(b'"1' + b"0" * 30 + b'"', b"1" + b"0" * 30)  # orjson can't encode such a number
    assert accepted(lambda: model.model_validate_json(value)) == accepted(lambda: decode(value, SOURCE))


@pytest.mark.parametrize("case", list(CASES))
@given(st.data())
def test_model_and_decoder_read_the_same_values(case: str, data: st.DataObject) -> None:
    whole, model, decode = CASES[case]
    record = {name: value for name, value in data.draw(nearly(whole)).items() if value != 10**30}
    value = orjson.dumps(record)
    if accepted(lambda: decode(value, SOURCE)):
        assert decode(model.model_validate_json(value).model_dump_json().encode(), SOURCE) == decode(value, SOURCE)


def test_a_policy_keeps_its_fields_and_omitted_ones_have_their_defaults() -> None:
    policy = decode_policy(orjson.dumps(POLICY), SOURCE)
    assert (policy.trial_started_us, policy.blocked_since_us, policy.blocked_reason) == (NOW_US, NOW_US, "fraud")
    assert (policy.disabled_templates, policy.updated_at) == (("t1", "t2"), "2026-05-28T10:00:00Z")
    bare = decode_policy(orjson.dumps({"account_id": "acme", "updated_at": NOW}), SOURCE)
    assert bare == ("acme", None, None, 14, 100, False, (), False, None, "", NOW_US, NOW)


def test_a_huge_number_is_capped() -> None:
    value = orjson.dumps(POLICY).replace(b'"trial_days":7', b'"trial_days":1' + b"0" * 30)
    assert decode_policy(value, SOURCE).trial_days == FOR_EVER


def test_a_command_has_the_key_of_its_address() -> None:
    command = decode_command(orjson.dumps(COMMAND), SOURCE)
    assert (command.address, command.sender, command.group) == ("ann@example.com", "", "12")
    texted = decode_command(orjson.dumps(COMMAND | {"channel": "sms", "address": "+1 (415) 555-0100"}), SOURCE)
    assert texted.address == "+14155550100"


@pytest.mark.parametrize(
    ("case", "change", "named"),
    [
        ("policy", {"updated_at": TOO_FAR}, "updated_at"),
        ("policy", {"trial_started_at": TOO_FAR}, "trial_started_at"),
        ("policy", {"billing_entered_at": TOO_FAR}, "billing_entered_at"),
        ("policy", {"blocked": {"reason": "fraud", "since": TOO_FAR}}, "blocked.since"),
        ("preference", {"updated_at": TOO_FAR}, "updated_at"),
        ("command", {"at": TOO_FAR}, "at"),
        ("command", {"scope": "a/b"}, "scope"),
    ],
)
def test_an_error_names_the_field_also_if_it_depends_on_the_record_timestamp(
    case: str, change: dict[str, Any], named: str
) -> None:
    whole, _, decode = CASES[case]
    with pytest.raises(RecordInvalid) as caught:
        decode(orjson.dumps(whole | change), SOURCE)
    assert caught.value.reason == "record_invalid"
    assert caught.value.detail.startswith(f"{named}: ")


@pytest.mark.parametrize(
    ("field", "limit"),
    [("command_id", 320), ("sender", 320), ("group", 320), ("actor", 320), ("reason", 1_000), ("note", 10_000)],
)
def test_a_text_of_a_command_has_a_maximum_length(field: str, limit: int) -> None:
    longest, too_long = COMMAND | {field: "é" * limit}, COMMAND | {field: "é" * (limit + 1)}
    assert getattr(decode_command(orjson.dumps(longest), SOURCE), field) == "é" * limit
    SuppressionCommand.model_validate(longest)
    with pytest.raises(ValidationError, match=field):
        SuppressionCommand.model_validate(too_long)
    with pytest.raises(RecordInvalid) as caught:
        decode_command(orjson.dumps(too_long), SOURCE)
    assert caught.value.detail == f"{field}: has {limit + 1} characters; at most {limit} are allowed"


@pytest.mark.parametrize("decode", [decode_policy, decode_preference, decode_command])
@pytest.mark.parametrize(("value", "reason"), [(b"{", "record_not_json"), (b"[]", "record_invalid")])
def test_a_value_that_is_not_an_object_is_rejected_with_its_reason(
    decode: Callable[[bytes, SourcePosition], Any], value: bytes, reason: str
) -> None:
    with pytest.raises(RecordInvalid) as caught:
        decode(value, SOURCE)
    assert caught.value.reason == reason


def test_a_numeric_id_is_converted_to_a_string() -> None:
    policy = decode_policy(orjson.dumps(POLICY | {"account_id": 7, "disabled_templates": [4711, "t1", 4711.0]}), SOURCE)
    assert (policy.account_id, policy.disabled_templates) == ("7", ("4711", "t1"))
    said = PREFERENCE | {"account_id": 7, "recipient_id": 0, "declined_templates": [2, 1]}
    preference = decode_preference(orjson.dumps(said), SOURCE)
    assert (preference.account_id, preference.recipient_id, preference.declined_templates) == ("7", "0", ("1", "2"))
    command = decode_command(orjson.dumps(COMMAND | {"command_id": 1, "scope": 7, "group": 0, "sender": 32665}), SOURCE)
    assert (command.command_id, command.scope, command.group, command.sender) == ("1", "7", "0", "32665")
