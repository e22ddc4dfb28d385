"""How the ledger scales: the same traffic, with one worker and with two, on topics of few partitions and of many.

In:  posts that are in Kafka, unreadable, before the clock starts: every worker has its partitions by then. A first
     round is not counted.
Out: a `Run` for each number of partitions and workers: events/s from the commit that makes the posts readable until a
     query finds every event; CPU by process; what starting costs, and what the partitions cost while nothing happens;
     bytes of an event in Kafka, and of a message in ClickHouse.
Every post is acknowledged before the clock starts, and the counts of the tables must be exactly those of the traffic
afterwards: else it raises BenchmarkFailed.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

from benchmarks.ledger.surroundings import (
    SENDLEDGER,
    Place,
    Program,
    Usage,
    fresh_store,
    ledger_environment,
    log_bytes,
    peak_megabytes,
    place,
)
from benchmarks.ledger.tables import Written, bytes_on_disk
from benchmarks.ledger.traffic import Traffic, hidden, traffic
from schemas.topics import WEBHOOKS
from simulator.plan import Delivery

__all__ = [
    "PARTITIONS",
    "WORKERS",
    "Run",
    "Sizes",
    "byte_rows",
    "idle_rows",
    "measure",
    "slices",
    "speed_rows",
]

PARTITIONS: Final = (4, 16, 64)
WORKERS: Final = (1, 2)
_POST: Final = 15
_DATABASE: Final = "scale"


@dataclass(frozen=True, slots=True)
class Sizes:
    """What is measured, and how much of it."""

    events: int
    """Of a round."""
    rounds: int = 1
    """That count; the median is shown."""
    partitions: tuple[int, ...] = PARTITIONS
    workers: tuple[int, ...] = WORKERS
    idle_seconds: float = 5.0


@dataclass(frozen=True, slots=True)
class Round:
    """All records of one slice of the traffic."""

    events: int
    seconds: float
    cpu_seconds: dict[str, float]
    """By process: `kafka`, `clickhouse`, `benchmark`, each worker as `worker N`, and `others`."""


@dataclass(frozen=True, slots=True)
class Run:
    """So many workers on topics of so many partitions."""

    partitions: int
    workers: int
    rounds: list[Round]
    topics_seconds: float
    """To create all topics and see them, of a broker that has just started."""
    start_seconds: float
    """From the start of the processes until all have their partitions."""
    idle_cores: dict[str, float]
    """CPU while no record comes, as `Round.cpu_seconds`, for each second."""
    peak_megabytes: float
    """Of the largest worker."""
    kafka_bytes: int
    """Of the segments of the topic that the posts are in."""
    table_bytes: dict[str, tuple[int, int]]
    """By table: bytes on disk, and parts."""
    events: int
    """Of all rounds, also of the one that does not count."""
    messages: int

    @property
    def events_per_second(self) -> float:
        return median(one.events / one.seconds for one in self.rounds)

    def cpu_per_million(self, name: str) -> float:
        """Return the CPU seconds for a million events of the processes whose name begins so, together."""
        return median(_sum(one.cpu_seconds, name) * 1e6 / one.events for one in self.rounds)


async def measure(sizes: Sizes, *, progress: Callable[[str], None]) -> list[Run]:
    """Return a run for each number of partitions and workers, each on a stack of its own."""
    load = await asyncio.to_thread(traffic, sizes.events * (sizes.rounds + 1), _POST, now=time.time())
    runs = []
    for partitions in sizes.partitions:
        for workers in sizes.workers:
            async with place(partitions) as where:
                run = await _run(where, load, sizes, workers)
            progress(f"  {partitions} partitions, {workers} workers: {run.events_per_second:,.0f} events/s")
            runs.append(run)
    return runs


def slices(load: Traffic, events: int) -> Iterator[tuple[list[Delivery], int, int]]:
    """Yield the posts of each round of at least `events` events, and the events and pairs until its end."""
    posts: list[Delivery] = []
    until = begun = 0
    for post, pairs in zip(load.posts, load.pairs_after, strict=True):
        posts.append(post)
        until += post.events
        if until - begun >= events or until == load.events:
            yield posts, until, pairs
            posts, begun = [], until


def speed_rows(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """A row a run. CPU is in seconds for a million events; that of the workers is of all together."""
    single = {run.partitions: run.events_per_second for run in runs if run.workers == 1}
    return [
        {
            "partitions": run.partitions,
            "workers": run.workers,
            "events_per_round": run.rounds[0].events,
            "events_per_second": round(run.events_per_second),
            "of_one_worker": run.events_per_second / single[run.partitions] if run.partitions in single else None,
            "workers_cpu": run.cpu_per_million("worker"),
            "broker_cpu": run.cpu_per_million("kafka"),
            "endpoint_cpu": run.cpu_per_million("clickhouse"),
            "others_busy_cores": median(one.cpu_seconds["others"] / one.seconds for one in run.rounds),
            "peak_megabytes": round(run.peak_megabytes),
        }
        for run in runs
    ]


def idle_rows(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """A row a run: what its partitions cost before the first record and without one. Cores are CPU seconds a second."""
    return [
        {
            "partitions": run.partitions,
            "workers": run.workers,
            "create_topics_seconds": run.topics_seconds,
            "start_to_assignment_seconds": run.start_seconds,
            "idle_broker_cores": _sum(run.idle_cores, "kafka"),
            "idle_workers_cores": _sum(run.idle_cores, "worker"),
        }
        for run in runs
    ]


def byte_rows(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """A row a run: bytes on disk of the posts in Kafka, and of what was made of them in ClickHouse."""
    return [
        {
            "partitions": run.partitions,
            "workers": run.workers,
            "events": run.events,
            "messages": run.messages,
            "kafka_bytes_an_event": run.kafka_bytes / run.events,
            "clickhouse_bytes_a_message": sum(size for size, _ in run.table_bytes.values()) / run.messages,
            **{f"{table}_bytes": run.table_bytes.get(table, (0, 0))[0] / run.messages for table in _SHOWN_TABLES},
            "parts": sum(parts for _, parts in run.table_bytes.values()),
        }
        for run in runs
    ]


_SHOWN_TABLES: Final = ("events", "message_state", "arrivals")


async def _run(where: Place, load: Traffic, sizes: Sizes, workers: int) -> Run:
    store = fresh_store(where, _DATABASE)
    async with AsyncExitStack() as running:
        started = time.time()
        programs = []
        for number in range(workers):
            env = ledger_environment(where, store, _DATABASE) | {"SENDLEDGER_INSTANCE": f"{_DATABASE}-{number}"}
            program = Program([*SENDLEDGER, "worker", "ledger"], env, where.folder / f"worker-{number}.log")
            programs.append(await running.enter_async_context(program))
        assigned = await asyncio.gather(*(program.assigned_at() for program in programs))
        pids = where.pids | {f"worker {number}": program.pid for number, program in enumerate(programs)}
        written = Written(store, programs)
        rounds = []
        for posts, events, pairs in slices(load, sizes.events):
            rounds.append(await _round(where, written, pids, posts, events, pairs))
        idle = await _idle(pids, sizes.idle_seconds)
        peak = max(peak_megabytes(program.pid) for program in programs)
    await written.check(load)
    run = Run(
        partitions=where.partitions,
        workers=workers,
        rounds=rounds[1:],
        topics_seconds=where.topics_seconds,
        start_seconds=max(assigned) - started,
        idle_cores=idle,
        peak_megabytes=peak,
        kafka_bytes=log_bytes(where.kafka_log, WEBHOOKS[load.provider].name),
        table_bytes=bytes_on_disk(store),
        events=load.events,
        messages=load.messages,
    )
    store.close()
    return run


async def _round(
    where: Place, written: Written, pids: dict[str, int], posts: Sequence[Delivery], events: int, pairs: int
) -> Round:
    """Let the workers read the posts, and return when all events until then are in the tables."""
    async with hidden(where.stack.kafka_bootstrap, posts):
        before, started = Usage.now(pids), time.monotonic()
    await written.has_all(events, pairs)
    seconds = time.monotonic() - started
    return Round(sum(post.events for post in posts), seconds, Usage.now(pids).since(before))


async def _idle(pids: dict[str, int], seconds: float) -> dict[str, float]:
    """Return what the processes use in a second in which no record comes."""
    before, started = Usage.now(pids), time.monotonic()
    await asyncio.sleep(seconds)
    passed = time.monotonic() - started
    return {name: used / passed for name, used in Usage.now(pids).since(before).items()}


def _sum(by_name: dict[str, float], begins: str) -> float:
    return sum(value for name, value in by_name.items() if name.startswith(begins))
