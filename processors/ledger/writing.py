"""A group of batches, written: rows, then what they match, then the letters; the engine acknowledges after that.

Two groups may be under way, so decoding (a thread) overlaps with inserting (another). Every step may be repeated.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain
from operator import attrgetter
from time import perf_counter, time
from typing import Any

import pyarrow as pa
import structlog

from processors.dead_letters import DeadLetters, Letter
from processors.disorder import Disorder, count_disorder, disorder_in
from processors.engine import Blame, Fault, FaultLimit, Record, RecordBatch, WorldFault, described, retrying, where_is
from processors.ledger.matching import Matcher
from processors.ledger.reading import Sheet, read_records
from processors.places import place_of
from projections.accounts.columns import policies_table, preferences_table
from projections.messages.columns import contents_table, dispatches_table, events_table, state_table
from projections.messages.matching import caption_of
from projections.store import Store
from projections.suppressions.columns import changes_table, commands_table, opt_outs_table
from schemas.errors import BrokerError, StoreError, StoreRefused
from schemas.events import Bad
from schemas.suppressions import SuppressionState
from schemas.telemetry import Telemetry

log = structlog.get_logger()

__all__ = ["WORLD", "LedgerWriter", "tables_of"]

WORLD = (StoreError, BrokerError, WorldFault)
"""Faults that are waited out; the last is the engine's word for a store that takes nothing."""

_PROOF_BYTES = 64 * 1024
"""A record that went through is kept, one a topic, if its value is no larger: see `Blame`."""

_ADAPTER_FAILED = frozenset({"element_failed", "body_failed"})

_PROVIDER_AND_TYPE = attrgetter("provider", "type")


class LedgerWriter:
    """Writes groups into one store. Knows nothing of what it wrote before."""

    def __init__(
        self, store: Store, letters: DeadLetters, telemetry: Telemetry, limit: FaultLimit, *, decision_days: int
    ) -> None:
        self._store, self._letters, self._telemetry = store, letters, telemetry
        self._limit = limit
        self._blame = Blame[Record](attrgetter("topic"), limit, passing=WORLD)
        self._decision_days = decision_days
        self.matcher = Matcher(store, matched=telemetry.counter("matched_total").inc)
        self._decoding = asyncio.Lock()
        self._inserting = asyncio.Lock()

    async def write(self, group: Sequence[RecordBatch]) -> None:
        """Return when all rows and letters of the group are stored. Raises a fault of WORLD to be repeated."""
        records: list[Record] = list(chain.from_iterable(batch.records for batch in group))
        try:
            sheet = await retrying(lambda: self._take(records), world=(), unclear=(StoreRefused,))
        except WORLD:
            raise
        except Exception:  # whose fault it is, bisecting tells
            sheet = await self._take_apart(records)
        self._limit.count(_failed_adapters(sheet.letters))
        await self._letters.park(sheet.letters)
        self._blame.went_through(_proofs(group, sheet))
        self._count_records(group)
        self._count_facts(sheet)

    async def _take(self, records: Sequence[Record]) -> Sheet:
        async with self._decoding:
            started = perf_counter()
            sheet = await asyncio.to_thread(read_records, records, decision_days=self._decision_days)
            tables, sheet.disorder = await asyncio.to_thread(tables_of, sheet)
            self._telemetry.histogram("decode_seconds").observe(perf_counter() - started)
        async with self._inserting:
            started = perf_counter()
            inserts = (asyncio.to_thread(self._store.insert, table, rows) for table, rows in tables.items())
            for outcome in await asyncio.gather(*inserts, return_exceptions=True):  # none is left running behind us
                if isinstance(outcome, BaseException):
                    raise outcome
            self._telemetry.histogram("insert_seconds").observe(perf_counter() - started)
        if provider_ids := sheet.provider_ids():  # only now: each side writes first and looks for the other then
            await asyncio.to_thread(self.matcher.settle, provider_ids)
        return sheet

    async def _take_apart(self, records: Sequence[Record]) -> Sheet:
        """Write all records but those at fault, which become letters. Raises EveryRecordFails and TooManyFaults."""
        whole = Sheet()

        async def attempt(some: Sequence[Record]) -> Iterable[Record]:
            sheet = await self._take(some)
            whole.letters.extend(sheet.letters)
            whole.passed_over.extend(sheet.passed_over)
            whole.events.extend(sheet.events)
            whole.orphans.extend(sheet.orphans)
            whole.decisions.extend(sheet.decisions)
            whole.suppressions.extend(sheet.suppressions)
            whole.disorder += sheet.disorder
            return _written(some, sheet)

        for fault in await self._blame.find(records, attempt):
            reason = "store_refused" if isinstance(fault.error, StoreRefused) else "code_failed"
            log.error(
                "record.at_fault",
                what=described(fault.error),
                where=where_is(fault.item),
                mend="Mend what the error names; the record is in dead-letters, and can be sent again",
            )
            bad = Bad(reason, f"{type(fault.error).__name__}: {fault.error}", fault.item.value or b"", None)
            whole.letters.append(Letter(fault.item, bad))
        return whole

    def _count_records(self, group: Sequence[RecordBatch]) -> None:
        measure, now_us = self._telemetry, time() * 1e6
        by_topic: Counter[str] = Counter()
        # The oldest of each topic stands for all: looking at every record would cost more than folding it.
        oldest: dict[str, Record] = {}
        for batch in group:
            topic, first = batch.tp.topic, batch.records[0]
            by_topic[topic] += len(batch)
            if topic not in oldest or first.timestamp < oldest[topic].timestamp:
                oldest[topic] = first
        for topic, count in by_topic.items():
            measure.counter("records_total", topic).inc(count)
        for topic, record in oldest.items():
            delay = measure.histogram("delay_seconds", topic)
            delay.observe(max(0.0, (now_us - place_of(record).received_us) / 1e6))
        measure.counter("groups_total").inc()
        measure.histogram("group_records").observe(by_topic.total())

    def _count_facts(self, sheet: Sheet) -> None:
        measure = self._telemetry
        for (provider, kind), count in Counter(map(_PROVIDER_AND_TYPE, chain(sheet.events, sheet.orphans))).items():
            measure.counter("events_total", provider, kind).inc(count)
            if kind == "unknown":
                measure.counter("unknown_total", provider).inc(count)
        for provider, count in Counter(e.provider for e in sheet.orphans).items():
            measure.counter("orphans_total", provider).inc(count)
        for outcome, count in Counter(decision.outcome for decision in sheet.decisions).items():
            measure.counter("decisions_total", outcome).inc(count)
        for (channel, now), count in Counter(map(_channel_and_now, sheet.suppressions)).items():
            measure.counter("suppression_changes_total", channel, now).inc(count)
        count_disorder(measure, sheet.disorder)


