"""Policies and preferences: complete records are written, and the latest one is read."""

from collections.abc import Mapping
from typing import Any

import orjson
import pytest

from application.errors import FieldsInvalid
from application.policies import policy_of, preference_of, set_policy, set_preference
from projections.store import Store
from schemas.decoding.times import SECOND_US, rfc3339
from schemas.errors import RequestError
from tests.application.building import NOW_US, FakeKafka, a_principal, records


class OneRecord(Store):
    """A store whose queries have so many rows."""

    def __init__(self, *found: dict[str, Any]) -> None:
        super().__init__("http://127.0.0.1:1")
        self._found = [{"record": orjson.dumps(one).decode()} for one in found]

    def rows(self, sql: str, parameters: Mapping[str, object] | None = None) -> list[dict[str, Any]]:
        return self._found


async def test_a_policy_is_in_the_log_whole() -> None:
    kafka = FakeKafka()
    value = await set_policy(kafka, a_principal(), "acme", {"trial_email_limit": 50}, NOW_US)
    [(key, record)] = records(kafka, "accounts.policies")
    assert (key, record) == ("acme", orjson.loads(value))
    assert (record["account_id"], record["trial_email_limit"], record["updated_at"]) == ("acme", 50, rfc3339(NOW_US))


async def test_a_preference_is_in_the_log_whole() -> None:
    kafka = FakeKafka()
    await set_preference(kafka, a_principal(), "acme", "client", "c/1", {"declined_templates": ["news"]}, NOW_US)
    [(key, record)] = records(kafka, "recipients.preferences")
    assert (key, record["recipient_id"], record["declined_templates"]) == ("acme/client/c/1", "c/1", ["news"])


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        pytest.param({"account_id": "globex"}, "account_id", id="another account than its address says"),
        pytest.param({"updated_at": rfc3339(NOW_US + 61 * SECOND_US)}, "updated_at", id="from the future"),
        pytest.param({"colour": "red"}, "colour", id="an unknown field"),
    ],
)
async def test_an_invalid_record_names_its_field_and_is_not_written(fields: dict[str, Any], named: str) -> None:
    kafka = FakeKafka()
    with pytest.raises(FieldsInvalid) as raised:
        await set_policy(kafka, a_principal(), "acme", fields, NOW_US)
    assert (kafka.sent, [fault.field for fault in raised.value.faults]) == ([], [named])


async def test_another_account_s_records_are_neither_written_nor_read() -> None:
    kafka = FakeKafka()
    with pytest.raises(RequestError, match="No such account"):
        await set_policy(kafka, a_principal("acme"), "globex", {}, NOW_US)
    with pytest.raises(RequestError, match="No such account"):
        preference_of(OneRecord(), a_principal("acme"), "globex", "client", "c-1")
    assert kafka.sent == []


def test_the_record_in_force_is_read_back() -> None:
    stored = {"account_id": "acme", "updated_at": rfc3339(NOW_US), "trial_email_limit": 7}
    assert policy_of(OneRecord(stored), a_principal(), "acme").trial_email_limit == 7


def test_where_nothing_was_written_there_is_no_record() -> None:
    with pytest.raises(RequestError) as raised:
        policy_of(OneRecord(), a_principal(), "acme")
    assert raised.value.code == "no-such-record"
