"""Replay a window of the log into the live tables: rows that are missing there, or know less than the log, are mended.

In:  the records of one topic between two bounds; a store.
Out: how many records were read, how many rows of each table they have, and which of them are malformed.
Promise: a row that is right stays as it is, because every table merges the copies of a row, in any order (the ledger
writes at least once). Nothing but rows is written: no decision, no dead letter, no record of any topic.

The ledger may run meanwhile.
"""

import sys
from collections import Counter
from collections.abc import AsyncIterable, AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import pyarrow as pa

from processors.dead_letters import OUR_FAILURES, DeadLetter
from processors.engine import TP, EngineError, FailureLimit, Record, RecordBatch, TransientDependencyError
from processors.ledger.write import LedgerWriter
from projections.store.ports import RepairStore
from schemas.errors import SendledgerError
from schemas.telemetry import Telemetry

__all__ = ["CountedLetters", "Replayed", "replay"]

_GROUP_RECORDS: Final = 10_000
_GROUP_BYTES: Final = 16 * 2**20


@dataclass(slots=True)
class Replayed:
    """What a replay has read and written."""

    records: int = 0
    rows: Counter[str] = field(default_factory=Counter)
    """Rows by table. The server derives some more from these, like `bounces`."""
    rejected: Counter[str] = field(default_factory=Counter)
    """Records, or elements of them, that have no row, by the reason that a dead letter would have.

    Malformed policies, preferences and commands are not counted: the gate parks those.
    """

    @property
    def failed(self) -> int:
        """How many were rejected because of our code or the store: their rows may still be missing."""
        return sum(number for reason, number in self.rejected.items() if reason in OUR_FAILURES)


async def replay(
    store: RepairStore,
    records: AsyncIterable[Record],
    *,
    decision_days: int,
    dry_run: bool = False,
    progress: Callable[[Replayed], None] = lambda _: None,
) -> Replayed:
    """Write the rows of the records, and match their orphan events; return what was done.

    With `dry_run` nothing is written, and the rows that would be are counted. Events that only match a message whose
    dispatch is in the same window are then not counted. Raises StoreError, after which the replay may be repeated; and
    SendledgerError if no record can be written.
    """
    done = Replayed()
    counting = _CountingStore(store, done.rows, writes=not dry_run)
    writer = LedgerWriter(
        counting,
        CountedLetters(done.rejected),
        Telemetry(),
        FailureLimit(most=sys.maxsize),  # a replay reads in seconds what failed in days
        decision_days=decision_days,
        repair=counting,
    )
    async for group in _groups(records):
        try:
            await writer.write(_batches(group))
        except (EngineError, TransientDependencyError) as error:
            mend = "Fix what the error names, and repeat the replay: what was written stays right"
            raise SendledgerError(f"The rows can't be written: {error}", group[0].topic, mend) from error
        done.records += len(group)
        progress(done)
    return done


async def _groups(records: AsyncIterable[Record]) -> AsyncIterator[Sequence[Record]]:
    group, size = list[Record](), 0
    async for record in records:
        group.append(record)
        size += len(record.value or b"")
        if len(group) >= _GROUP_RECORDS or size >= _GROUP_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group


def _batches(records: Sequence[Record]) -> list[RecordBatch]:
    by_partition: dict[TP, list[Record]] = {}
    for record in records:
        by_partition.setdefault(TP(record.topic, record.partition), []).append(record)
    return [RecordBatch(tp, some) for tp, some in by_partition.items()]


class _CountingStore:
    """A store that counts the rows that are inserted, and passes them on if it `writes`."""

    def __init__(self, store: RepairStore, rows: Counter[str], *, writes: bool) -> None:
        self._store, self._rows, self._writes = store, rows, writes

    def tuples(self, sql: str, parameters: Mapping[str, object] | None = None) -> Sequence[Sequence[Any]]:
        return self._store.tuples(sql, parameters)

    def insert(self, table: str, rows: pa.Table) -> None:
        if self._writes:
            self._store.insert(table, rows)
        self._rows[table] += rows.num_rows

    def delete(self, table: str, where: str, parameters: Mapping[str, object]) -> None:
        if self._writes:
            self._store.delete(table, where, parameters)


class CountedLetters:
    """Counts dead letters instead of writing them: the ledger wrote them when it first read the records."""

    def __init__(self, reasons: Counter[str]) -> None:
        self._reasons = reasons

    async def park(self, letters: Sequence[DeadLetter]) -> None:
        self._reasons.update(letter.rejection.reason for letter in letters)
