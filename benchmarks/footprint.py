"""What a message takes on disk, from its request to its last event, in each topic of Kafka and table of ClickHouse.

In:  the simulator's traffic, decided by a real gate and stored by a real ledger.
Out: a `Footprint`: bytes by topic and by table. These are sizes and not speeds, so a busy machine gives the same ones.
Every message must have been requested, decided and stored once all is read; else it raises BenchmarkFailed.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from benchmarks.ledger.surroundings import (
    SENDLEDGER,
    BenchmarkFailed,
    Place,
    Program,
    fresh_store,
    ledger_environment,
    log_bytes,
    place,
    wait_until_all_is_read,
)
from benchmarks.ledger.tables import bytes_on_disk
from projections.store import Store
from schemas.consumer_groups import consumer_groups, gate_group
from schemas.decoding.times import DAY_US
from schemas.topics import ALL_TOPICS, GATE_INTERNAL
from simulator.kafka import run_over_kafka
from simulator.messages import PlanOptions
from simulator.plan import Plan, plan

__all__ = ["Footprint", "footprint_rows", "measure"]

ACCOUNTS: Final = 50
_SEED: Final = 1
_LEDGER: Final = "footprint"
_GATE: Final = "footprint-gate"
_WITHIN_SECONDS: Final = 420.0
_NEVER: Final = 10**9
"""Rare scenarios take no turns of their own: they are as rare as they are picked by chance."""


@dataclass(frozen=True, slots=True)
class Footprint:
    """Bytes on disk of so many messages."""

    messages: int
    events: int
    """Of providers, in all posts."""
    by_topic: dict[str, int]
    """Kafka's segments, without indexes; one replica. Changelogs are not compacted yet."""
    by_table: dict[str, tuple[int, int]]
    """ClickHouse: bytes on disk, compressed, and parts; one replica."""


async def measure(messages: int, *, progress: Callable[[str], None]) -> Footprint:
    """Send the traffic of `messages` messages, wait until all of it is stored, and return what it takes."""
    accounts = [f"account{number}" for number in range(ACCOUNTS)]
    now_us = time.time_ns() // 1000
    options = PlanOptions(now_us, accounts, spread_us=DAY_US, rare_every=_NEVER, decides=False)
    planned = await asyncio.to_thread(plan, messages, _SEED, options, broken_every=0, policies_us=now_us)
    async with place() as where, AsyncExitStack() as running:
        store = fresh_store(where, _LEDGER)
        for program in _workers(where, store):
            await running.enter_async_context(program)
            await program.assigned_at()
        read = partial(wait_until_all_is_read, where.stack.kafka_bootstrap, seconds=_WITHIN_SECONDS)
        barrier = partial(read, [gate_group(_GATE)])
        await run_over_kafka(where.stack.kafka_bootstrap, planned, barrier=barrier)
        progress(f"{planned.size:,} records and events are in Kafka")
        await read(consumer_groups(_LEDGER, _GATE))
        await asyncio.to_thread(_check, store, planned)
        topics = [topic.name for topic in ALL_TOPICS]
        topics += [name for topic in GATE_INTERNAL for name in (topic.name, topic.changelog)]
        by_topic = {name: log_bytes(where.kafka_log, name) for name in topics}
        return Footprint(messages, planned.totals.events_sent, by_topic, bytes_on_disk(store))


def footprint_rows(found: Footprint) -> list[dict[str, Any]]:
    """A row for each topic and each table that has something, and their sums."""
    tables = {name: size for name, (size, _) in found.by_table.items()}
    rows = []
    for of, sizes in (("Kafka", found.by_topic), ("ClickHouse", tables)):
        for name, size in [*sizes.items(), ("all", sum(sizes.values()))]:
            if size:
                rows.append({"in": of, "name": name, "bytes": size, "bytes_a_message": size / found.messages})
    return rows


def _workers(where: Place, store: Store) -> Iterable[Program]:
    ledger = ledger_environment(where, store, _LEDGER) | {"SENDLEDGER_GATE_GROUP": _GATE}
    gate = ledger | {"SENDLEDGER_INSTANCE": _GATE, "SENDLEDGER_WORKER_DIR": str(where.folder / _GATE)}
    yield Program([*SENDLEDGER, "worker", "ledger"], ledger, where.folder / "ledger.log")
    yield Program([*SENDLEDGER, "worker", "gate"], gate, where.folder / "gate.log")


def _check(store: Store, planned: Plan) -> None:
    """Compare the messages that were requested with those that the tables have. Raises BenchmarkFailed."""
    requested = len({delivery.key.lower() for delivery in planned.deliveries if delivery.kind == "request"})
    found = store.tuples(
        "SELECT uniqExactIf(message_id, type = 'requested'), uniqExactIf(message_id, type = 'decided') FROM events"
    )[0]
    if tuple(map(int, found)) != (requested, requested):
        raise BenchmarkFailed(f"sent {requested} requests; requested and decided in the tables: {found}")
