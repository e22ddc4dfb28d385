"""The validation of a record: which fields are reported, and how many."""

from typing import Any

import pytest

from application.errors import MAX_FAULTS, FieldsInvalid
from application.fields import MAX_CC, size_faults
from application.validation import validate_record
from schemas.decoding.gate_inputs import decode_policy
from schemas.policies import AccountPolicy
from schemas.records import MAX_REQUEST_BYTES
from schemas.topics import ACCOUNTS_POLICIES
from tests.application.building import NOW_US


def faults(raw: dict[str, Any]) -> list[str]:
    with pytest.raises(FieldsInvalid) as raised:
        validate_record(AccountPolicy, raw, ACCOUNTS_POLICIES, decode_policy, now_us=NOW_US)
    return [fault.field for fault in raised.value.faults]


def test_unknown_fields_are_reported_with_the_model_s_faults() -> None:
    assert faults({"account_id": "a b", "colour": "red", "updated_at": 1}) == ["colour", "account_id", "updated_at"]


def test_only_the_first_elements_are_reported() -> None:
    assert faults({"disabled_templates": [None] * 1000}) == [f"disabled_templates.{n}" for n in range(MAX_FAULTS)]


@pytest.mark.parametrize("extra", [0, 1])
def test_the_size_of_an_object_is_that_of_its_json(extra: int) -> None:
    raw = {"a": "x" * 100, "b": "y" * (MAX_REQUEST_BYTES - 100 - len('{"a":"","b":""}') + extra)}
    assert [fault.field for fault in size_faults(raw, MAX_REQUEST_BYTES)] == ["b"] * extra


def test_the_contract_s_numbers() -> None:
    assert (MAX_CC, MAX_FAULTS, MAX_REQUEST_BYTES) == (50, 100, 256 * 1024)
