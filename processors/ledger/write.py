"""Write a group of batches: rows, then matches, then dead letters. After that the engine acknowledges the group.

Two groups may be written concurrently, so decoding (in a thread) overlaps with inserting (in another). Every step may
be repeated.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain
from operator import attrgetter
from time import monotonic, time, time_ns

import pyarrow as pa

from processors.dead_letters import DeadLetter, LetterWriter, letter_of_failure
from processors.engine import (
    FailedItem,
    FailureLimit,
    PoisonRecordDetector,
    Record,
    RecordBatch,
    TransientDependencyError,
)
from processors.engine.failures import retrying
from processors.ledger.arrivals import count_arrivals
from processors.ledger.decode import DecodedBatch, read_records
from processors.ledger.disorder import Disorder, count_disorder, disorder_in
from processors.ledger.match import Matcher
from processors.source_positions import source_position
from processors.tracing import OFF, Tracing
from projections.accounts.columns import policies_table, preferences_table
from projections.messages.columns import (
    contents_table,
    dispatches_table,
    erasures_table,
    events_table,
    state_table,
)
from projections.messages.matching import synthetic_request
from projections.store.ports import RepairStore, TableStore
from projections.suppressions.columns import changes_table, commands_table, opt_outs_table
from schemas.errors import BrokerError, StoreError, StoreRefused
from schemas.suppressions import SuppressionState
from schemas.telemetry import (
    DECISIONS_TOTAL,
    DECODE_SECONDS,
    DELAY_SECONDS,
    GROUP_RECORDS,
    GROUPS_TOTAL,
    INSERT_SECONDS,
    ORPHANS_TOTAL,
    RECORDS_TOTAL,
    SUPPRESSION_CHANGES_TOTAL,
    Telemetry,
)

__all__ = ["TRANSIENT_ERRORS", "LedgerWriter", "tables_of"]

TRANSIENT_ERRORS = (StoreError, BrokerError, TransientDependencyError)
"""Errors that are retried; the last one is the engine's, for a store that accepts nothing."""

_KNOWN_GOOD_BYTES = 64 * 1024
"""The largest value of a record that is kept as known good, one per topic: see `PoisonRecordDetector`."""

_ADAPTER_FAILED = frozenset({"element_failed", "body_failed"})


class LedgerWriter:
    """Writes groups to one store. It keeps no state between groups."""

    def __init__(
        self,
        store: TableStore,
        letters: LetterWriter,
        telemetry: Telemetry,
        limit: FailureLimit,
        *,
        decision_days: int,
        tracing: Tracing = OFF,
        repair: RepairStore | None = None,
    ) -> None:
        """`repair`: the same store, for a replay: see `Matcher`."""
        self._store, self._letters, self._telemetry = store, letters, telemetry
        self._limit = limit
        self._poison_records = PoisonRecordDetector[Record](attrgetter("topic"), limit, passing=TRANSIENT_ERRORS)
        self._decision_days, self._tracing = decision_days, tracing
        self.matcher = Matcher(store, telemetry, repair=repair)
        self._decoding = asyncio.Lock()
        self._inserting = asyncio.Lock()

    async def write(self, group: Sequence[RecordBatch]) -> None:
        """Return when all rows and dead letters of the group are stored. Raises TRANSIENT_ERRORS, to be repeated."""
        records: list[Record] = list(chain.from_iterable(batch.records for batch in group))
        begun_ns = time_ns()
        try:
            decoded = await retrying(lambda: self._write_once(records), transient=(), unclear=(StoreRefused,))
        except TRANSIENT_ERRORS:
            raise
        except Exception:  # bisecting finds the cause
            decoded = await self._isolate_failures(records)
        self._limit.count(_failed_adapters(decoded.letters))
        await self._letters.park(decoded.letters)
        self._poison_records.mark_good(_small_successes(group, decoded))
        self._tracing.stored(records, begun_ns)
        self._count_records(group)
        self._count_facts(decoded)

    async def _write_once(self, records: Sequence[Record]) -> DecodedBatch:
        async with self._decoding:
            started = monotonic()
            decoded = await asyncio.to_thread(read_records, records, decision_days=self._decision_days)
            tables, decoded.disorder = await asyncio.to_thread(tables_of, decoded)
            self._telemetry.histogram(DECODE_SECONDS).observe(monotonic() - started)
        async with self._inserting:
            started = monotonic()
            inserts = (asyncio.to_thread(self._store.insert, table, rows) for table, rows in tables.items())
            # With `return_exceptions`, so that no insert is still running when the first error is raised.
            for outcome in await asyncio.gather(*inserts, return_exceptions=True):
                if isinstance(outcome, BaseException):
                    raise outcome
            self._telemetry.histogram(INSERT_SECONDS).observe(monotonic() - started)
        # After the inserts: each side writes its rows before it looks for the other.
        if provider_ids := decoded.provider_ids():
            await asyncio.to_thread(self.matcher.match_orphans, provider_ids)
        return decoded

    async def _isolate_failures(self, records: Sequence[Record]) -> DecodedBatch:
        """Write all records but those at fault, which become dead letters. Raises EveryRecordFails, TooManyFailures."""
        merged = DecodedBatch()

        async def attempt(some: Sequence[Record]) -> Iterable[Record]:
            decoded = await self._write_once(some)
            merged.letters.extend(decoded.letters)
            merged.skipped.extend(decoded.skipped)
            merged.events.extend(decoded.events)
            merged.orphans.extend(decoded.orphans)
            merged.decisions.extend(decoded.decisions)
            merged.suppressions.extend(decoded.suppressions)
            merged.disorder += decoded.disorder
            return _successful(some, decoded)

        for failed in await self._poison_records.find(records, attempt):
            reason = "store_refused" if isinstance(failed.error, StoreRefused) else "code_failed"
            mend = "Fix what the error names; a worker parks the record in dead-letters, from where it can be sent back"
            merged.letters.append(letter_of_failure(failed, reason, mend))
        return merged

    def _count_records(self, group: Sequence[RecordBatch]) -> None:
        measure, now_us = self._telemetry, time() * 1e6
        by_topic: Counter[str] = Counter()
        # Only the oldest record of each topic: visiting every record would cost more than folding it.
        oldest: dict[str, Record] = {}
        for batch in group:
            topic, first = batch.tp.topic, batch.records[0]
            by_topic[topic] += len(batch)
            if topic not in oldest or first.timestamp < oldest[topic].timestamp:
                oldest[topic] = first
        for topic, count in by_topic.items():
            measure.counter(RECORDS_TOTAL, topic=topic).inc(count)
        for topic, record in oldest.items():
            delay = measure.histogram(DELAY_SECONDS, topic=topic)
            delay.observe(max(0.0, (now_us - source_position(record).received_us) / 1e6))
        measure.counter(GROUPS_TOTAL).inc()
        measure.histogram(GROUP_RECORDS).observe(by_topic.total())

    def _count_facts(self, decoded: DecodedBatch) -> None:
        measure = self._telemetry
        count_arrivals(measure, chain(decoded.events, decoded.orphans))
        for provider, count in Counter(e.provider for e in decoded.orphans).items():
            measure.counter(ORPHANS_TOTAL, provider=provider).inc(count)
        for outcome, count in Counter(decision.outcome for decision in decoded.decisions).items():
            measure.counter(DECISIONS_TOTAL, outcome=outcome).inc(count)
        for (channel, now), count in Counter(map(_channel_and_now, decoded.suppressions)).items():
            measure.counter(SUPPRESSION_CHANGES_TOTAL, channel=channel, now=now).inc(count)
        count_disorder(measure, decoded.disorder)