def _failed_adapters(letters: Iterable[Letter]) -> list[Fault[Record]]:
    """Return the records, or elements of them, that an adapter failed on: a mistake of ours, too."""
    return [
        Fault(letter.record, RuntimeError(letter.bad.detail))
        for letter in letters
        if letter.bad.reason in _ADAPTER_FAILED
    ]


def _written(records: Iterable[Record], sheet: Sheet) -> list[Record]:
    """Return the records that were read whole: their rows went through, where others had none to write."""
    unread = {id(letter.record) for letter in sheet.letters} | {id(record) for record in sheet.passed_over}
    return [record for record in records if id(record) not in unread]


def _proofs(group: Sequence[RecordBatch], sheet: Sheet) -> list[Record]:
    """Return a small record of each batch that went through."""
    firsts = (batch.records[0] for batch in group)
    return [one for one in _written(firsts, sheet) if len(one.value or b"") <= _PROOF_BYTES]


def _channel_and_now(state: SuppressionState) -> tuple[str, str]:
    return state.channel, "closed" if any(scope.suppressed for scope in state.scopes) else "open"


def tables_of(sheet: Sheet) -> tuple[dict[str, Any], Disorder]:
    """Return the rows of each table that gets some, and the disorder that they show."""
    timeline, orphans = events_table(sheet.timeline()), events_table(sheet.orphans)
    told = timeline.slice(0, len(sheet.events))
    of_providers = timeline.slice(0, len(sheet.events) + len(sheet.of_everybody))
    requests = [*sheet.requests, *(caption_of(event) for event in sheet.of_everybody)]
    tables = {
        "events": timeline,
        "message_state": state_table(of_providers, requests, sheet.decisions, sheet.dispatches, sheet.contents),
        "orphans": orphans,
        "dispatches": dispatches_table(sheet.dispatches),
        "suppression_changes": changes_table(sheet.suppressions),
        "opt_outs": opt_outs_table(sheet.suppressions),
        "commands": commands_table(sheet.commands),
        "policies": policies_table(sheet.policies),
        "preferences": preferences_table(sheet.preferences),
        "contents": contents_table(sheet.contents),
    }
    disorder = disorder_in(pa.concat_tables([told, orphans]))
    return {name: rows for name, rows in tables.items() if rows.num_rows}, disorder
