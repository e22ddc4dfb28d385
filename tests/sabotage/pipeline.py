"""Run the ledger from records to tables in this process, so that a sabotage can be switched on, and verify the result.

In:  a plan of the simulator, and a store.
Out: the differences that `verify` finds in the tables and among the dead letters.

Records come in batches, as from the engine, and acknowledged records are not read again. One worker dies on the way:
that shows an acknowledgement that comes too early.
"""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import groupby
from typing import Any, Final

from processors.dead_letters import DeadLetter
from processors.engine import TP, FailureLimit, RecordBatch
from processors.ledger import write as writing
from processors.ledger.match import Matcher
from projections.store import Store
from schemas.decoding.times import DAY_US
from schemas.telemetry import Telemetry
from simulator.kafka import record_of
from simulator.messages import PlanOptions
from simulator.oracle import Oracle
from simulator.plan import Plan, plan
from tests.building import FakeRecord
from tests.fakes import FakeLetters
from tests.stores import a_store, drop
from verification.columns_alone import compare_columns_alone
from verification.difference import Difference
from verification.oracle import compare_with_oracle, missing_letters
from verification.recomputation import compare_with_recomputation, duplicate_events

__all__ = ["Workload", "differences", "make_workload"]

PARTITIONS: Final = 4
GROUP: Final = 1_500
DIES_AT: Final = 2
"""The index of the batch in which the worker dies."""
SWEPT_SECONDS: Final = 3_600
NOW_US: Final = 1_780_000_000_000_000 // DAY_US * DAY_US


@dataclass(frozen=True, slots=True)
class Workload:
    """The records of a plan, in batches, and the oracle."""

    groups: list[list[RecordBatch]]
    oracle: dict[str, Any]


class _WorkerDied(Exception):
    """The simulated death of a worker."""


def make_workload(messages: int, seed: int) -> Workload:
    """Return the records of a seed in batches, and the expected results."""
    import orjson

    oracle = Oracle(seed)
    planned = plan(messages, seed, PlanOptions(NOW_US, ("demo", "acme", "globex")), oracle=oracle)
    records = list(_records(planned))
    groups = [_batches(records[at : at + GROUP]) for at in range(0, len(records), GROUP)]
    return Workload(groups, orjson.loads(oracle.as_json()))


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


def differences(clickhouse_url: str, workload: Workload, *, acknowledged_first: bool = False) -> list[Difference]:
    """Run the ledger over the workload, and return the differences that `verify` would list."""
    store = a_store(clickhouse_url)
    try:
        # Without this, rows that happen to be merged would hide errors in reading unmerged ones.
        store.command("SYSTEM STOP MERGES message_state", database=store.tables)
        letters = asyncio.run(_run(store, workload.groups, acknowledged_first=acknowledged_first))
        found: defaultdict[str, set[str]] = defaultdict(set)
        for letter in letters:
            value = letter.rejection.value if letter.rejection.position is not None else letter.record.value or b""
            found[f"{letter.record.topic}/{letter.rejection.reason}"].add(sha256(value).hexdigest())
        return [
            *compare_with_oracle(store, workload.oracle),
            *missing_letters(found, workload.oracle),
            *compare_with_recomputation(store),
            *compare_columns_alone(store),
            *duplicate_events(store),
        ]
    finally:
        drop(store)


async def _run(store: Store, groups: Sequence[list[RecordBatch]], *, acknowledged_first: bool) -> list[DeadLetter]:
    letters = FakeLetters()
    acknowledged, dead = 0, False
    while acknowledged < len(groups):
        writer = writing.LedgerWriter(store, letters, Telemetry(), FailureLimit(), decision_days=30)
        # (letters are only collected)
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
    # As a worker does regularly: an earlier copy may still be an orphan.
    Matcher(store, Telemetry()).sweep(SWEPT_SECONDS)
    return letters.parked
