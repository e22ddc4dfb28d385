"""What a benchmark runs in: a local stack of its own, programs as processes, and the machine's own accounts.

In:  nothing but a free range of ports.
Out: Kafka and ClickHouse in a temporary folder, which is removed at the end; CPU seconds and memory by process; bytes
     of a topic.
"""

import asyncio
import os
import platform
import random
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import httpx

from deploy.local.stack import Stack, local_stack
from processors.kafka.lag import wait_until_caught_up
from processors.kafka.topics import create_topics
from projections.store import Store, generations, migrate
from schemas.consumer_groups import ConsumerGroup
from schemas.settings import PREFIX, TopicSettings, read

__all__ = [
    "SENDLEDGER",
    "TOKEN_SECRET",
    "BenchmarkFailed",
    "Place",
    "Program",
    "Usage",
    "free_port_base",
    "fresh_store",
    "gateway_environment",
    "is_ready",
    "ledger_environment",
    "log_bytes",
    "machine",
    "peak_megabytes",
    "place",
    "until",
    "wait_until_all_is_read",
]

SENDLEDGER: Final = (sys.executable, str(Path(sys.executable).with_name("sendledger")))
TOKEN_SECRET: Final = "a secret of the benchmarks, of no other use"
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_ASSIGNED_WITHIN_SECONDS: Final = 480
"""Long enough for a machine that is busy with other work: a worker that fails ends, and is not waited for."""


class BenchmarkFailed(Exception):
    """What came out is wrong, or never came; a figure would mean nothing."""


@dataclass(frozen=True, slots=True)
class Place:
    """A stack that runs, with its topics made."""

    stack: Stack
    folder: Path
    port: int
    """A free port, for a gateway."""
    partitions: int
    """Of each topic."""
    topics_seconds: float
    """How long it took to create all topics."""

    @property
    def kafka_log(self) -> Path:
        """The folder with the partitions of all topics."""
        return self.folder / "kafka" / "log"

    @property
    def pids(self) -> dict[str, int]:
        """The processes of the services."""
        return {name: pid for name in ("kafka", "clickhouse") if (pid := self.stack.supervisor.pid(name)) is not None}


@asynccontextmanager
async def place(partitions: int = 4) -> AsyncIterator[Place]:
    """A stack in a temporary folder while the block runs; each of its topics has so many partitions."""
    base = free_port_base()
    with TemporaryDirectory(prefix="sendledger-bench-") as folder:
        async with local_stack(Path(folder), base) as stack:
            started = time.monotonic()
            await create_topics(read(TopicSettings, kafka_bootstrap=stack.kafka_bootstrap, partitions=partitions))
            yield Place(stack, Path(folder), base, partitions, time.monotonic() - started)


def fresh_store(where: Place, database: str) -> Store:
    """Return a store over a new database with all tables."""
    store = Store(where.stack.clickhouse_url, database=database, generation=generations.FIRST)
    migrate.apply(store)
    return store


def ledger_environment(where: Place, store: Store, name: str) -> dict[str, str]:
    """Return the settings of a ledger worker or a rebuild with a consumer group and a folder of its own."""
    return {
        "SENDLEDGER_KAFKA_BOOTSTRAP": where.stack.kafka_bootstrap,
        "SENDLEDGER_CLICKHOUSE_URL": where.stack.clickhouse_url,
        "SENDLEDGER_CLICKHOUSE_DATABASE": store.database,
        "SENDLEDGER_CONSUMER_GROUP": name,
        "SENDLEDGER_INSTANCE": name,
        "SENDLEDGER_WORKER_DIR": str(where.folder / name),
    }


def gateway_environment(where: Place, store: Store, sendgrid_public_key: str) -> dict[str, str]:
    """Return the settings of a gateway on the port of the place. TOKEN_SECRET signs its tokens."""
    return {
        "SENDLEDGER_KAFKA_BOOTSTRAP": where.stack.kafka_bootstrap,
        "SENDLEDGER_CLICKHOUSE_URL": where.stack.clickhouse_url,
        "SENDLEDGER_CLICKHOUSE_DATABASE": store.database,
        "SENDLEDGER_TOKEN_SECRET": TOKEN_SECRET,
        "SENDLEDGER_SENDGRID_PUBLIC_KEYS": sendgrid_public_key,
        "SENDLEDGER_PORT": str(where.port),
    }


