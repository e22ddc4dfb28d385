"""Any record can be parked: without key, without value, at the size limit of Kafka."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import pytest

from processors.dead_letters import DeadLetter, DeadLetters, LetterOutputs, recent_failures
from processors.dead_letters import parking as module
from processors.kafka import Producer
from schemas.events import Rejection
from schemas.telemetry import DEAD_LETTERS_TOTAL, Telemetry
from schemas.topics import MAX_MESSAGE_BYTES, MAX_RECORD_BYTES, Topic
from tests.building import FakeRecord
from tests.engine.topics import Topics
from tests.kafka.fakes import FakeBroker

Part = bytes | None


def a_letter(value: Part, key: Part = b"k", reason: str = "record_not_json", **said: Any) -> DeadLetter:
    record = FakeRecord("accounts.policies", value, key=key, offset=7, **said)
    return DeadLetter(record, Rejection(reason, "no", value or b"", None))


def test_an_element_that_is_sent_again_and_fails_as_a_whole_has_no_index() -> None:
    letter = a_letter(b"{", headers=[("dlq.index", b"3"), ("own", b"1")])
    headers = dict(LetterOutputs("ledger", Telemetry()).of(letter).headers)
    assert "dlq.index" not in headers
    assert headers["own"] == b"1"


@pytest.mark.kafka
class TestOverKafka:
    @pytest.fixture
    async def topic(self, kafka_bootstrap: str, monkeypatch: pytest.MonkeyPatch) -> str:
        """A separate dead-letter topic for this test."""
        topic = Topic(f"dead-letters-{uuid4().hex[:8]}", key="", holds="", written_by="")
        monkeypatch.setattr(module, "DEAD_LETTERS", topic)
        return await Topics(kafka_bootstrap).make(
            topic.name, 2, max_message_bytes=str(MAX_MESSAGE_BYTES), message_timestamp_type="LogAppendTime"
        )

    @pytest.fixture
    async def parking(self, kafka_bootstrap: str) -> AsyncIterator[DeadLetters]:
        producer = Producer(kafka_bootstrap)
        await producer.start()
        yield DeadLetters(producer, "gate", Telemetry())
        await producer.stop()

    @pytest.mark.parametrize(
        ("key", "value", "expected"),
        [(None, None, (None, b"")), (None, b"v", (None, b"v")), (b"k", None, (b"k", None)), (b"", b"", (b"", b""))],
    )
    async def test_a_dead_letter_needs_neither_key_nor_value(
        self,
        kafka_bootstrap: str,
        topic: str,
        parking: DeadLetters,
        key: Part,
        value: Part,
        expected: tuple[Part, Part],
    ) -> None:
        headers = [("own", b"\xff\x00"), ("own", b"2"), ("none", None), ("", b"")]
        await parking.park([a_letter(value, key, headers=headers)])
        (letter,) = await Topics(kafka_bootstrap).records(topic, 2)
        assert (letter.key, letter.value) == expected
        assert list(letter.headers)[:4] == headers
        assert dict(letter.headers)["dlq.offset"] == b"7"

    @pytest.mark.parametrize(
        ("key", "value", "header", "left"),
        [
            (10, MAX_RECORD_BYTES, 10, "key value header"),
            (10, MAX_MESSAGE_BYTES - 150, 10, "key header"),
            (10, 10, MAX_MESSAGE_BYTES - 150, "key"),
            (MAX_MESSAGE_BYTES - 150, 10, 10, ""),
        ],
        ids=["of the full size", "at the very limit", "nearly all of it a header", "nearly all of it a key"],
    )
    async def test_a_dead_letter_of_any_size_is_written_with_the_parts_that_fit(
        self, kafka_bootstrap: str, topic: str, parking: DeadLetters, key: int, value: int, header: int, left: str
    ) -> None:
        await parking.park([a_letter(b"v" * value, b"k" * key, headers=[("own", b"h" * header)]), a_letter(b"{")])
        letters = await Topics(kafka_bootstrap).records(topic, 2)
        assert len(letters) == 2
        (letter,) = (one for one in letters if one.value != b"{")
        assert (letter.key == b"k" * key, letter.value == b"v" * value) == ("key" in left, "value" in left)
        assert (dict(letter.headers).get("own") == b"h" * header) == ("header" in left)
        assert dict(letter.headers)["dlq.reason"] == b"record_not_json"

    async def test_recent_failures_of_our_code_are_read_after_a_restart(
        self, kafka_bootstrap: str, topic: str, parking: DeadLetters
    ) -> None:
        assert await recent_failures(kafka_bootstrap, "gate", 300, 100) == []
        await parking.park(
            [a_letter(b"1", reason="code_failed"), a_letter(b"2"), a_letter(b"3", reason="store_refused")]
        )
        ages = await recent_failures(kafka_bootstrap, "gate", 300, 100)
        assert [0 <= age < 300 for age in ages] == [True, True]
        assert await recent_failures(kafka_bootstrap, "ledger", 300, 100) == []
        assert len(await recent_failures(kafka_bootstrap, "gate", 300, 0)) == 1
        started = time.time()
        assert await recent_failures(kafka_bootstrap, "gate", started - time.time(), 100) == []


@dataclass
class Counted:
    """The incremented counters of a telemetry."""

    telemetry: Telemetry = field(default_factory=Telemetry)

    def of(self, topic: str, reason: str) -> float:
        return float(self.telemetry.counter(DEAD_LETTERS_TOTAL, topic=topic, reason=reason)._value.get())


async def test_dead_letters_are_counted_by_topic_and_reason() -> None:
    broker, counted = FakeBroker(most_bytes=10**9), Counted()
    producer = Producer("nowhere:1", make=broker.producer)
    await producer.start()
    parking = DeadLetters(producer, "gate", counted.telemetry)
    await parking.park([a_letter(b"1"), a_letter(b"2"), a_letter(b"3", reason="code_failed")])
    await parking.park([])
    await producer.stop()
    assert counted.of("accounts.policies", "record_not_json") == 2
    assert counted.of("accounts.policies", "code_failed") == 1


async def test_a_dead_letter_that_is_too_large_does_not_shrink_the_others() -> None:
    broker = FakeBroker(most_bytes=100)
    producer = Producer("nowhere:1", make=broker.producer)
    await producer.start()
    await DeadLetters(producer, "gate", Telemetry()).park([a_letter(b"1"), a_letter(b"x" * 101), a_letter(b"3")])
    await producer.stop()
    assert sorted(value or b"" for value in set(broker.taken)) == [b"", b"1", b"3"]
