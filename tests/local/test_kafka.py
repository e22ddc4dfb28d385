"""The broker from pip: every jar is downloaded once and verified, and records survive kill -9."""

import asyncio
import hashlib
import http.server
import signal
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from jgo.maven import MavenContext

from deploy.local.kafka import (
    CHECKSUMS,
    CLUSTER_ID,
    Jar,
    answers_metadata,
    cache_lock,
    classpath,
    read_checksums,
    verify_checksum,
)
from deploy.local.stack import kafka_part
from deploy.local.supervisor import RestartBackoff, Supervisor
from schemas.errors import ConfigError
from schemas.topics import MAX_RECORD_BYTES
from tests.local.ports import free_port_base
from tests.local.waiting import until


def a_jar(content: bytes) -> Jar:
    return Jar("org.example", "thing", "1.0", hashlib.sha256(content).hexdigest())


def test_a_jar_with_the_right_bytes_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "thing-1.0.jar"
    path.write_bytes(b"right")
    assert verify_checksum(a_jar(b"right"), path) == path


def test_a_jar_with_other_bytes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "thing-1.0.jar"
    path.write_bytes(b"wrong")
    with pytest.raises(ConfigError) as refusal:
        verify_checksum(a_jar(b"right"), path)
    assert "org.example:thing:1.0" in refusal.value.what
    assert refusal.value.where == str(path)
    assert "delete the file" in refusal.value.mend


def test_each_jar_is_listed_once_with_its_checksum() -> None:
    jars = read_checksums()
    assert len({jar.coordinate for jar in jars}) == len(jars) == 46
    assert {len(jar.sha256) for jar in jars} == {64}
    assert CHECKSUMS.read_text().splitlines() == sorted(CHECKSUMS.read_text().splitlines())


class Repository(http.server.ThreadingHTTPServer):
    """Serves jars over HTTP, and records the requested paths."""

    def __init__(self, jars: dict[str, bytes]) -> None:
        self.jars = jars
        self.asked: list[str] = []
        super().__init__(("127.0.0.1", 0), _Answer)


class _Answer(http.server.BaseHTTPRequestHandler):
    server: Repository

    def do_GET(self) -> None:
        name = self.path.rpartition("/")[2]
        self.server.asked.append(name)
        body = self.server.jars.get(name)
        self.send_response(200 if body is not None else 404)
        self.send_header("Content-Length", str(len(body or b"")))
        self.end_headers()
        self.wfile.write(body or b"")

    def log_message(self, *_: object) -> None:
        """Log nothing."""


class TestFetching:
    JARS: Final = {f"thing{number}-1.0.jar": b"content %d" % number * 1000 for number in range(5)}

    @pytest.fixture
    def repository(self) -> Iterator[Repository]:
        with Repository(self.JARS) as server:
            serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
            serving.start()
            yield server
            server.shutdown()
            serving.join()

    @pytest.fixture
    def checksums(self, tmp_path: Path) -> Path:
        path = tmp_path / "jars.sha256"
        lines = (f"org.example:{name[:6]}:1.0 {hashlib.sha256(jar).hexdigest()}\n" for name, jar in self.JARS.items())
        path.write_text("".join(lines))
        return path

    def a_context(self, repository: Repository, tmp_path: Path) -> MavenContext:
        url = f"http://127.0.0.1:{repository.server_port}"
        return MavenContext(repo_cache=tmp_path / "cache", remote_repos={"test": url})

    async def test_stacks_that_start_together_fetch_each_jar_once(
        self, repository: Repository, checksums: Path, tmp_path: Path
    ) -> None:
        starts = (asyncio.to_thread(classpath, checksums, self.a_context(repository, tmp_path)) for _ in range(4))
        found = await asyncio.gather(*starts)
        assert all(paths == found[0] for paths in found)
        assert [path.read_bytes() for path in found[0]] == list(self.JARS.values())
        assert sorted(name for name in repository.asked if name.endswith(".jar")) == sorted(self.JARS)

    def test_a_jar_that_was_cut_off_is_fetched_again(
        self, repository: Repository, checksums: Path, tmp_path: Path
    ) -> None:
        whole = classpath(checksums, self.a_context(repository, tmp_path))
        whole[2].write_bytes(b"conte")
        assert classpath(checksums, self.a_context(repository, tmp_path)) == whole
        assert whole[2].read_bytes() == self.JARS["thing2-1.0.jar"]

    def test_a_repository_that_serves_other_bytes_is_not_trusted(
        self, repository: Repository, checksums: Path, tmp_path: Path
    ) -> None:
        repository.jars = self.JARS | {"thing3-1.0.jar": b"something else"}
        with pytest.raises(ConfigError, match=r"org\.example:thing3:1\.0"):
            classpath(checksums, self.a_context(repository, tmp_path))

    def test_a_cache_that_nobody_may_write_to_is_only_read(self, tmp_path: Path) -> None:
        (tmp_path / "cache").write_text("no folder")
        with cache_lock(tmp_path / "cache"):
            assert (tmp_path / "cache").read_text() == "no folder"


@pytest.mark.kafka
class TestBroker:
    @pytest.fixture
    def data_dir(self, tmp_path: Path) -> Path:
        """Named as people name folders, which is neither a word of Java's properties nor Latin-1."""
        return tmp_path / "my data = büro ☂ \\"

    @pytest.fixture
    async def broker(self, data_dir: Path) -> AsyncIterator[Supervisor]:
        """A broker for one test."""
        part = kafka_part(data_dir, free_port_base())
        supervisor = Supervisor(data_dir, [part], backoff=lambda: RestartBackoff(first=0.01))
        await supervisor.start()
        yield supervisor
        await supervisor.stop()

    async def test_kill_9_and_restart_keep_acknowledged_records(self, broker: Supervisor, data_dir: Path) -> None:
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
        assert f"cluster.id={CLUSTER_ID}" in (data_dir / "kafka" / "log" / "meta.properties").read_text()

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
