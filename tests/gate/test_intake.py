"""The gate's intake: a bad record affects that record alone, and nothing blocks a topic."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson
import pytest

from processors.engine import TP, FailureLimit, Output, Record, RecordBatch
from processors.engine.errors import EveryRecordFails, TooManyFailures
from processors.gate import intake as module
from processors.gate.intake import Intake
from projections.suppressions.rules import GateRules
from schemas.decoding.decoders import Decode, decoders
from schemas.errors import BrokerError
from schemas.telemetry import Telemetry
from schemas.topics import GATE_INPUTS, Topic
from tests.building import FakeRecord
from tests.fakes import FakeKafka, FakeLetters
from tests.gate.building import a_command, a_policy, a_request, now_us
from tests.hostile.strategies import GOOD


def an_intake(kafka: FakeKafka, letters: FakeLetters, limit: FailureLimit | None = None) -> Intake:
    rules = GateRules(suppress_bounces=3, suppress_window_days=30, decision_days=30, refuse_unknown=False)
    return Intake(kafka, letters, Telemetry(), rules, limit or FailureLimit())


def a_record(topic: str, value: Any, offset: int) -> FakeRecord:
    return FakeRecord(topic, orjson.dumps(value), offset=offset, timestamp=now_us() // 1000)


def policies(*accounts: str) -> list[FakeRecord]:
    return [a_record("accounts.policies", a_policy(account), n) for n, account in enumerate(accounts)]


async def write(intake: Intake, records: Sequence[FakeRecord]) -> None:
    of: dict[str, list[Record]] = {}
    for record in records:
        of.setdefault(record.topic, []).append(record)
    await intake.write([RecordBatch(TP(topic, 0), some) for topic, some in of.items()])


@pytest.mark.parametrize("topic", GATE_INPUTS, ids=lambda topic: topic.name)
def test_what_the_decoder_of_each_topic_returns_has_a_message(topic: Topic) -> None:
    """A post without events is decoded too, and gives none."""
    record = FakeRecord(topic.name, orjson.dumps(GOOD.get(topic.name, [])))
    messages = list(module.internal_messages(record, decoders(decision_days=30)))
    assert len(messages) == (topic.name in GOOD)


@pytest.fixture
def fails_on(monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """The offsets on which our code raises: add some."""
    offsets: set[int] = set()
    internal_messages = module.internal_messages

    def failing(record: Record, by_topic: Mapping[str, Decode]) -> Iterator[Output]:
        if record.offset in offsets:
            raise RecursionError
        return internal_messages(record, by_topic)

    monkeypatch.setattr(module, "internal_messages", failing)
    return offsets


@pytest.mark.parametrize(
    "topic", ["accounts.policies", "suppressions.commands", "sends.requested", "webhooks.sendgrid"]
)
async def test_only_the_record_that_our_code_fails_on_is_parked(topic: str, fails_on: set[int]) -> None:
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
    assert len(kafka.outputs) == 5


async def test_a_bad_record_that_comes_alone_is_parked_once_a_good_one_was_read(fails_on: set[int]) -> None:
    kafka, letters = FakeKafka(), FakeLetters()
    intake = an_intake(kafka, letters)
    fails_on.add(1)
    records = policies("a", "b", "c")
    await write(intake, records[:1])
    await write(intake, records[1:2])
    await write(intake, records[2:])
    assert (letters.reasons, len(kafka.outputs)) == ([("accounts.policies", 1, "code_failed")], 2)


async def test_a_bug_that_fails_on_every_record_of_a_topic_parks_nothing_of_it(fails_on: set[int]) -> None:
    kafka, letters = FakeKafka(), FakeLetters()
    fails_on.update(range(3))
    with pytest.raises(EveryRecordFails, match="RecursionError"):
        await write(an_intake(kafka, letters), policies("a", "b", "c"))
    assert letters.parked == []


async def test_too_many_failures_of_our_code_stop_the_worker_with_nothing_parked(fails_on: set[int]) -> None:
    kafka, letters = FakeKafka(), FakeLetters()
    fails_on.update(range(6))
    with pytest.raises(TooManyFailures):
        await write(an_intake(kafka, letters, FailureLimit(most=5)), policies(*"abcdefg"))
    assert letters.parked == []


async def test_malformed_records_alone_never_stop_the_worker() -> None:
    kafka, letters = FakeKafka(), FakeLetters()
    bad = [FakeRecord("accounts.policies", b"{", offset=n) for n in range(300)]
    await write(an_intake(kafka, letters, FailureLimit(most=5)), bad)
    assert {reason for _, _, reason in letters.reasons} == {"record_not_json"}
    assert len(letters.parked) == 300


async def test_a_record_whose_messages_kafka_refuses_is_parked_and_the_others_go_on() -> None:
    kafka, letters = FakeKafka(refused_parts=frozenset({b"large"})), FakeLetters()
    await write(an_intake(kafka, letters), policies("a", "large", "c"))
    assert letters.reasons == [("accounts.policies", 1, "output_too_large")]
    assert len(kafka.outputs) == 2


async def test_nothing_is_parked_while_kafka_refuses_every_record() -> None:
    kafka, letters = FakeKafka(), FakeLetters()
    intake = an_intake(kafka, letters)
    await write(intake, policies("a1", "a2"))
    kafka.refused_parts = frozenset({b"a"})  # max.message.bytes was lowered
    for records in (policies("a3"), policies("a4", "a5")):
        with pytest.raises(EveryRecordFails):
            await write(intake, records)
    kafka.refused_parts = frozenset()
    await write(intake, policies("a3"))
    assert letters.parked == []


async def test_an_unavailable_kafka_raises_so_that_the_engine_retries() -> None:
    kafka, letters = FakeKafka(errors=[BrokerError("away", "here", "wait")]), FakeLetters()
    intake = an_intake(kafka, letters)
    with pytest.raises(BrokerError):
        await write(intake, policies("a"))
    await write(intake, policies("a"))
    assert len(kafka.outputs) == 1