class Program:
    """One process; its output goes to a file. Killed at the end of the block, if it still runs."""

    def __init__(self, argv: Sequence[str], env: Mapping[str, str], log: Path) -> None:
        self._argv, self.log = argv, log
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(PREFIX)}  # noqa: TID251 - handed down
        self._env = inherited | dict(env)
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> "Program":
        with self.log.open("ab") as out:
            self._process = await asyncio.create_subprocess_exec(*self._argv, env=self._env, stdout=out, stderr=out)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(signal.SIGKILL)
            await self._process.wait()

    @property
    def pid(self) -> int:
        """Its process id. Raises BenchmarkFailed once it has ended."""
        if self._process is None or self._process.returncode is not None:
            raise BenchmarkFailed(f"{' '.join(self._argv[1:4])} has ended:\n{self.log.read_text()[-2000:]}")
        return self._process.pid

    async def ended(self) -> None:
        """Wait until it ends by itself. Raises BenchmarkFailed if it fails."""
        if self._process is not None and await self._process.wait():
            raise BenchmarkFailed(f"{' '.join(self._argv[1:4])} failed:\n{self.log.read_text()[-2000:]}")

    async def assigned_at(self) -> float:
        """Return when the worker said that it has its partitions, by its own clock. Records flow after that."""

        async def said() -> bool:
            _ = self.pid
            return "assigned" in self.log.read_text()

        await until(said, "the assignment", seconds=_ASSIGNED_WITHIN_SECONDS, every=0.05)
        line = next(line for line in self.log.read_text().splitlines() if "assigned" in line)
        stamp = line.partition("timestamp=")[2].split()[0]
        return datetime.fromisoformat(stamp).timestamp()


async def is_ready(gateway: Program, url: str) -> bool:
    """Whether the gateway at `url` is ready. Raises BenchmarkFailed once it has ended."""
    _ = gateway.pid
    try:
        async with httpx.AsyncClient(trust_env=False, timeout=20) as client:
            return (await client.get(f"{url}/readyz")).status_code == 200
    except httpx.HTTPError:
        return False


async def wait_until_all_is_read(bootstrap: str, groups: Iterable[ConsumerGroup], *, seconds: float) -> None:
    """Return once the groups have read all that Kafka has. Raises BenchmarkFailed after `seconds`."""
    behind = await wait_until_caught_up(bootstrap, list(groups), within_seconds=seconds)
    if behind:
        raise BenchmarkFailed(f"{behind:,} records are unread after {seconds:g} s")


async def until(holds: Callable[[], Awaitable[bool]], what: str, *, seconds: float, every: float) -> None:
    """Return once it holds. Raises BenchmarkFailed after `seconds`."""
    try:
        async with asyncio.timeout(seconds):
            while not await holds():  # noqa: ASYNC110 - what is waited for is another process
                await asyncio.sleep(every)
    except TimeoutError:
        raise BenchmarkFailed(f"{what}: not within {seconds} s") from None


@dataclass(frozen=True, slots=True)
class Usage:
    """CPU seconds so far, by process, and of the whole machine."""

    by_name: dict[str, float]
    machine: float

    @classmethod
    def now(cls, pids: Mapping[str, int]) -> "Usage":
        """Return the usage of these processes, and of this one as `benchmark`."""
        named = {**pids, "benchmark": os.getpid()}
        return cls({name: _cpu_seconds(pid) for name, pid in named.items()}, _machine_seconds())

    def since(self, earlier: "Usage") -> dict[str, float]:
        """Return what was used since. `others`: by processes that have no part in the benchmark."""
        used = {name: value - earlier.by_name[name] for name, value in self.by_name.items()}
        others = self.machine - earlier.machine - sum(used.values())
        return {**used, "others": max(0.0, others)}


def peak_megabytes(pid: int) -> float:
    """Return the largest resident size that a process has had."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def log_bytes(kafka_log: Path, topic: str) -> int:
    """Return the size of all segments of a topic in a broker's log directory, without their indexes."""
    return sum(path.stat().st_size for path in kafka_log.glob(f"{topic}-[0-9]*/*.log"))


def machine() -> str:
    """Return a line on what the figures were taken on."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    load = " ".join(f"{value:.1f}" for value in os.getloadavg())
    return (
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {os.cpu_count()} x {model}, "
        f"Python {platform.python_version()}, load before {load}"
    )


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / _TICKS  # user and system, its own and its ended children's


def _machine_seconds() -> float:
    user, nice, system, _, _, irq, soft, *_ = map(int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:])
    return (user + nice + system + irq + soft) / _TICKS


def free_port_base() -> int:
    """Return a port with which a stack may begin: the gateway, ClickHouse, Kafka and its controller, two workers."""
    while True:
        base = random.randrange(20_000, 32_000, 8)
        if all(map(_is_free, range(base, base + 6))):
            return base


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
