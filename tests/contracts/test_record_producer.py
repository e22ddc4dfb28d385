"""The producer's port (`processors.kafka.ports.RecordProducer`): the fake, and the real one over Kafka and a fake."""

from collections.abc import AsyncIterator
from typing import Protocol
from uuid import uuid4

import pytest

from processors.engine import Output
from processors.kafka import Producer
from processors.kafka.ports import RecordProducer
from schemas.errors import BrokerError, RecordRefused
from tests.engine.topics import Topics
from tests.fakes import FakeKafka
from tests.kafka.fakes import FakeBroker

LARGE = b"x" * 30_000


class Backend(Protocol):
    """A producer, and what a reader of its topic would find."""

    producer: RecordProducer
    away: RecordProducer
    """One that is not started, and has no Kafka."""
    lost: RecordProducer
    """One that was started, and whose Kafka is unavailable since then."""
    topic: str

    async def seen(self) -> list[tuple[bytes | None, bytes | None]]: ...


BOTH_WAYS = pytest.mark.parametrize("way", ["send_all", "send_batches"])


class RecordProducerContract:
    @BOTH_WAYS
    async def test_what_it_returns_from_is_written_in_order(self, backend: Backend, way: str) -> None:
        outputs = [Output(backend.topic, b"k", b"%d" % n, [("h", b"1")], 0) for n in range(20)]
        await getattr(backend.producer, way)(outputs)
        assert await backend.seen() == [(b"k", b"%d" % n) for n in range(20)]

    @BOTH_WAYS
    async def test_nothing_to_write_is_no_error(self, backend: Backend, way: str) -> None:
        await getattr(backend.producer, way)([])
        assert await backend.seen() == []

    @BOTH_WAYS
    async def test_a_record_without_a_value_is_written(self, backend: Backend, way: str) -> None:
        await getattr(backend.producer, way)([Output(backend.topic, b"k", None, (), 0)])
        assert await backend.seen() == [(b"k", None)]

    @BOTH_WAYS
    async def test_a_record_that_is_too_large_costs_only_itself(self, backend: Backend, way: str) -> None:
        values = [b"a", LARGE, b"b", LARGE, b"c"]
        with pytest.raises(RecordRefused, match=backend.topic) as raised:
            await getattr(backend.producer, way)([Output(backend.topic, b"k", value, (), 0) for value in values])
        assert sorted(raised.value.refused) == [1, 3]
        assert [value for _, value in await backend.seen()] == [b"a", b"b", b"c"]

    @BOTH_WAYS
    async def test_the_same_records_may_be_written_again(self, backend: Backend, way: str) -> None:
        for _ in range(2):
            await getattr(backend.producer, way)([Output(backend.topic, b"k", b"v", (), 0)])
        assert await backend.seen() == [(b"k", b"v")] * 2

    async def test_without_kafka_it_is_a_broker_error_in_time(self, backend: Backend) -> None:
        for _ in range(2):  # it may be started again
            with pytest.raises(BrokerError):
                await backend.away.start()
        await backend.away.stop()

    @BOTH_WAYS
    async def test_without_kafka_nothing_is_written_and_that_is_a_broker_error(
        self, backend: Backend, way: str
    ) -> None:
        for _ in range(2):
            with pytest.raises(BrokerError):
                await getattr(backend.lost, way)([Output(backend.topic, b"k", b"v", (), 0)])

    async def test_its_metadata_names_the_topics(self, backend: Backend) -> None:
        assert backend.topic in await backend.producer.metadata()
        assert backend.producer.healthy


class FakeBackend:
    topic = "a-topic"

    def __init__(self) -> None:
        self.producer = self._fake = FakeKafka(max_bytes=20_000, topics=frozenset({self.topic}))
        self.away = self.lost = FakeKafka(fails=True)

    async def seen(self) -> list[tuple[bytes | None, bytes | None]]:
        return [(output.key, output.value) for output in self._fake.outputs]


class FakeBrokerBackend:
    """The real producer, over a fake of the broker and of aiokafka."""

    topic = "t"

    def __init__(self, producer: Producer, lost: Producer, broker: FakeBroker, gone: FakeBroker) -> None:
        self.producer, self.lost, self._broker = producer, lost, broker
        self.away = Producer("nowhere:1", make=gone.producer)

    async def seen(self) -> list[tuple[bytes | None, bytes | None]]:
        return self._broker.records


class KafkaBackend:
    def __init__(self, topics: Topics, topic: str, producer: Producer, lost: Producer) -> None:
        self.producer, self.lost, self.topic, self._topics = producer, lost, topic, topics
        self.away = Producer("127.0.0.1:1", acknowledged_within_seconds=0.3)

    async def seen(self) -> list[tuple[bytes | None, bytes | None]]:
        return [(record.key, record.value) for record in await self._topics.records(self.topic, 1)]


class TestFakeKafka(RecordProducerContract):
    @pytest.fixture
    def backend(self) -> FakeBackend:
        return FakeBackend()


class TestOverAFakeBroker(RecordProducerContract):
    @pytest.fixture
    async def backend(self) -> AsyncIterator[FakeBrokerBackend]:
        broker, gone = FakeBroker(most_bytes=20_000), FakeBroker()
        producer, lost = (Producer("nowhere:1", make=each.producer) for each in (broker, gone))
        for each in (producer, lost):
            await each.start()
        gone.unavailable = True
        yield FakeBrokerBackend(producer, lost, broker, gone)
        for each in (producer, lost):
            await each.stop()


@pytest.mark.kafka
class TestKafka(RecordProducerContract):
    @pytest.fixture
    async def backend(self, kafka_bootstrap: str, lost: Producer) -> AsyncIterator[KafkaBackend]:
        topics = Topics(kafka_bootstrap)
        topic = await topics.make(f"contract-{uuid4().hex[:8]}", 1, max_message_bytes="20000")
        producer = Producer(kafka_bootstrap)
        await producer.start()
        yield KafkaBackend(topics, topic, producer, lost)
        await producer.stop()
