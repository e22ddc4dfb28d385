"""A step that fails on a record costs that record alone, where others go through."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.dead_letters import Letter, output_of
from processors.engine import FaultLimit, Output, Record, SetupError, Step, TooManyFaults
from processors.gate.by_address import AddressStep
from processors.gate.forwarding import kind_of, policy_said, said_of_address
from processors.gate.sparing import Sparing
from processors.kafka import size_of
from projections.gate.evidence import evidence_of_command
from projections.gate.rules import Rules
from schemas.events import Bad
from schemas.gate_facts import decode_command, decode_policy
from schemas.telemetry import Telemetry
from schemas.topics import DEAD_LETTERS, FRAME_BYTES, MAX_RECORD_BYTES
from tests.building import FakeRecord, a_place
from tests.gate.building import a_command, a_policy, now_us


def counting(states: Mapping[bytes, int], records: Sequence[Record]) -> Step[int]:
    """Count by key; say each count. Fails on a value of `bad`, and on the third record of a key that is said to."""
    changed: dict[bytes, int | None] = {}
    outputs = []
    for record in records:
        key = record.key or b""
        count = (changed.get(key) or states.get(key, 0)) + 1
        if record.value == b"bad" or (record.value == b"fails as the third" and count == 3):
            raise ZeroDivisionError
        changed[key] = count
        outputs.append(Output("out", key, b"%d" % count))
    return Step(outputs, changed)


def some(*values: bytes, key: bytes = b"k") -> list[FakeRecord]:
    return [FakeRecord("gate.by-address", value, key=key, offset=n) for n, value in enumerate(values)]


def a_step(most: int = 100) -> Sparing[int]:
    return Sparing(counting, FaultLimit(most), Telemetry(), lambda record: record.topic)


def parked(step: Step[int]) -> list[int]:
    letters = [dict(output.headers) for output in step.outputs if output.topic == DEAD_LETTERS.name]
    assert {letter["dlq.reason"] for letter in letters} <= {b"code_failed"}
    return [int(letter["dlq.offset"]) for letter in letters]


@given(st.lists(st.sampled_from([b"good", b"bad"]), max_size=40))
def test_all_records_but_those_at_fault_have_the_effect_that_they_have_alone(values: list[bytes]) -> None:
    step = a_step()
    step({}, some(b"good"))
    made = step({}, some(*values))
    alone = counting({}, [record for record in some(*values) if record.value != b"bad"])
    assert [output for output in made.outputs if output.topic == "out"] == list(alone.outputs)
    assert made.changed == alone.changed
    assert parked(made) == [n for n, value in enumerate(values) if value == b"bad"]


def test_a_record_that_fails_only_after_others_is_found() -> None:
    made = a_step()({}, some(b"1", b"2", b"fails as the third", b"4"))
    assert parked(made) == [2]
    assert made.changed == {b"k": 3}


def test_a_step_that_nothing_goes_through_ends_the_worker() -> None:
    with pytest.raises(TooManyFaults, match="every record of this kind"):
        a_step()({}, some(b"bad"))
    with pytest.raises(TooManyFaults, match="every record of this kind"):
        a_step()({}, some(b"bad", b"bad"))


def test_a_record_of_another_kind_proves_nothing() -> None:
    of_another = FakeRecord("gate.by-account", b"good", key=b"k")
    with pytest.raises(TooManyFaults, match="every record of this kind"):
        a_step()({}, [of_another, *some(b"bad")])


def test_what_is_forwarded_tells_its_kind() -> None:
    forwarded = (
        policy_said(decode_policy(orjson.dumps(a_policy("acme")), a_place(received_us=now_us()))),
        said_of_address(
            evidence_of_command(
                decode_command(orjson.dumps(a_command("suppress", "a@example.com")), a_place(received_us=now_us()))
            )
        ),
    )
    records = [FakeRecord(output.topic, output.value or b"", key=output.key) for output in forwarded]
    assert [kind_of(record) for record in records] == [b"policy", b"said"]
    assert kind_of(FakeRecord("gate.by-address", b"")) == b""


def test_a_state_of_another_release_is_no_records_fault() -> None:
    """It once parked each record of a known address, as soon as one of a new address went through."""
    asked = said_of_address(
        evidence_of_command(
            decode_command(orjson.dumps(a_command("suppress", "a@example.com")), a_place(received_us=now_us()))
        )
    )
    record = FakeRecord(asked.topic, asked.value or b"", key=asked.key)
    new = FakeRecord(asked.topic, asked.value or b"", key=b"email:new@example.com")
    step = Sparing(AddressStep(Rules()), FaultLimit(), Telemetry(), kind_of)
    with pytest.raises(SetupError, match="version"):
        step({record.key or b"": b"\x01\x90"}, [new, record])


def test_a_bad_record_that_stood_alone_is_parked_once_a_good_one_follows() -> None:
    assert parked(a_step()({}, some(b"bad", b"good"))) == [0]


def test_too_many_end_the_worker() -> None:
    with pytest.raises(TooManyFaults):
        a_step(most=5)({}, some(b"good", *[b"bad"] * 6))


@pytest.mark.parametrize("part", ["value", "key", "header"])
def test_a_letter_in_a_transaction_has_room(part: str) -> None:
    large = b"x" * (MAX_RECORD_BYTES + FRAME_BYTES - 200)
    record = FakeRecord(
        "gate.by-address",
        large if part == "value" else b"v",
        key=large if part == "key" else b"k",
        headers=[("own", large if part == "header" else b"h")],
    )
    output = output_of(Letter(record, Bad("code_failed", "no", b"", None)), "gate")
    assert size_of(output) <= MAX_RECORD_BYTES + FRAME_BYTES
    assert dict(output.headers)["dlq.reason"] == b"code_failed"
