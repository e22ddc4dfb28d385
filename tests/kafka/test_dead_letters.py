"""What can't be read is parked, whatever it is: without key, without value, at the limit of what Kafka takes."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import pytest

from processors import dead_letters as module
from processors.dead_letters import DeadLetters, Letter, failed_lately, output_of
from processors.kafka import Producer
from schemas.events import Bad
from schemas.telemetry import Telemetry
from schemas.topics import FRAME_BYTES, MAX_RECORD_BYTES, Topic
from tests.building import FakeRecord
from tests.engine.topics import Topics
from tests.kafka.fakes import FakeBroker

Part = bytes | None


def a_letter(value: Part, key: Part = b"k", reason: str = "record_not_json", **said: Any) -> Letter:
    record = FakeRecord("accounts.policies", value, key=key, offset=7, **said)
    return Letter(record, Bad(reason, "no", value or b"", None))


def test_an_element_that_was_sent_again_and_fails_as_a_whole_is_an_element_no_more() -> None:
    letter = a_letter(b"{", headers=[("dlq.index", b"3"), ("own", b"1")])
    headers = dict(output_of(letter, "ledger").headers)
    assert "dlq.index" not in headers
    assert headers["own"] == b"1"


@pytest.mark.kafka
class TestOverKafka:
    @pytest.fixture
    async def topic(self, kafka_bootstrap: str, monkeypatch: pytest.MonkeyPatch) -> str:
        """A topic of dead letters of this test's own."""
        topic = Topic(f"dead-letters-{uuid4().hex[:8]}", key="", holds="", written_by="")
        monkeypatch.setattr(module, "DEAD_LETTERS", topic)
        return await Topics(kafka_bootstrap).make(
            topic.name, 2, max_message_bytes=str(MAX_RECORD_BYTES + FRAME_BYTES), message_timestamp_type="LogAppendTime"
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
    async def test_a_letter_needs_neither_key_nor_value(
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
            (10, MAX_RECORD_BYTES + FRAME_BYTES - 150, 10, "key header"),
            (10, 10, MAX_RECORD_BYTES + FRAME_BYTES - 150, "key"),
            (MAX_RECORD_BYTES + FRAME_BYTES - 150, 10, 10, ""),
        ],
        ids=["of the full size", "at the very limit", "nearly all of it a header", "nearly all of it a key"],
    )
    async def test_a_letter_of_any_size_is_written_with_what_there_is_room_for(
        self, kafka_bootstrap: str, topic: str, parking: DeadLetters, key: int, value: int, header: int, left: str
    ) -> None:
        await parking.park([a_letter(b"v" * value, b"k" * key, headers=[("own", b"h" * header)]), a_letter(b"{")])
        letters = await Topics(kafka_bootstrap).records(topic, 2)
        assert len(letters) == 2
        (letter,) = (one for one in letters if one.value != b"{")
        assert (letter.key == b"k" * key, letter.value == b"v" * value) == ("key" in left, "value" in left)
        assert (dict(letter.headers).get("own") == b"h" * header) == ("header" in left)
        assert dict(letter.headers)["dlq.reason"] == b"record_not_json"

    async def test_what_our_code_failed_on_lately_is_remembered_over_a_restart(
        self, kafka_bootstrap: str, topic: str, parking: DeadLetters
    ) -> None:
        assert await failed_lately(kafka_bootstrap, "gate", 300, 100) == []
        await parking.park(
            [a_letter(b"1", reason="code_failed"), a_letter(b"2"), a_letter(b"3", reason="store_refused")]
        )
        ages = await failed_lately(kafka_bootstrap, "gate", 300, 100)
        assert [0 <= age < 300 for age in ages] == [True, True]
        assert await failed_lately(kafka_bootstrap, "ledger", 300, 100) == []
        assert len(await failed_lately(kafka_bootstrap, "gate", 300, 0)) == 1
        started = time.time()
        assert await failed_lately(kafka_bootstrap, "gate", started - time.time(), 100) == []


@dataclass
class Counted:
    """The counters of a telemetry that were raised."""

    telemetry: Telemetry = field(default_factory=Telemetry)

    def of(self, topic: str, reason: str) -> float:
        return float(self.telemetry.counter("dead_letters_total", topic, reason)._value.get())


async def test_what_is_parked_is_counted_by_topic_and_reason() -> None:
    broker, counted = FakeBroker(most_bytes=10**9), Counted()
    producer = Producer("nowhere:1", make=broker.producer)
    await producer.start()
    parking = DeadLetters(producer, "gate", counted.telemetry)
    await parking.park([a_letter(b"1"), a_letter(b"2"), a_letter(b"3", reason="code_failed")])
    await parking.park([])
    await producer.stop()
    assert counted.of("accounts.policies", "record_not_json") == 2
    assert counted.of("accounts.policies", "code_failed") == 1


async def test_one_letter_that_is_too_large_keeps_the_others_whole() -> None:
    broker = FakeBroker(most_bytes=100)
    producer = Producer("nowhere:1", make=broker.producer)
    await producer.start()
    await DeadLetters(producer, "gate", Telemetry()).park([a_letter(b"1"), a_letter(b"x" * 101), a_letter(b"3")])
    await producer.stop()
    assert sorted(value or b"" for value in set(broker.taken)) == [b"", b"1", b"3"]
