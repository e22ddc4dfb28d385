"""The gate's way in: one record's fault costs that record alone, and nothing stops a topic."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest

from processors.dead_letters import Letter
from processors.engine import TP, EveryRecordFails, FaultLimit, Output, Record, RecordBatch, TooManyFaults
from processors.gate import intake as module
from processors.gate.intake import Intake
from projections.gate.rules import Rules
from schemas.errors import BrokerError, RecordRefused
from schemas.telemetry import Telemetry
from tests.building import FakeRecord
from tests.gate.building import a_command, a_policy, a_request, now_us


@dataclass
class FakeKafka:
    """Takes records, but none whose value holds one of `refused`; `faults` are raised first."""

    refused: frozenset[bytes] = frozenset()
    faults: list[Exception] = field(default_factory=list)
    taken: list[Output] = field(default_factory=list)

    async def send_batches(self, outputs: Sequence[Output]) -> None:
        if self.faults:
            raise self.faults.pop(0)
        refused = {n: "size" for n, o in enumerate(outputs) if any(part in (o.value or b"") for part in self.refused)}
        self.taken += [output for n, output in enumerate(outputs) if n not in refused]
        if refused:
            raise RecordRefused("too large", "gate.by-address", refused)


@dataclass
class FakeLetters:
    parked: list[Letter] = field(default_factory=list)

    async def park(self, letters: Sequence[Letter]) -> None:
        self.parked += letters

    @property
    def reasons(self) -> list[tuple[str, int, str]]:
        return [(letter.record.topic, letter.record.offset, letter.bad.reason) for letter in self.parked]


def an_intake(kafka: FakeKafka, letters: FakeLetters, limit: FaultLimit | None = None) -> Intake:
    rules = Rules(suppress_bounces=3, suppress_window_days=30, decision_days=30, refuse_unknown=False)
    return Intake(kafka, letters, Telemetry(), rules, limit or FaultLimit())  # type: ignore[arg-type]


def a_record(topic: str, value: Any, offset: int) -> FakeRecord:
    return FakeRecord(topic, orjson.dumps(value), offset=offset, timestamp=now_us() // 1000)


def policies(*accounts: str) -> list[FakeRecord]:
    return [a_record("accounts.policies", a_policy(account), n) for n, account in enumerate(accounts)]


async def write(intake: Intake, records: Sequence[FakeRecord]) -> None:
    of: dict[str, list[Record]] = {}
    for record in records:
        of.setdefault(record.topic, []).append(record)
    await intake.write([RecordBatch(TP(topic, 0), some) for topic, some in of.items()])


@pytest.fixture
def fails_on(monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """Offsets on which our code has a mistake: add some."""
    offsets: set[int] = set()
    forwarded = module.forwarded

    def mistaken(record: Record, rules: Rules) -> Iterator[Output]:
        if record.offset in offsets:
            raise RecursionError
        return forwarded(record, rules)

    monkeypatch.setattr(module, "forwarded", mistaken)
    return offsets


@pytest.mark.parametrize(
    "topic", ["accounts.policies", "suppressions.commands", "sends.requested", "webhooks.sendgrid"]
)
async def test_a_record_that_our_code_fails_on_is_parked_alone(topic: str, fails_on: set[int]) -> None:
    value = {
        "accounts.policies": a_policy("acme"),
        "suppressions.commands": a_command("suppress", "ann@example.com"),
        "sends.requested": a_request("acme"),
        "webhooks.sendgrid": [{"event": "spamreport", "email": "ann@example.com", "timestamp": 1_780_000_000}],
    }[topic]
    kafka, letters = FakeKafka(), FakeLetters()
    fails_on.add(3)
    await write(an_intake(kafka, letters), [a_record(topic, value, n) for n in range(6)])
    assert letters.reasons == [(topic, 3, "code_failed")]
    assert len(kafka.taken) == 5


async def test_a_record_at_fault_that_comes_alone_is_parked_once_another_was_read(fails_on: set[int]) -> None:
    kafka, letters = FakeKafka(), FakeLetters()
    intake = an_intake(kafka, letters)
    fails_on.add(1)
    records = policies("a", "b", "c")
    await write(intake, records[:1])
    await write(intake, records[1:2])
    await write(intake, records[2:])
    assert (letters.reasons, len(kafka.taken)) == ([("accounts.policies", 1, "code_failed")], 2)


async def test_a_release_that_reads_nothing_of_a_topic_parks_nothing_of_it(fails_on: set[int]) -> None:
    kafka, letters = FakeKafka(), FakeLetters()
    fails_on.update(range(3))
    with pytest.raises(EveryRecordFails, match="RecursionError"):
        await write(an_intake(kafka, letters), policies("a", "b", "c"))
    assert letters.parked == []


async def test_too_many_faults_of_our_own_end_the_worker_with_nothing_parked(fails_on: set[int]) -> None:
    kafka, letters = FakeKafka(), FakeLetters()
    fails_on.update(range(6))
    with pytest.raises(TooManyFaults):
        await write(an_intake(kafka, letters, FaultLimit(most=5)), policies(*"abcdefg"))
    assert letters.parked == []


async def test_malformed_records_alone_never_end_the_worker() -> None:
    kafka, letters = FakeKafka(), FakeLetters()
    bad = [FakeRecord("accounts.policies", b"{", offset=n) for n in range(300)]
    await write(an_intake(kafka, letters, FaultLimit(most=5)), bad)
    assert {reason for _, _, reason in letters.reasons} == {"record_not_json"}
    assert len(letters.parked) == 300


async def test_a_record_whose_own_kafka_refuses_is_parked_and_the_others_go_on() -> None:
    kafka, letters = FakeKafka(refused=frozenset({b"large"})), FakeLetters()
    await write(an_intake(kafka, letters), policies("a", "large", "c"))
    assert letters.reasons == [("accounts.policies", 1, "output_too_large")]
    assert len(kafka.taken) == 2


async def test_a_kafka_that_refuses_every_record_blames_none() -> None:
    kafka, letters = FakeKafka(), FakeLetters()
    intake = an_intake(kafka, letters)
    await write(intake, policies("a1", "a2"))
    kafka.refused = frozenset({b"a"})  # somebody has lowered max.message.bytes
    for records in (policies("a3"), policies("a4", "a5")):
        with pytest.raises(EveryRecordFails):
            await write(intake, records)
    kafka.refused = frozenset()
    await write(intake, policies("a3"))
    assert letters.parked == []


async def test_a_kafka_that_is_away_is_the_engines_to_wait_for() -> None:
    kafka, letters = FakeKafka(faults=[BrokerError("away", "here", "wait")]), FakeLetters()
    intake = an_intake(kafka, letters)
    with pytest.raises(BrokerError):
        await write(intake, policies("a"))
    await write(intake, policies("a"))
    assert len(kafka.taken) == 1
