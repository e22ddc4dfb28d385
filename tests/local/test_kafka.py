"""The broker from pip: every jar checked, records kept through kill -9."""

import hashlib
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from deploy.local.kafka import CHECKSUMS, CLUSTER_ID, MAX_RECORD_BYTES, Jar, answers_metadata, check, read_checksums
from deploy.local.stack import kafka_part
from deploy.local.supervisor import Backoff, Supervisor
from schemas.errors import ConfigError
from tests.local.ports import free_port_base
from tests.local.waiting import until


def a_jar(content: bytes) -> Jar:
    return Jar("org.example", "thing", "1.0", hashlib.sha256(content).hexdigest())


def test_a_jar_with_the_right_bytes_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "thing-1.0.jar"
    path.write_bytes(b"right")
    assert check(a_jar(b"right"), path) == path


def test_a_jar_with_other_bytes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "thing-1.0.jar"
    path.write_bytes(b"wrong")
    with pytest.raises(ConfigError) as refusal:
        check(a_jar(b"right"), path)
    assert "org.example:thing:1.0" in refusal.value.what
    assert refusal.value.where == str(path)
    assert "delete the file" in refusal.value.mend


def test_each_jar_is_listed_once_with_its_checksum() -> None:
    jars = read_checksums()
    assert len({jar.coordinate for jar in jars}) == len(jars) == 46
    assert {len(jar.sha256) for jar in jars} == {64}
    assert CHECKSUMS.read_text().splitlines() == sorted(CHECKSUMS.read_text().splitlines())


@pytest.mark.kafka
class TestBroker:
    @pytest.fixture
    async def broker(self, tmp_path: Path) -> AsyncIterator[Supervisor]:
        """A broker of the test's own."""
        part = kafka_part(tmp_path, free_port_base())
        supervisor = Supervisor(tmp_path, [part], backoff=lambda: Backoff(first=0.01))
        await supervisor.start()
        yield supervisor
        await supervisor.stop()

    async def test_kill_9_and_restart_keep_acknowledged_records(self, broker: Supervisor, tmp_path: Path) -> None:
        port = broker.parts[0].ports[0]
        sent = [b"record %d" % number for number in range(1000)]
        await make_topic(port, "kept")
        async with AIOKafkaProducer(bootstrap_servers=f"127.0.0.1:{port}", acks="all") as producer:
            for value in sent[:-1]:
                await producer.send("kept", value)
            await producer.flush()
            await producer.send_and_wait("kept", sent[-1])
        killed = broker.pid("kafka")
        assert killed is not None
        broker.send("kafka", signal.SIGKILL)
        await until(lambda: broker.pid("kafka") not in {None, killed}, "another broker process")
        await until(lambda: answers_metadata(port), "the broker")
        assert await read_all(port, "kept", len(sent)) == sent
        assert f"cluster.id={CLUSTER_ID}" in (tmp_path / "kafka" / "log" / "meta.properties").read_text()

    async def test_a_record_of_8_mib_is_taken(self, broker: Supervisor) -> None:
        port = broker.parts[0].ports[0]
        await make_topic(port, "large")
        async with AIOKafkaProducer(bootstrap_servers=f"127.0.0.1:{port}", max_request_size=2**24) as producer:
            await producer.send_and_wait("large", b"x" * MAX_RECORD_BYTES)
        assert [len(value) for value in await read_all(port, "large", 1)] == [MAX_RECORD_BYTES]


@pytest.mark.kafka
async def test_the_sessions_broker_answers(kafka_bootstrap: str) -> None:
    host, port = kafka_bootstrap.split(":")
    assert await answers_metadata(int(port), host)


async def test_no_broker_gives_no_answer() -> None:
    assert not await answers_metadata(free_port_base())


async def make_topic(port: int, name: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=f"127.0.0.1:{port}")
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, num_partitions=1, replication_factor=1)])
    finally:
        await admin.close()


async def read_all(port: int, topic: str, number: int) -> list[bytes]:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=f"127.0.0.1:{port}",
        group_id=None,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=2**24,
    )
    await consumer.start()
    try:
        consumer.assign([TopicPartition(topic, 0)])
        return [(await anext(consumer)).value for _ in range(number)]
    finally:
        await consumer.stop()
