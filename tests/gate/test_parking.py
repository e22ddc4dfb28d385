"""A step that fails on a record parks that record alone, if others succeed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.dead_letters import DeadLetter, LetterOutputs
from processors.engine import FailureLimit, Output, Record, SetupError, StepResult
from processors.engine.errors import TooManyFailures
from processors.gate.by_address import AddressStep
from processors.gate.messages import evidence_message, message_kind, policy_message
from processors.gate.parking import ParkingStep
from processors.kafka import size_of
from projections.suppressions.evidence import evidence_of_command
from projections.suppressions.rules import GateRules
from schemas.decoding.gate_inputs import decode_command, decode_policy
from schemas.events import Rejection
from schemas.telemetry import Telemetry
from schemas.topics import DEAD_LETTERS, MAX_MESSAGE_BYTES
from tests.building import FakeRecord, a_source_position
from tests.gate.building import a_command, a_policy, now_us


def counting(states: Mapping[bytes, int], records: Sequence[Record]) -> StepResult[int]:
    """Count by key, with each count as output. Raises for `bad`, and for `fails as the third` as third of a key."""
    changed: dict[bytes, int | None] = {}
    outputs = []
    for record in records:
        key = record.key or b""
        count = (changed.get(key) or states.get(key, 0)) + 1
        if record.value == b"bad" or (record.value == b"fails as the third" and count == 3):
            raise ZeroDivisionError
        changed[key] = count
        outputs.append(Output("out", key, b"%d" % count))
    return StepResult(outputs, changed)


def some(*values: bytes, key: bytes = b"k") -> list[FakeRecord]:
    return [FakeRecord("gate.by-address", value, key=key, offset=n) for n, value in enumerate(values)]


def a_step(most: int = 100) -> ParkingStep[int]:
    return ParkingStep(counting, FailureLimit(most), LetterOutputs("gate", Telemetry()), lambda record: record.topic)


def parked(step: StepResult[int]) -> list[int]:
    letters = [dict(output.headers) for output in step.outputs if output.topic == DEAD_LETTERS.name]
    assert {letter["dlq.reason"] for letter in letters} <= {b"code_failed"}
    return [int(letter["dlq.offset"]) for letter in letters]


@given(st.lists(st.sampled_from([b"good", b"bad"]), max_size=40))
def test_good_records_have_the_same_effect_as_without_the_bad_ones(values: list[bytes]) -> None:
    step = a_step()
    step({}, some(b"good"))
    result = step({}, some(*values))
    alone = counting({}, [record for record in some(*values) if record.value != b"bad"])
    assert [output for output in result.outputs if output.topic == "out"] == list(alone.outputs)
    assert result.changed == alone.changed
    assert parked(result) == [n for n, value in enumerate(values) if value == b"bad"]


def test_a_record_that_fails_only_after_others_is_found() -> None:
    result = a_step()({}, some(b"1", b"2", b"fails as the third", b"4"))
    assert parked(result) == [2]
    assert result.changed == {b"k": 3}


def test_a_step_that_fails_on_every_record_stops_the_worker() -> None:
    with pytest.raises(TooManyFailures, match="every record of this kind"):
        a_step()({}, some(b"bad"))
    with pytest.raises(TooManyFailures, match="every record of this kind"):
        a_step()({}, some(b"bad", b"bad"))


def test_a_good_record_of_another_kind_proves_nothing() -> None:
    of_another = FakeRecord("gate.by-account", b"good", key=b"k")
    with pytest.raises(TooManyFailures, match="every record of this kind"):
        a_step()({}, [of_another, *some(b"bad")])


def test_the_kind_of_a_message_is_read_without_decoding_it() -> None:
    messages = (
        policy_message(decode_policy(orjson.dumps(a_policy("acme")), a_source_position(received_us=now_us()))),
        evidence_message(
            evidence_of_command(
                decode_command(
                    orjson.dumps(a_command("suppress", "a@example.com")), a_source_position(received_us=now_us())
                )
            )
        ),
    )
    records = [FakeRecord(output.topic, output.value or b"", key=output.key) for output in messages]
    assert [message_kind(record) for record in records] == [b"policy", b"said"]
    assert message_kind(FakeRecord("gate.by-address", b"")) == b""


def test_a_row_of_another_release_is_no_records_fault() -> None:
    """It once parked each record of a known address, as soon as one of a new address went through."""
    message = evidence_message(
        evidence_of_command(
            decode_command(
                orjson.dumps(a_command("suppress", "a@example.com")), a_source_position(received_us=now_us())
            )
        )
    )
    record = FakeRecord(message.topic, message.value or b"", key=message.key)
    new = FakeRecord(message.topic, message.value or b"", key=b"email:new@example.com")
    step = ParkingStep(AddressStep(GateRules()), FailureLimit(), LetterOutputs("gate", Telemetry()), message_kind)
    with pytest.raises(SetupError, match="version"):
        step({record.key or b"": b"\x01\x90"}, [new, record])


def test_a_bad_record_that_was_alone_is_parked_once_a_good_one_follows() -> None:
    assert parked(a_step()({}, some(b"bad", b"good"))) == [0]


def test_too_many_failures_stop_the_worker() -> None:
    with pytest.raises(TooManyFailures):
        a_step(most=5)({}, some(b"good", *[b"bad"] * 6))


@pytest.mark.parametrize("part", ["value", "key", "header"])
def test_a_dead_letter_fits_into_the_transaction(part: str) -> None:
    large = b"x" * (MAX_MESSAGE_BYTES - 200)
    record = FakeRecord(
        "gate.by-address",
        large if part == "value" else b"v",
        key=large if part == "key" else b"k",
        headers=[("own", large if part == "header" else b"h")],
    )
    telemetry = Telemetry()
    output = LetterOutputs("gate", telemetry).of(DeadLetter(record, Rejection("code_failed", "no", b"", None)))
    assert size_of(output) <= MAX_MESSAGE_BYTES
    assert dict(output.headers)["dlq.reason"] == b"code_failed"
    labels = {"topic": "gate.by-address", "reason": "code_failed"}
    assert telemetry.registry.get_sample_value("sendledger_dead_letters_total", labels) == 1
