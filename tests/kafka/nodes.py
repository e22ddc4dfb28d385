"""Brokers with settings of a test: with TLS and SASL, or several that form a cluster. Each is a process of its own."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from deploy.local.kafka import CLUSTER_ID, answers_metadata, classpath, java_command, write_properties
from schemas.kafka_connection import SaslMechanism
from tests.kafka.certificates import CertificateAuthority, Pair
from tests.local.ports import free_port_base
from tests.local.waiting import until

__all__ = ["USER", "KafkaNode", "SecureKafka", "secure_kafka", "three_brokers"]

USER = "sendledger"


class KafkaNode:
    """One broker and controller. Its plain listener is on `port`, its controller on the next one."""

    def __init__(self, directory: Path, port: int, properties: Mapping[str, str]) -> None:
        self.directory, self.port = directory, port
        self._properties = properties
        self._java: list[str] = []
        self._process: asyncio.subprocess.Process | None = None

    async def format(self, *arguments: str) -> None:
        """Format its directory, once, with further `arguments` of Kafka's tool."""
        self.directory.mkdir()
        self._java = java_command(classpath())
        file = write_properties(self.directory, self.port, self.port + 1)
        with file.open("a") as text:  # the last of several lines with the same name counts
            text.writelines(f"\n{name}={value}" for name, value in self._properties.items())
        await self.tool("kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", str(file), *arguments)

    async def tool(self, name: str, *arguments: str) -> None:
        """Run a command-line tool of Kafka."""
        process = await asyncio.create_subprocess_exec(
            *self._java, name, *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        out, _ = await process.communicate()
        assert process.returncode == 0, out.decode()[-2000:]

    async def launch(self) -> None:
        """Start the process, without waiting for it."""
        with (self.directory / "out.log").open("ab") as out:
            self._process = await asyncio.create_subprocess_exec(
                *self._java, "kafka.Kafka", str(self.directory / "server.properties"), stdout=out, stderr=out
            )

    async def answers(self) -> None:
        """Wait until it is a member of the cluster."""

        async def listed() -> bool:
            assert self._process is not None
            assert self._process.returncode is None, (self.directory / "out.log").read_text()[-2000:]
            return await answers_metadata(self.port)

        await until(listed, f"the broker on port {self.port}")

    @property
    def bootstrap(self) -> str:
        """The address of its plain listener."""
        return f"127.0.0.1:{self.port}"

    async def kill(self) -> None:
        """End the process with kill -9, if it runs."""
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(signal.SIGKILL)
            await self._process.wait()


class SecureKafka:
    """A broker with a listener for SASL_SSL and one for SSL, which requires a certificate of clients.

    Its certificate is for `localhost`, so `127.0.0.1` is a wrong host name.
    """

    def __init__(self, folder: Path, password: str) -> None:
        self.password = password
        self.ca, self.other_ca = CertificateAuthority(folder, "ca"), CertificateAuthority(folder, "other-ca")
        port = free_port_base()
        self.plain, self.sasl_ssl, self.ssl = (f"localhost:{port}", f"localhost:{port + 2}", f"localhost:{port + 3}")
        self.wrong_name = f"127.0.0.1:{port + 2}"
        properties = _secure(port, self.ca.issue("broker", "localhost"), self.ca)
        self.node = KafkaNode(folder / "kafka", port, properties)
        self.client = self.ca.issue("client")

    async def set_password(self, password: str, mechanism: SaslMechanism = "SCRAM-SHA-512") -> None:
        """Replace the password of our user, as docs/how-to/rotate-a-key.md does."""
        await self.node.tool(
            "kafka.admin.ConfigCommand", "--bootstrap-server", f"127.0.0.1:{self.node.port}", "--alter",
            "--entity-type", "users", "--entity-name", USER, "--add-config", f"{mechanism}=[password={password}]",
        )  # fmt: skip
        self.password = password


def _secure(port: int, pair: Pair, ca: CertificateAuthority) -> dict[str, str]:
    scram = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
    return {
        "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{port + 1},"
        f"SASL_SSL://127.0.0.1:{port + 2},SSL://127.0.0.1:{port + 3}",
        "advertised.listeners": f"PLAINTEXT://localhost:{port},SASL_SSL://localhost:{port + 2},"
        f"SSL://localhost:{port + 3}",
        "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL,SSL:SSL",
        "sasl.enabled.mechanisms": "SCRAM-SHA-512",
        "listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config": scram,
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(pair.both),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(ca.file),
        "listener.name.ssl.ssl.client.auth": "required",
    }


@asynccontextmanager
async def secure_kafka(folder: Path, password: str) -> AsyncIterator[SecureKafka]:
    """A broker with TLS and SASL while the block runs. `USER` has `password`."""
    kafka = SecureKafka(folder, password)
    await kafka.node.format("--add-scram", f"SCRAM-SHA-512=[name={USER},password={password}]")
    try:
        await kafka.node.launch()
        await kafka.node.answers()
        yield kafka
    finally:
        await kafka.node.kill()


@asynccontextmanager
async def three_brokers(folder: Path) -> AsyncIterator[Sequence[KafkaNode]]:
    """Three brokers that form a cluster while the block runs: all internal topics have three replicas."""
    base = free_port_base()
    nodes = [KafkaNode(folder / f"kafka-{n}", base + 2 * n, _of_three(n, base)) for n in range(3)]
    await asyncio.gather(*(node.format() for node in nodes))
    try:
        for node in nodes:
            await node.launch()
        await asyncio.gather(*(node.answers() for node in nodes))
        yield nodes
    finally:
        await asyncio.gather(*(node.kill() for node in nodes))


def _of_three(number: int, base: int) -> dict[str, str]:
    voters = ",".join(f"{n + 1}@127.0.0.1:{base + 2 * n + 1}" for n in range(3))
    return {
        "node.id": str(number + 1),
        "controller.quorum.voters": voters,
        "offsets.topic.replication.factor": "3",
        "transaction.state.log.replication.factor": "3",
        "transaction.state.log.min.isr": "2",
    }
