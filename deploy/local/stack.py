"""Kafka and the ClickHouse endpoint as parts of a supervisor, and both together for tests and benchmarks.

Fixed ports from a base P: P the gateway, P+1 ClickHouse over HTTP, P+2 Kafka, P+3 Kafka's controller. Everything
listens on loopback.
"""

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from deploy.local.clickhouse.users import User
from deploy.local.kafka import answers_metadata
from deploy.local.supervisor import Part, Supervisor

__all__ = ["Ports", "Stack", "clickhouse_part", "kafka_part", "local_clickhouse", "local_stack"]


@dataclass(frozen=True)
class Ports:
    """The fixed ports of a stack, from their base."""

    base: int

    @property
    def gateway(self) -> int:
        return self.base

    @property
    def clickhouse(self) -> int:
        return self.base + 1

    @property
    def kafka(self) -> int:
        return self.base + 2


@dataclass(frozen=True)
class Stack:
    """Where the running services are."""

    kafka_bootstrap: str
    clickhouse_url: str
    supervisor: Supervisor


# -P: a package `deploy` in the current folder must not be run in place of ours.
_MODULE: Final = (sys.executable, "-P", "-m")


def kafka_part(data_dir: Path, port: int) -> Part:
    """One broker on `port`, its controller on the next one, its data in `data_dir/kafka`."""
    directory = data_dir.absolute() / "kafka"
    return Part(
        name="kafka",
        argv=[*_MODULE, "deploy.local.kafka", str(directory), "--port", str(port)],
        env={},
        ready=lambda: answers_metadata(port),
        stop_within=8.0,
        start_within=600.0,  # the first start on a machine downloads 46 jars
        ports=(port, port + 1),
    )


def clickhouse_part(data_dir: Path, port: int, users: Sequence[User] = ()) -> Part:
    """The endpoint on `port`, its data in `data_dir/clickhouse`. Without users: `default`, without a password."""
    directory = data_dir.absolute() / "clickhouse"
    argv = [*_MODULE, "deploy.local.clickhouse", str(directory), "--port", str(port)]
    if users:
        argv += ["--users-file", str(write_users(data_dir / "run" / "clickhouse-users.json", users))]
    return Part(
        name="clickhouse",
        argv=argv,
        env={},
        ready=lambda: answers_ping(port),
        stop_within=8.0,
        ports=(port,),
    )


def write_users(path: Path, users: Sequence[User]) -> Path:
    """Write the users to a file that only this user may read: a command line would show passwords."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_text(json.dumps([asdict(user) for user in users]))
    return path.absolute()


async def answers_ping(port: int, host: str = "127.0.0.1") -> bool:
    try:
        async with asyncio.timeout(5):
            reader, writer = await asyncio.open_connection(host, port)
            with contextlib.closing(writer):
                writer.write(b"GET /ping HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                return b" 200 " in await reader.readline()
    except (OSError, TimeoutError):
        return False


@contextlib.asynccontextmanager
async def local_stack(data_dir: Path, port_base: int, users: Sequence[User] = ()) -> AsyncIterator[Stack]:
    """Run Kafka and the endpoint while the block runs. `port_base` is P."""
    ports = Ports(port_base)
    parts = [clickhouse_part(data_dir, ports.clickhouse, users), kafka_part(data_dir, ports.kafka)]
    supervisor = Supervisor(data_dir, parts)
    await supervisor.start()
    try:
        yield Stack(
            kafka_bootstrap=f"127.0.0.1:{ports.kafka}",
            clickhouse_url=f"http://127.0.0.1:{ports.clickhouse}",
            supervisor=supervisor,
        )
    finally:
        await supervisor.stop()


@contextlib.asynccontextmanager
async def local_clickhouse(data_dir: Path, port_base: int) -> AsyncIterator[str]:
    """Run the endpoint alone while the block runs; yield its URL. `port_base` is P."""
    port = Ports(port_base).clickhouse
    supervisor = Supervisor(data_dir, [clickhouse_part(data_dir, port)])
    await supervisor.start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        await supervisor.stop()
