"""The ledger from records to tables, in this process: what a sabotage is switched on in, and what must show it.

In:  a plan of the simulator, and a store.
Out: the differences that `verify` finds, in the tables and among the dead letters.

Records come in groups, as the engine hands them over, and what is acknowledged is not read again. One worker dies on
its way, as workers do: that is where an acknowledgement that comes too early shows.
"""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import groupby
from typing import Any, Final

from cli.verifying.alone import compare_columns_alone
from cli.verifying.difference import Difference
from cli.verifying.fresh import compare_with_fresh_fold, events_told_twice
from cli.verifying.oracle import compare_with_oracle, missing_letters
from processors.dead_letters import Letter
from processors.engine import TP, FaultLimit, RecordBatch
from processors.ledger import writing
from processors.ledger.matching import Matcher
from projections.store import Store
from schemas.telemetry import Telemetry
from schemas.times import DAY_US
from simulator.kafka import record_of
from simulator.oracle import Oracle
from simulator.posts import Plan, plan
from simulator.stories import Setting
from tests.building import FakeRecord
from tests.stores import a_store, drop

__all__ = ["Told", "differences", "tell"]

PARTITIONS: Final = 4
GROUP: Final = 1_500
DIES_AT: Final = 2
"""The group in which the worker dies."""
SWEPT_SECONDS: Final = 3_600
NOW_US: Final = 1_780_000_000_000_000 // DAY_US * DAY_US


@dataclass(frozen=True, slots=True)
class Told:
    """A plan and its oracle."""

    groups: list[list[RecordBatch]]
    oracle: dict[str, Any]


@dataclass(slots=True)
class _Letters:
    parked: list[Letter] = field(default_factory=list)

    async def park(self, letters: Sequence[Letter]) -> None:
        self.parked += letters


class _WorkerDied(Exception):
    """The process is gone."""


def tell(messages: int, seed: int) -> Told:
    """Return what a seed tells, in groups, and what must come of it."""
    import orjson

    oracle = Oracle(seed)
    planned = plan(messages, seed, Setting(NOW_US, ("demo", "acme", "globex")), oracle=oracle)
    records = list(_records(planned))
    groups = [_batches(records[at : at + GROUP]) for at in range(0, len(records), GROUP)]
    return Told(groups, orjson.loads(oracle.as_json()))


def _records(planned: Plan) -> Any:
    offsets: defaultdict[tuple[str, int], int] = defaultdict(int)
    for delivery in planned.deliveries:
        topic, key, headers = record_of(delivery)
        partition = sha256(key).digest()[0] % PARTITIONS
        offset, at_ms = offsets[topic, partition], delivery.at_us // 1000
        yield FakeRecord(topic, delivery.value, key, headers, partition, offset, at_ms)
        offsets[topic, partition] += 1


def _batches(records: Sequence[FakeRecord]) -> list[RecordBatch]:
    of_partition = sorted(records, key=lambda record: (record.topic, record.partition, record.offset))
    by_tp = groupby(of_partition, key=lambda record: TP(record.topic, record.partition))
    return [RecordBatch(tp, list(some)) for tp, some in by_tp]


def differences(clickhouse_url: str, told: Told, *, acknowledged_first: bool = False) -> list[Difference]:
    """Run the ledger over all that is told, and return what `verify` would list."""
    store = a_store(clickhouse_url)
    try:
        # Rows that have merged by chance would hide what is read unmerged.
        store.command("SYSTEM STOP MERGES message_state", database=store.tables)
        letters = asyncio.run(_run(store, told.groups, acknowledged_first=acknowledged_first))
        found: defaultdict[str, set[str]] = defaultdict(set)
        for letter in letters:
            value = letter.bad.value if letter.bad.position is not None else letter.record.value or b""
            found[f"{letter.record.topic}/{letter.bad.reason}"].add(sha256(value).hexdigest())
        return [
            *compare_with_oracle(store, told.oracle),
            *missing_letters(found, told.oracle),
            *compare_with_fresh_fold(store),
            *compare_columns_alone(store),
            *events_told_twice(store),
        ]
    finally:
        drop(store)


async def _run(store: Store, groups: Sequence[list[RecordBatch]], *, acknowledged_first: bool) -> list[Letter]:
    letters = _Letters()
    acknowledged, dead = 0, False
    while acknowledged < len(groups):
        writer = writing.LedgerWriter(store, letters, Telemetry(), FaultLimit(), decision_days=30)  # type: ignore[arg-type]
        # (letters that are only kept)
        try:
            while acknowledged < len(groups):
                number = acknowledged
                if acknowledged_first:
                    acknowledged += 1
                if number == DIES_AT and not dead:
                    dead = True
                    raise _WorkerDied
                await writer.write(groups[number])
                acknowledged = number + 1
        except _WorkerDied:
            continue
    Matcher(store).sweep(SWEPT_SECONDS)  # as a worker does now and then: an earlier copy may still be an orphan
    return letters.parked
