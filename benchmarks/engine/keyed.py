"""Transactions beside idempotent writing: records a second, the delay of one record, and reading state back.

In:  records of 300 bytes, each of its own key, that lie in Kafka before the clock starts; for the delay, one by one.
Out: a `Run` for each way and partition count, a `Delays` for each way, and a `Restore`. An output counts when a
     `read_committed` consumer has it. A missing output is no figure: it raises BenchmarkFailed.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, Literal

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from benchmarks.engine.worker import Job, argv
from benchmarks.ledger.surroundings import BenchmarkFailed, Place, Program, Usage, peak_megabytes, place
from processors.engine import keyed_topics

__all__ = ["Delays", "Measured", "Restore", "Run", "delay_rows", "measure", "restore_rows", "run_rows"]

How = Literal["keyed", "idempotent"]
WAYS: Final[tuple[How, ...]] = ("keyed", "idempotent")
PARTITIONS: Final = (1, 4)
VALUE: Final = b"x" * 300
GIVE_UP_SECONDS: Final = 120.0


@dataclass(frozen=True, slots=True)
class Run:
    """One way's work on all records."""

    how: How
    partitions: int
    records: int
    seconds: float
    cpu_seconds: Mapping[str, float]

    @property
    def per_second(self) -> float:
        return self.records / self.seconds


@dataclass(frozen=True, slots=True)
class Delays:
    """Seconds from Kafka's acknowledgement of a record to its output, sorted; one record is under way at a time."""

    how: How
    seconds: list[float]


@dataclass(frozen=True, slots=True)
class Restore:
    """A worker that reads its state back."""

    keys: int
    seconds: float
    peak_megabytes: float


@dataclass(frozen=True, slots=True)
class Measured:
    """All figures."""

    runs: list[Run]
    delays: list[Delays]
    restore: Restore


async def measure(records: int, singles: int, *, progress: Callable[[str], None]) -> Measured:
    """Return the figures of both ways, over one partition and over four."""
    runs, delays = [], []
    restore: Restore | None = None
    async with place() as where:
        for partitions in PARTITIONS:
            for how in WAYS:
                job = await _job(where, how, partitions, f"{how}-{partitions}")
                await _produce(job, records)
                runs.append(await _backlog(where, job, partitions, records))
                progress(f"{how}, {partitions} partitions: {runs[-1].per_second:,.0f} records/s")
                if how == "keyed":
                    restore = await _restore(where, job)
        for how in WAYS:
            delays.append(await _one_by_one(where, await _job(where, how, 4, f"{how}-singles"), how, singles))
    if restore is None:
        raise BenchmarkFailed("nothing was restored")
    return Measured(runs, delays, restore)


async def _job(where: Place, how: How, partitions: int, name: str) -> Job:
    job = Job(
        how, where.stack.kafka_bootstrap, name, str(where.folder / name), f"{name}.in", f"{name}.log", f"{name}.out"
    )
    admin = AIOKafkaAdminClient(bootstrap_servers=job.bootstrap)
    await admin.start()
    try:
        needs = keyed_topics(job.source, job.changelog, partitions)
        await admin.create_topics(
            [NewTopic(n.name, n.partitions, 1, topic_configs=dict(n.config)) for n in needs]
            + [NewTopic(job.output, partitions, 1)]
        )
    finally:
        await admin.close()
    return job


async def _backlog(where: Place, job: Job, partitions: int, records: int) -> Run:
    async with _outputs(job) as outputs, _worker(where, job, "backlog") as program:
        started = await program.assigned_at()
        pids = where.pids | {"worker": program.pid}
        before, seen = Usage.now(pids), 0
        async with _patience(program):
            while seen < records:
                seen += sum(map(len, (await outputs.getmany(timeout_ms=500)).values()))
        seconds = time.time() - started
        if seen != records:
            raise BenchmarkFailed(f"{job.group}: sent {records}, found {seen}")
        return Run(job.how, partitions, records, seconds, Usage.now(pids).since(before))


async def _restore(where: Place, job: Job) -> Restore:
    async with _worker(where, job, "restore") as program:
        await program.assigned_at()
        line = next(line for line in reversed(program.log.read_text().splitlines()) if "worker.restored" in line)
        said = dict(word.split("=", 1) for word in line.split())
        return Restore(int(said["keys"]), float(said["seconds"]), peak_megabytes(program.pid))


async def _one_by_one(where: Place, job: Job, how: How, singles: int) -> Delays:
    delays = []
    async with (
        _outputs(job) as outputs,
        _worker(where, job, "singles") as program,
        AIOKafkaProducer(bootstrap_servers=job.bootstrap, acks="all") as producer,
        _patience(program),
    ):
        await program.assigned_at()
        for number in range(singles + 20):
            await producer.send_and_wait(job.source, VALUE, key=b"%d" % number)
            sent_at = time.monotonic()
            await outputs.getone()
            delays.append(time.monotonic() - sent_at)
    return Delays(how, sorted(delays[20:]))  # the first ones warm up


async def _produce(job: Job, records: int) -> None:
    async with AIOKafkaProducer(bootstrap_servers=job.bootstrap, acks="all", linger_ms=5) as producer:
        for at in range(0, records, 2_000):
            sent = [await producer.send(job.source, VALUE, key=b"%d" % n) for n in range(at, min(at + 2_000, records))]
            await asyncio.gather(*sent)


@asynccontextmanager
async def _outputs(job: Job) -> AsyncIterator[Any]:
    consumer = AIOKafkaConsumer(
        job.output,
        bootstrap_servers=job.bootstrap,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        fetch_max_wait_ms=20,
    )
    await consumer.start()
    try:
        yield consumer
    finally:
        await consumer.stop()


def _worker(where: Place, job: Job, what: str) -> Program:
    return Program(argv(job), {}, where.folder / f"{job.group}-{what}.log")


@asynccontextmanager
async def _patience(program: Program) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(GIVE_UP_SECONDS):
            yield
    except TimeoutError:
        raise BenchmarkFailed(f"outputs are missing; the worker says:\n{program.log.read_text()[-2000:]}") from None


def run_rows(measured: Measured) -> list[dict[str, Any]]:
    """A row a run. CPU is in seconds for a million records."""
    return [
        {
            "way": run.how,
            "partitions": run.partitions,
            "records": run.records,
            "records_per_second": round(run.per_second),
            **{f"{name}_cpu": run.cpu_seconds[name] * 1e6 / run.records for name in ("worker", "kafka", "benchmark")},
        }
        for run in measured.runs
    ]


def delay_rows(measured: Measured) -> list[dict[str, Any]]:
    """A row a way: milliseconds of one record at a time."""
    return [
        {
            "way": one.how,
            "records": len(one.seconds),
            **{f"p{p}_ms": one.seconds[len(one.seconds) * p // 100] * 1000 for p in (50, 95, 99)},
        }
        for one in measured.delays
    ]


def restore_rows(measured: Measured) -> list[dict[str, Any]]:
    """One row: how fast a worker reads its state back, and its memory then."""
    it = measured.restore
    return [
        {
            "keys": it.keys,
            "seconds": it.seconds,
            "keys_per_second": round(it.keys / max(it.seconds, 1e-9)),
            "peak_megabytes": round(it.peak_megabytes),
        }
    ]
