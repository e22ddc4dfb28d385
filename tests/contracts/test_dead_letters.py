"""The port of dead letters (`processors.dead_letters.LetterWriter`): Kafka's and the fake's."""

from collections.abc import AsyncIterator
from typing import Protocol
from uuid import uuid4

import pytest

from processors.dead_letters import DeadLetter, DeadLetters, LetterWriter
from processors.dead_letters import parking as module
from processors.kafka import Producer
from schemas.errors import BrokerError
from schemas.events import Rejection
from schemas.telemetry import Telemetry
from schemas.topics import MAX_MESSAGE_BYTES, Topic
from tests.building import FakeRecord
from tests.engine.topics import Topics
from tests.fakes import FakeLetters

Seen = list[tuple[str, int, str]]


def a_letter(offset: int, reason: str = "record_not_json") -> DeadLetter:
    return DeadLetter(
        FakeRecord("accounts.policies", b"{", key=b"k", offset=offset), Rejection(reason, "no", b"{", None)
    )


class Backend(Protocol):
    """Where letters go, and what a reader would find there: topic, offset and reason of each."""

    letters: LetterWriter
    away: LetterWriter

    async def seen(self) -> Seen: ...


class LetterWriterContract:
    async def test_what_it_returns_from_is_kept_with_its_reason(self, backend: Backend) -> None:
        await backend.letters.park([a_letter(1), a_letter(2, "code_failed")])
        expected = [("accounts.policies", 1, "record_not_json"), ("accounts.policies", 2, "code_failed")]
        assert sorted(await backend.seen()) == expected

    async def test_nothing_to_park_is_no_error(self, backend: Backend) -> None:
        await backend.letters.park([])
        assert await backend.seen() == []

    async def test_a_letter_may_be_parked_again(self, backend: Backend) -> None:
        await backend.letters.park([a_letter(1)])
        await backend.letters.park([a_letter(1)])
        assert await backend.seen() == [("accounts.policies", 1, "record_not_json")] * 2

    async def test_without_kafka_it_is_a_broker_error(self, backend: Backend) -> None:
        with pytest.raises(BrokerError):
            await backend.away.park([a_letter(1)])


class FakeBackend:
    def __init__(self) -> None:
        self.letters = self._fake = FakeLetters()
        self.away = FakeLetters(away=True)

    async def seen(self) -> Seen:
        return self._fake.reasons


class KafkaBackend:
    def __init__(self, topics: Topics, topic: str, producer: Producer, away: Producer) -> None:
        self.letters = DeadLetters(producer, "gate", Telemetry())
        self.away = DeadLetters(away, "gate", Telemetry())
        self._topics, self._topic = topics, topic

    async def seen(self) -> Seen:
        headers = [dict(record.headers) for record in await self._topics.records(self._topic, 1)]
        return [(h["dlq.topic"].decode(), int(h["dlq.offset"]), h["dlq.reason"].decode()) for h in headers]


class TestFakeLetters(LetterWriterContract):
    @pytest.fixture
    def backend(self) -> FakeBackend:
        return FakeBackend()


@pytest.mark.kafka
class TestDeadLetters(LetterWriterContract):
    @pytest.fixture
    async def backend(
        self, kafka_bootstrap: str, lost: Producer, monkeypatch: pytest.MonkeyPatch
    ) -> AsyncIterator[KafkaBackend]:
        topic = Topic(f"dead-letters-{uuid4().hex[:8]}", key="", holds="", written_by="")
        monkeypatch.setattr(module, "DEAD_LETTERS", topic)
        topics = Topics(kafka_bootstrap)
        await topics.make(topic.name, 1, max_message_bytes=str(MAX_MESSAGE_BYTES))
        producer = Producer(kafka_bootstrap)
        await producer.start()
        yield KafkaBackend(topics, topic.name, producer, lost)
        await producer.stop()
