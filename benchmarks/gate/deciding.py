"""The gate from `sends.requested` to `sends.decided`: how many decisions a second, and how long one takes.

In:  requests that lie in Kafka, unreadable, before the clock starts (throughput), or come at a fixed pace (delay, an
     open loop); before either some that warm up and do not count.
Out: `Throughput` for one worker and for two, and `Delay`. A decision is there when a `read_committed` consumer has it.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from benchmarks.gate.requests import a_request
from benchmarks.ledger.surroundings import SENDLEDGER, Place, Program, Usage, peak_megabytes, place
from benchmarks.ledger.traffic import one_transaction
from schemas.decoding.ids import uuid7
from schemas.topics import SENDS_DECIDED, SENDS_REQUESTED

__all__ = ["Delay", "Throughput", "decide_at_pace", "decide_backlog", "rows_of"]

WARM_UP: Final = 20_000
"""Requests that are not counted, for the broker needs twice the time for each in its first seconds (it compiles)."""


@dataclass(frozen=True, slots=True)
class Throughput:
    """All decisions of a backlog."""

    workers: int
    decisions: int
    seconds: float
    cpu_seconds: dict[str, float]
    peak_megabytes: float
    partitions: int
    start_seconds: float
    """From the start of the processes until all have their partitions, whose states are empty."""

    @property
    def per_second(self) -> float:
        return self.decisions / self.seconds


@dataclass(frozen=True, slots=True)
class Delay:
    """Seconds from a request's acknowledgement by Kafka to its decision; sorted."""

    per_second: int
    seconds: list[float]


async def decide_backlog(workers: int, requests: int, partitions: int = 4) -> Throughput:
    """Return how fast `workers` decide what lies in Kafka, which they may read once all have their partitions."""
    async with place(partitions) as where, AsyncExitStack() as programs:
        begun = time.time()
        gates = [await programs.enter_async_context(_gate(where, number)) for number in range(workers)]
        decided = await programs.enter_async_context(_decisions(where))
        assigned = await asyncio.gather(*(gate.assigned_at() for gate in gates))
        async with _hidden(where, WARM_UP):
            pass
        await _all_of(decided, WARM_UP)
        pids = where.pids | {f"gate {n}": gate.pid for n, gate in enumerate(gates)}
        async with _hidden(where, requests):
            before, started = Usage.now(pids), time.monotonic()
        await _all_of(decided, requests)
        seconds = time.monotonic() - started
        used = Usage.now(pids).since(before)
        peak = max(peak_megabytes(gate.pid) for gate in gates)
        return Throughput(workers, requests, seconds, used, peak, where.partitions, max(assigned) - begun)


async def _all_of(decided: AsyncIterator[str], requests: int) -> None:
    """Return when so many messages more are decided."""
    seen = set[str]()
    while len(seen) < requests:
        seen.add(await anext(decided))


async def decide_at_pace(per_second: int, seconds: float) -> Delay:
    """Return the delays of requests that come at a pace, after some that warm up."""
    async with place() as where, _gate(where, 0) as gate, _decisions(where) as decided:
        await gate.assigned_at()
        acknowledged: dict[str, float] = {}
        wanted = WARM_UP + int(per_second * seconds)
        asking = asyncio.create_task(_ask(where, per_second, wanted, acknowledged))
        seen: dict[str, float] = {}
        async for message_id in decided:
            seen.setdefault(message_id, time.monotonic())
            if len(seen) == wanted:
                break
        await asking
        ids = list(acknowledged)[WARM_UP:]
        return Delay(per_second, sorted(max(0.0, seen[i] - acknowledged[i]) for i in ids))


def _gate(where: Place, number: int) -> Program:
    env = {
        "SENDLEDGER_KAFKA_BOOTSTRAP": where.stack.kafka_bootstrap,
        "SENDLEDGER_INSTANCE": f"gate-{number}",
        "SENDLEDGER_WORKER_DIR": str(where.folder / "worker"),
    }
    return Program([*SENDLEDGER, "worker", "gate"], env, where.folder / f"gate-{number}.log")


@asynccontextmanager
async def _decisions(where: Place) -> AsyncIterator[AsyncIterator[str]]:
    consumer = AIOKafkaConsumer(
        SENDS_DECIDED.name,
        bootstrap_servers=where.stack.kafka_bootstrap,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        fetch_max_wait_ms=20,
    )
    await consumer.start()

    async def ids() -> AsyncIterator[str]:
        async for record in consumer:
            yield record.key.decode()

    try:
        yield ids()
    finally:
        await consumer.stop()


@asynccontextmanager
async def _hidden(where: Place, requests: int) -> AsyncIterator[None]:
    """Requests in Kafka, that no worker may read before the block ends."""
    async with one_transaction(where.stack.kafka_bootstrap) as kafka:
        for at in range(0, requests, 2_000):
            waiting = []
            for number in range(at, min(at + 2_000, requests)):
                message_id, value = _request(number)
                waiting.append(await kafka.send(SENDS_REQUESTED.name, value, key=message_id.encode()))
            await asyncio.gather(*waiting)
        yield


async def _ask(where: Place, per_second: int, wanted: int, acknowledged: dict[str, float]) -> None:
    async with AIOKafkaProducer(bootstrap_servers=where.stack.kafka_bootstrap, acks="all") as kafka:
        started = time.monotonic()
        waiting: set[asyncio.Task[None]] = set()
        for number in range(wanted):
            await asyncio.sleep(max(0.0, started + number / per_second - time.monotonic()))
            message_id, value = _request(number)
            acknowledged[message_id] = 0.0  # in the order of asking
            asking = asyncio.create_task(_ask_one(kafka, message_id, value, acknowledged))
            waiting.add(asking)
            asking.add_done_callback(waiting.discard)  # to wait for all at the end would stop our own clock then
        await asyncio.gather(*waiting)


async def _ask_one(kafka: Any, message_id: str, value: bytes, acknowledged: dict[str, float]) -> None:
    await kafka.send_and_wait(SENDS_REQUESTED.name, value, key=message_id.encode())
    acknowledged[message_id] = time.monotonic()


def _request(number: int) -> tuple[str, bytes]:
    at_us = time.time_ns() // 1000
    message_id = uuid7(at_us, os.urandom(10))
    return message_id, a_request(number, message_id, at_us)


def rows_of(throughputs: Sequence[Throughput], delay: Delay) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return both as rows for a table. CPU is in seconds for a million decisions."""
    fast = [
        {
            "workers": t.workers,
            "partitions": t.partitions,
            "start_to_assignment_seconds": t.start_seconds,
            "decisions": t.decisions,
            "decisions_per_second": round(t.per_second),
            **{f"{name} cpu": used * 1e6 / t.decisions for name, used in t.cpu_seconds.items() if name != "clickhouse"},
            "peak_megabytes": round(t.peak_megabytes),
        }
        for t in throughputs
    ]
    values = delay.seconds
    parts = {f"p{share * 100:g}_ms": round(values[int(len(values) * share)] * 1000) for share in (0.5, 0.95, 0.99)}
    return fast, [{"requests_per_second": delay.per_second, "requests": len(values), **parts}]
