"""From Kafka to queryable rows: the ledger worker beside its peer, on the same records, in turns.

In:  traffic that lies in Kafka before the clock starts.
Out: a `Run` for each worker and turn. The clock runs from the worker's assignment to the moment when a query finds
     every event in `events` and in the states. A wrong count is no figure: it raises BenchmarkFailed.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import median
from typing import Final, Literal

from benchmarks.ledger import peer
from benchmarks.ledger.surroundings import (
    SENDLEDGER,
    Place,
    Program,
    Usage,
    fresh_store,
    ledger_environment,
    peak_megabytes,
    place,
)
from benchmarks.ledger.tables import Written
from benchmarks.ledger.traffic import Traffic, produce, traffic
from projections.store import Store
from schemas.topics import WEBHOOKS

__all__ = ["SHAPES", "Run", "Shape", "compare", "middle"]

Who = Literal["ledger", "take"]
WITHIN_SECONDS: Final = 0.25


@dataclass(frozen=True, slots=True)
class Shape:
    """How events lie in records."""

    name: str
    per_post: int
    provider: str = "sendgrid"


SHAPES: Final = (
    Shape("posts of 15", 15),
    Shape("one event a record", 1),
    Shape("Postmark", 1, "postmark"),
    Shape("Twilio", 1, "twilio"),
)


@dataclass(frozen=True, slots=True)
class Run:
    """One worker's work on all records."""

    shape: str
    who: Who
    events: int
    records: int
    seconds: float
    first_rows_seconds: float
    """Until the first rows were there: starting to fetch, and the first write."""
    cpu_seconds: dict[str, float]
    """`worker`, `kafka`, `clickhouse`, `benchmark`, and `others`, who should have been idle."""
    peak_megabytes: float

    @property
    def events_per_second(self) -> float:
        return self.events / self.seconds

    def cpu_per_million(self, name: str = "worker") -> float:
        """Return the CPU seconds of a process for a million events."""
        return self.cpu_seconds[name] * 1e6 / self.events


async def compare(events: int, rounds: int, group_records: int, *, progress: Callable[[str], None]) -> list[Run]:
    """Return the runs of all shapes; the two workers take turns at being first.

    A turn before the first is not counted: a broker and an endpoint that were just started are a fifth slower, whoever
    comes first.
    """
    runs = []
    for shape in SHAPES:
        async with place() as where:
            load = await asyncio.to_thread(traffic, events, shape.per_post, now=time.time(), provider=shape.provider)
            progress(f"{shape.name}: {load.events} events, {load.body_bytes / load.events:.0f} bytes each")
            await produce(where.stack.kafka_bootstrap, load.posts)
            await _run(where, shape, load, "ledger", 0, group_records)
            for number, who in enumerate(_turns(rounds), 1):
                run = await _run(where, shape, load, who, number, group_records)
                progress(f"  {who}: {run.events_per_second:,.0f} events/s")
                runs.append(run)
    return runs


def middle(runs: list[Run], shape: str, who: Who) -> tuple[float, float]:
    """Return the medians of events/s and of the worker's CPU seconds for a million events."""
    mine = [run for run in runs if (run.shape, run.who) == (shape, who)]
    return median(r.events_per_second for r in mine), median(r.cpu_per_million() for r in mine)


def _turns(rounds: int) -> Iterator[Who]:
    for number in range(rounds):
        yield from ("ledger", "take") if number % 2 == 0 else ("take", "ledger")


async def _run(where: Place, shape: Shape, load: Traffic, who: Who, number: int, group_records: int) -> Run:
    """One worker's turn."""
    store = fresh_store(where, f"{who}_{number}")
    program = _program(where, store, who, f"{who}-{number}", group_records, shape)
    written = Written(store, [program])
    async with program:
        started = await program.assigned_at()
        pids = where.pids | {"worker": program.pid}
        before = Usage.now(pids)
        await written.has_events(1)
        first = time.time() - started
        await written.has_all(load.events, load.pairs)
        seconds = time.time() - started
        used = Usage.now(pids).since(before)
        peak = peak_megabytes(program.pid)
    await written.check(load)
    for database in (store.tables, store.database):
        store.command(f"DROP DATABASE {database} SYNC")
    store.close()
    return Run(shape.name, who, load.events, len(load.posts), seconds, first, used, peak)


def _program(where: Place, store: Store, who: Who, name: str, group_records: int, shape: Shape) -> Program:
    stack, folder = where.stack, where.folder / name
    log = where.folder / f"{name}.log"
    if who == "take":
        settings = peer.PeerSettings(
            stack.kafka_bootstrap,
            stack.clickhouse_url,
            store.database,
            name,
            str(folder),
            group_records,
            WITHIN_SECONDS,
            WEBHOOKS[shape.provider].name,
        )
        return Program(peer.argv(settings), {}, log)
    env = ledger_environment(where, store, name) | {
        "SENDLEDGER_GROUP_RECORDS": str(group_records),
        "SENDLEDGER_GROUP_SECONDS": str(WITHIN_SECONDS),
    }
    return Program([*SENDLEDGER, "worker", "ledger"], env, log)
