"""The guarantees of the one producer, with a fake broker that refuses as Kafka does, and with Kafka."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaProducer, errors

from processors.engine import Output
from processors.engine.families import ErrorFamily, error_family
from processors.kafka import Producer
from processors.kafka import producer as module
from processors.kafka.topics import create_topics
from schemas.errors import BrokerDenied, BrokerError, RecordRefused
from schemas.settings import TopicSettings, read
from schemas.telemetry import Telemetry
from schemas.topics import MAX_MESSAGE_BYTES
from tests.engine.broker import PrivateBroker, private_broker
from tests.engine.topics import Topics
from tests.kafka.fakes import FakeBroker


def some(*values: bytes, topic: str = "t") -> list[Output]:
    return [Output(topic, b"k", value) for value in values]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (errors.KafkaConnectionError(), ErrorFamily.WAIT),
        (errors.RequestTimedOutError(), ErrorFamily.WAIT),
        (errors.NotEnoughReplicasError(), ErrorFamily.WAIT),
        (errors.UnknownTopicOrPartitionError(), ErrorFamily.WAIT),
        (errors.KafkaTimeoutError(), ErrorFamily.WAIT),
        (TimeoutError(), ErrorFamily.WAIT),
        (errors.MessageSizeTooLargeError(), ErrorFamily.RECORD),
        (errors.RecordListTooLargeError(), ErrorFamily.RECORD),
        (errors.InvalidTimestampError(), ErrorFamily.RECORD),
        (errors.LeaderNotAvailableError(), ErrorFamily.RENEW),  # given up after its batch got a sequence number
        (errors.NotLeaderForPartitionError(), ErrorFamily.RENEW),
        (errors.OutOfOrderSequenceNumber(), ErrorFamily.RENEW),
        (errors.UnknownProducerId(), ErrorFamily.RENEW),
        (errors.ProducerClosed(), ErrorFamily.RENEW),
        (errors.KafkaError("Unexpected error during batch delivery"), ErrorFamily.RENEW),
        (errors.UnknownError(), ErrorFamily.RENEW),
        (errors.TopicAuthorizationFailedError(), ErrorFamily.DENIED),
        (errors.InvalidTopicError(), ErrorFamily.DENIED),
    ],
)
def test_each_error_has_one_family(error: Exception, expected: ErrorFamily) -> None:
    assert error_family(error) is expected


class TestOverAFake:
    @pytest.fixture
    def broker(self) -> FakeBroker:
        return FakeBroker()

    @pytest.fixture
    async def producer(self, broker: FakeBroker) -> AsyncIterator[Producer]:
        producer = Producer("nowhere:1", make=broker.producer)
        await producer.start()
        yield producer
        await producer.stop()

    @pytest.mark.parametrize("way", ["send_all", "send_batches"])
    @pytest.mark.parametrize(
        "error",
        [
            errors.LeaderNotAvailableError(),
            errors.OutOfOrderSequenceNumber(),
            errors.KafkaError("dead"),
            errors.UnknownError(),
        ],
    )
    async def test_an_error_that_breaks_a_producer_causes_one_replacement_and_no_failed_call(
        self, broker: FakeBroker, producer: Producer, way: str, error: Exception
    ) -> None:
        broker.answers.append(error)
        await getattr(producer, way)(some(b"1", b"2"))
        assert sorted(value or b"" for value in broker.taken) == [b"1", b"2"]
        assert (broker.made, producer.healthy) == (2, True)

    async def test_a_temporary_error_is_raised_and_replaces_nothing(
        self, broker: FakeBroker, producer: Producer
    ) -> None:
        broker.answers.append(errors.KafkaTimeoutError())
        with pytest.raises(BrokerError) as raised:
            await producer.send_all(some(b"1"))
        assert not isinstance(raised.value, BrokerDenied)
        assert broker.made == 1

    async def test_a_permission_error_is_raised_at_once_and_replaces_nothing(
        self, broker: FakeBroker, producer: Producer
    ) -> None:
        broker.answers.append(errors.TopicAuthorizationFailedError("t"))
        with pytest.raises(BrokerDenied, match="TopicAuthorizationFailedError"):
            await producer.send_all(some(b"1"))
        assert broker.made == 1

    async def test_an_error_that_new_producers_raise_again_ends_the_call(
        self, broker: FakeBroker, producer: Producer
    ) -> None:
        broker.answers.extend([errors.UnknownError()] * 9)
        with pytest.raises(BrokerDenied):
            await producer.send_all(some(b"1"))
        assert len(broker.answers) == 9 - module.TRIES

    @pytest.mark.parametrize("way", ["send_all", "send_batches"])
    async def test_only_the_record_that_is_too_large_is_refused(
        self, broker: FakeBroker, producer: Producer, way: str
    ) -> None:
        small = [b"%03d" % n for n in range(19)]
        values = [*small[:7], b"x" * 1001, *small[7:12], b"y" * 1001, *small[12:]]
        with pytest.raises(RecordRefused, match="MessageSizeTooLargeError") as raised:
            await getattr(producer, way)(some(*values))
        assert sorted(raised.value.refused) == [7, 13]
        assert sorted(set(broker.taken), key=str) == small
        await producer.send_all(some(b"after"))
        assert broker.taken[-1] == b"after"

    async def test_records_that_fit_only_one_by_one_are_all_written(
        self, broker: FakeBroker, producer: Producer
    ) -> None:
        values = [b"%d" % n * 600 for n in range(8)]
        await producer.send_batches(some(*values))
        assert sorted(set(broker.taken), key=str) == values

    async def test_an_impossible_record_is_refused_before_anything_is_sent(
        self, broker: FakeBroker, producer: Producer
    ) -> None:
        large = b"x" * MAX_MESSAGE_BYTES
        outputs = [Output("t", b"k", large), Output("t", None, None), *some(b"1")]
        with pytest.raises(RecordRefused) as raised:
            await producer.send_all(outputs)
        assert set(raised.value.refused) == {0, 1}
        assert "neither key nor value" in raised.value.refused[1]
        assert (broker.taken, broker.made) == ([b"1"], 1)

    async def test_a_dead_sender_is_detected_and_replaced(self, broker: FakeBroker, producer: Producer) -> None:
        sender = (await producer._usable())._sender.sender_task
        assert sender is not None
        sender.cancel()
        await asyncio.gather(sender, return_exceptions=True)
        assert not producer.healthy
        await producer.send_all(some(b"1"))
        assert (broker.taken, broker.made, producer.healthy) == ([b"1"], 2, True)

    async def test_no_more_bytes_are_in_flight_than_one_request_may_have(
        self, broker: FakeBroker, producer: Producer
    ) -> None:
        """A broker closes the connection on a request over 100 MiB, and aiokafka would repeat it forever."""
        broker.most_bytes, broker.silent = 10**9, asyncio.Event()
        large = [Output(f"t{n}", b"k", b"x" * 2**22) for n in range(40)]
        calls = [asyncio.create_task(producer.send_all(large[n : n + 4])) for n in range(0, 40, 4)]
        for _ in range(100):  # every task runs as far as it can
            await asyncio.sleep(0)
        assert 0 < broker.waiting * 2**22 <= module.MAX_IN_FLIGHT_BYTES
        broker.silent.set()
        await asyncio.gather(*calls)
        assert len(broker.taken) == 40

    async def test_concurrent_calls_share_one_replacement(self, broker: FakeBroker, producer: Producer) -> None:
        broker.answers.append(errors.OutOfOrderSequenceNumber())
        await asyncio.gather(*(producer.send_all(some(b"%d" % n)) for n in range(20)))
        assert (sorted(broker.taken, key=str), broker.made) == (sorted((b"%d" % n for n in range(20)), key=str), 2)

    async def test_a_call_ends_at_its_deadline_and_the_next_one_writes(
        self, broker: FakeBroker, producer: Producer
    ) -> None:
        broker.silent = asyncio.Event()
        with pytest.raises(BrokerError, match="TimeoutError"):
            await producer.send_all(some(b"1"), within_seconds=0.01)
        broker.silent = None
        await producer.send_all(some(b"2"))
        assert b"2" in broker.taken

    async def test_a_producer_without_acknowledgements_for_long_is_replaced(
        self, broker: FakeBroker, producer: Producer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "STUCK_SECONDS", -1.0)
        broker.silent = asyncio.Event()
        with pytest.raises(BrokerError):
            await producer.send_all(some(b"1"), within_seconds=0.01)
        assert not producer.healthy
        broker.silent = None
        await producer.send_all(some(b"2"))
        assert (broker.made, producer.healthy) == (2, True)

    async def test_while_kafka_is_unavailable_a_replacement_fails_and_the_next_call_tries_again(
        self, broker: FakeBroker, producer: Producer
    ) -> None:
        broker.unavailable = True
        broker.answers.append(errors.OutOfOrderSequenceNumber())
        with pytest.raises(BrokerError):
            await producer.send_all(some(b"1"))
        assert not producer.healthy
        with pytest.raises(BrokerError):
            await producer.metadata()
        broker.unavailable = False
        assert await producer.metadata() == {"t"}
        assert producer.healthy

    async def test_a_start_without_kafka_is_a_broker_error_that_may_be_repeated(self, broker: FakeBroker) -> None:
        broker.unavailable = True
        producer = Producer("nowhere:1", make=broker.producer)
        with pytest.raises(BrokerError, match="nowhere:1"):
            await producer.start()
        broker.unavailable = False
        await producer.start()
        assert producer.healthy
        await producer.stop()

    async def test_each_replacement_is_counted(self, broker: FakeBroker) -> None:
        telemetry = Telemetry()
        producer = Producer("nowhere:1", make=broker.producer, telemetry=telemetry)
        await producer.start()
        broker.answers.append(errors.OutOfOrderSequenceNumber())
        await producer.send_all(some(b"1"))
        await producer.stop()
        labels = {"why": "OutOfOrderSequenceNumber"}
        assert telemetry.registry.get_sample_value("sendledger_producers_renewed_total", labels) == 1


@pytest.mark.kafka
class TestOverKafka:
    @pytest.fixture
    async def topic(self, kafka_bootstrap: str) -> str:
        return await Topics(kafka_bootstrap).make(f"producer-{uuid4().hex[:8]}", 2, max_message_bytes="20000")

    @pytest.fixture
    async def producer(self, kafka_bootstrap: str) -> AsyncIterator[Producer]:
        producer = Producer(kafka_bootstrap)
        await producer.start()
        yield producer
        await producer.stop()

    @pytest.mark.parametrize("way", ["send_all", "send_batches"])
    async def test_only_the_record_over_the_topics_limit_is_refused(
        self, kafka_bootstrap: str, topic: str, producer: Producer, way: str
    ) -> None:
        small = [b"%03d" % n for n in range(40)]
        values = [*small[:11], b"x" * 30_000, *small[11:30], b"y" * 30_000, *small[30:]]
        outputs = [Output(topic, b"%d" % n, value, [("n", b"1")]) for n, value in enumerate(values)]
        with pytest.raises(RecordRefused, match=topic) as raised:
            await getattr(producer, way)(outputs)
        assert sorted(raised.value.refused) == [11, 31]
        await getattr(producer, way)(some(b"after", topic=topic))
        assert await values_of(kafka_bootstrap, topic) == {*small, b"after"}

    @pytest.mark.parametrize("way", ["send_all", "send_batches"])
    async def test_after_a_leaderless_partition_the_next_calls_write(
        self, kafka_bootstrap: str, topic: str, monkeypatch: pytest.MonkeyPatch, way: str
    ) -> None:
        producer = Producer(
            kafka_bootstrap, make=lambda: AIOKafkaProducer(
                bootstrap_servers=kafka_bootstrap, enable_idempotence=True, request_timeout_ms=300
            )
        )  # fmt: skip
        await producer.start()
        await getattr(producer, way)(some(b"before", topic=topic))
        # One broker never loses a leader, so its client is told so: the batch is numbered, and given up.
        kafka = await producer._usable()
        with monkeypatch.context() as patch:
            patch.setattr(kafka.client.cluster, "leader_for_partition", lambda _tp: -1)
            with pytest.raises(errors.LeaderNotAvailableError):
                await kafka.send_and_wait(topic, b"given up", key=b"k")
        await getattr(producer, way)(some(b"after", topic=topic))
        await producer.stop()
        assert await values_of(kafka_bootstrap, topic) == {b"before", b"after"}

    @pytest.mark.parametrize("ended", ["cancelled", "failed"])
    @pytest.mark.parametrize("way", ["send_all", "send_batches"])
    async def test_after_its_sender_died_the_next_calls_write(
        self, kafka_bootstrap: str, topic: str, producer: Producer, way: str, ended: str
    ) -> None:
        kafka = await producer._usable()
        sender = kafka._sender.sender_task
        assert sender is not None
        if ended == "cancelled":
            sender.cancel()
        else:  # what its loop calls first raises, as a bug of aiokafka's would
            kafka._sender._maybe_wait_for_pid = None
            kafka._message_accumulator._waiter_future.set_result(None)
        await asyncio.gather(sender, return_exceptions=True)
        assert [producer.healthy] == [False]
        await getattr(producer, way)(some(b"after", topic=topic))
        assert producer.healthy
        assert await values_of(kafka_bootstrap, topic) == {b"after"}

    async def test_after_its_sender_died_during_a_call_the_call_is_repeated_and_writes(
        self, kafka_bootstrap: str, topic: str, producer: Producer
    ) -> None:
        kafka = await producer._usable()
        kafka._sender._maybe_wait_for_pid = None  # its next round dies
        await producer.send_all(some(b"1", topic=topic))
        assert await values_of(kafka_bootstrap, topic) == {b"1"}


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[PrivateBroker]:
    async with private_broker(tmp_path) as broker:
        yield broker


@pytest.mark.kafka
@pytest.mark.parametrize("how", ["stopped", "killed"])
async def test_a_broker_outage_longer_than_the_request_timeout_loses_nothing(broker: PrivateBroker, how: str) -> None:
    topic = await Topics(broker.bootstrap).make("t", 2)
    producer = Producer(
        broker.bootstrap, acknowledged_within_seconds=2.0, make=lambda: AIOKafkaProducer(
            bootstrap_servers=broker.bootstrap, enable_idempotence=True, request_timeout_ms=500
        )
    )  # fmt: skip
    await producer.start()
    acknowledged: set[bytes] = set()
    begun, failed, recovered, unavailable = (asyncio.Event() for _ in range(4))

    async def writing(way: Any, name: bytes) -> None:
        n = 0
        while not recovered.is_set():
            n += 1
            outputs = [Output(topic, b"%d" % i, b"%s-%d-%d" % (name, n, i)) for i in range(50)]
            while True:
                try:
                    await way(outputs)
                    break
                except BrokerError:
                    failed.set()
            acknowledged.update(output.value or b"" for output in outputs)
            begun.set()
            if failed.is_set() and unavailable.is_set():
                recovered.set()

    tasks = [
        asyncio.create_task(writing(producer.send_all, b"each")),
        asyncio.create_task(writing(producer.send_batches, b"batches")),
    ]
    await begun.wait()
    if how == "stopped":
        broker.send(signal.SIGSTOP)
    else:
        await broker.kill()
    await failed.wait()
    if how == "stopped":
        broker.send(signal.SIGCONT)
    else:
        await broker.start()
    unavailable.set()
    await asyncio.gather(*tasks)
    await producer.send_all(some(b"last", topic=topic))
    await producer.stop()
    assert acknowledged | {b"last"} <= await values_of(broker.bootstrap, topic)


async def values_of(bootstrap: str, topic: str) -> set[bytes]:
    return {record.value for record in await Topics(bootstrap).records(topic, 2)}


@pytest.mark.kafka
async def test_a_stuck_producer_that_is_replaced_while_kafka_is_away_raises_a_broker_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """aiokafka's `stop` raises a CancelledError then: the gateway answered 500, and a worker's group was forgotten."""
    monkeypatch.setattr(module, "STUCK_SECONDS", 0.0)
    async with private_broker(tmp_path) as broker:
        await create_topics(read(TopicSettings, kafka_bootstrap=broker.bootstrap))
        producer = Producer(broker.bootstrap)
        await producer.start()
        await producer.send_all(some(b"before", topic="webhooks.sendgrid"))
        await broker.kill()
        for _ in range(3):
            with pytest.raises(BrokerError):
                await producer.send_all(some(b"meanwhile", topic="webhooks.sendgrid"), within_seconds=1)
        await producer.stop()