def _failed_adapters(letters: Iterable[DeadLetter]) -> list[FailedItem[Record]]:
    """Return the records, or elements of them, that an adapter failed on: also bugs of our code."""
    return [
        FailedItem(letter.record, RuntimeError(letter.rejection.detail))
        for letter in letters
        if letter.rejection.reason in _ADAPTER_FAILED
    ]


def _successful(records: Iterable[Record], decoded: DecodedBatch) -> list[Record]:
    """Return the records that were decoded completely: their rows were stored, others had none."""
    unread = {id(letter.record) for letter in decoded.letters} | {id(record) for record in decoded.skipped}
    return [record for record in records if id(record) not in unread]


def _small_successes(group: Sequence[RecordBatch], decoded: DecodedBatch) -> list[Record]:
    """Return one small, successfully written record per batch."""
    firsts = (batch.records[0] for batch in group)
    return [one for one in _successful(firsts, decoded) if len(one.value or b"") <= _KNOWN_GOOD_BYTES]


def _channel_and_now(state: SuppressionState) -> tuple[str, str]:
    return state.channel, "closed" if any(scope.suppressed for scope in state.scopes) else "open"


def tables_of(decoded: DecodedBatch) -> tuple[dict[str, pa.Table], Disorder]:
    """Return the rows of each table that gets any, and the duplicates and out-of-order events among them."""
    timeline, orphans = events_table(decoded.timeline()), events_table(decoded.orphans)
    named = timeline.slice(0, len(decoded.events))
    provider_rows = timeline.slice(0, len(decoded.events) + len(decoded.platform_wide_events))
    requests = [*decoded.requests, *(synthetic_request(event) for event in decoded.platform_wide_events)]
    tables = {
        "events": timeline,
        "message_state": state_table(provider_rows, requests, decoded.decisions, decoded.dispatches, decoded.contents),
        "orphans": orphans,
        "dispatches": dispatches_table(decoded.dispatches),
        "suppression_changes": changes_table(decoded.suppressions),
        "opt_outs": opt_outs_table(decoded.suppressions),
        "commands": commands_table(decoded.commands),
        "policies": policies_table(decoded.policies),
        "preferences": preferences_table(decoded.preferences),
        "contents": contents_table(decoded.contents, decoded.erasures),
        "erasures": erasures_table(decoded.erasures),
    }
    disorder = disorder_in(pa.concat_tables([named, orphans]))
    return {name: rows for name, rows in tables.items() if rows.num_rows}, disorder
