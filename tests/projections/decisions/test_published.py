"""The value of `sends.decided`: the published model accepts it, and it repeats the request unchanged."""

from typing import Any

import orjson
import pytest

from projections.decisions.account import Accounts
from projections.decisions.published import RequestFields
from projections.suppressions.addressing import AddressKey
from projections.suppressions.rules import GateRules
from projections.suppressions.state import EMPTY_SNAPSHOT, AddressSnapshot
from schemas.decoding.sends import decode_decision, decode_request
from schemas.events import SourcePosition
from schemas.records import SendDecision
from tests.building import NOW_US
from tests.projections.suppressions.building import (
    suppressed,
)
from tests.schemas.test_sends import FULL, REQUEST

SOURCE = SourcePosition("sends.requested", 0, 7, NOW_US)
KEY = AddressKey("email", "ann@example.com")


@pytest.mark.parametrize("record", [REQUEST, FULL, FULL | {"to": " ÄNN@Example.com ", "subject": "", "cc": []}])
def test_a_request_is_repeated_unchanged(record: dict[str, Any]) -> None:
    request = decode_request(orjson.dumps(record), SOURCE, decision_days=30)
    repeated = RequestFields.of(request).as_record(request.account_id, request.message_id)
    assert decode_request(orjson.dumps(repeated), SOURCE, decision_days=30) == request


def test_fields_that_were_left_out_stay_left_out() -> None:
    request = decode_request(orjson.dumps(REQUEST), SOURCE, decision_days=30)
    assert RequestFields.of(request).as_record(request.account_id, request.message_id) == REQUEST


@pytest.mark.parametrize("address", [EMPTY_SNAPSHOT, suppressed("bounces")], ids=["approved", "suppressed"])
def test_a_decision_is_valid_and_has_all_that_a_sender_needs(address: AddressSnapshot) -> None:
    request = decode_request(orjson.dumps(FULL), SOURCE, decision_days=30)
    result = Accounts({}).decide(request, address, decided_us=NOW_US + 5, rules=GateRules())
    assert result.value is not None
    SendDecision.model_validate_json(result.value)
    decision = decode_decision(result.value, SOURCE)
    verdict = result.remembered.verdict
    assert (decision.outcome, decision.reason, decision.detail, decision.evidence) == verdict[:4]
    assert (decision.decided_us, decision.request) == (NOW_US + 5, request)
    whole = orjson.loads(result.value)
    assert (whole["to"], whole["channel"]) == ("Ann@Example.com", "email")
