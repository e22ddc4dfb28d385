"""The gate: its intake forwards or rejects records, and both steps handle whatever was forwarded."""

from collections.abc import Sequence

import orjson
from hypothesis import given
from hypothesis import strategies as st

from processors.engine import Output
from processors.gate.by_account import AccountStep
from processors.gate.by_address import AddressStep
from processors.gate.intake import internal_messages
from processors.ledger.decode import read_records
from projections.suppressions.rules import GateRules
from schemas.decoding.decoders import decoders
from schemas.errors import RecordInvalid
from schemas.records import SendDecision
from schemas.suppressions import SuppressionState
from schemas.topics import GATE_BY_ACCOUNT, GATE_BY_ADDRESS, GATE_INPUTS, SENDS_DECIDED, SUPPRESSIONS_CHANGED
from tests.building import FakeRecord
from tests.hostile.strategies import raw_records

RULES = GateRules(suppress_bounces=1)
DECODERS = decoders(decision_days=RULES.decision_days)
INPUTS = [topic.name for topic in GATE_INPUTS]
MOST_BYTES_OUT_PER_BYTE = 8
ROOM_BYTES = 4_096


def taken(records: Sequence[FakeRecord]) -> list[Output]:
    """Return what the intake forwards; a rejected record does not affect the others."""
    outputs: list[Output] = []
    for record in records:
        try:
            outputs += internal_messages(record, DECODERS)
        except RecordInvalid:
            continue
    return outputs


def arrived(outputs: Sequence[Output], topic: str) -> list[FakeRecord]:
    return [
        FakeRecord(topic, value, key, headers, offset=n)
        for n, (name, key, value, headers, _) in enumerate(outputs)
        if name == topic
    ]


@given(records=st.lists(raw_records(INPUTS), min_size=1, max_size=4))
def test_both_steps_handle_whatever_the_intake_forwards(records: list[FakeRecord]) -> None:
    outputs = taken(records)
    by_address = AddressStep(RULES)({}, arrived(outputs, GATE_BY_ADDRESS.name))
    to_account = [*arrived(outputs, GATE_BY_ACCOUNT.name), *arrived(by_address.outputs, GATE_BY_ACCOUNT.name)]
    by_account = AccountStep(RULES)({}, to_account)
    published = [*by_address.outputs, *by_account.outputs]
    for output in published:
        if output.topic == SENDS_DECIDED.name:
            SendDecision.model_validate(orjson.loads(output.value or b""))
        elif output.topic == SUPPRESSIONS_CHANGED.name:
            SuppressionState.model_validate(orjson.loads(output.value or b""))
    # The ledger can read what the gate publishes.
    told = [record for name in (SENDS_DECIDED.name, SUPPRESSIONS_CHANGED.name) for record in arrived(published, name)]
    assert read_records(told, decision_days=RULES.decision_days).letters == []


@given(record=raw_records(INPUTS))
def test_the_size_of_what_is_forwarded_is_bounded_by_the_input(record: FakeRecord) -> None:
    outputs = taken([record])
    written = sum(len(output.key or b"") + len(output.value or b"") for output in outputs)
    read = len(record.value or b"") + sum(len(value or b"") for _, value in record.headers)
    assert written <= MOST_BYTES_OUT_PER_BYTE * read + ROOM_BYTES


@given(records=st.lists(raw_records(INPUTS), min_size=1, max_size=4))
def test_the_size_of_a_state_row_is_bounded_by_the_input(records: list[FakeRecord]) -> None:
    outputs = taken(records)
    step = AddressStep(RULES)({}, arrived(outputs, GATE_BY_ADDRESS.name))
    rows = sum(len(key) + len(row or b"") for key, row in step.changed.items())
    read = sum(len(record.value or b"") + sum(len(v or b"") for _, v in record.headers) for record in records)
    assert rows <= MOST_BYTES_OUT_PER_BYTE * read + ROOM_BYTES
