"""Match orphan events to messages by provider id, whether the event or the dispatch comes first.

In:  the provider ids of a group's orphans and dispatches, after their own rows are stored.
Out: rows of the messages that the orphans belong to.

Each side writes its own row first and then looks for the other, so of two concurrent writes at least one sees the
other. With the look-up first, two workers could miss each other forever. A sweep matches recent orphans again: for a To
address that became known later, and for ClickHouse replicas that lag behind.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import count
from typing import Any, Final

import pyarrow as pa
import structlog

from projections.bounces.columns import bounces_table
from projections.messages.columns import addressees_table, events_table, state_table, withdrawn_state_table
from projections.messages.matching import (
    Assignment,
    Candidate,
    ExistingCopies,
    MessageKey,
    ProviderId,
    assign,
    candidates_of,
    copies_of,
    is_matchable,
    orphans_with,
    recent_provider_ids,
)
from projections.messages.queries import Query
from projections.store.parameters import chunks
from projections.store.ports import RepairStore, TableStore
from schemas.errors import StoreError, StoreRefused
from schemas.events import Event
from schemas.log_events import LogEvent
from schemas.telemetry import MATCHED_TOTAL, Telemetry

__all__ = ["Matcher", "sweep_periodically"]

_RECENT_SECONDS: Final = 3_600
_LONG_SECONDS: Final = 31 * 86_400
_LONG_EVERY: Final = 60
_DELETED_AT_ONCE: Final = 500
"""So that their ids fit into one parameter."""

log = structlog.get_logger()


class Matcher:
    """Finds the messages of orphan events. It has no state and blocks, so it runs in threads."""

    def __init__(self, store: TableStore, telemetry: Telemetry, *, repair: RepairStore | None = None) -> None:
        """`repair`: the same store, if rows that exist are to be written again, and wrongly withdrawn ones restored."""
        self._store, self._telemetry, self._repair = store, telemetry, repair

    def match_orphans(self, provider_ids: Iterable[ProviderId]) -> int:
        """Match the orphans with these provider ids, write the resulting rows, and return how many found a message.

        Ids are queried in chunks. A chunk that fails does not stop the others: the first error (StoreError,
        StoreRefused) is raised at the end. May be called again.
        """
        by_provider: dict[str, list[str]] = defaultdict(list)
        for provider, provider_message_id in sorted(set(provider_ids)):
            if is_matchable(provider_message_id):
                by_provider[provider].append(provider_message_id)
        found, failures = 0, []
        for provider, ids in by_provider.items():
            for some in chunks(ids):
                try:
                    found += self._match(provider, some)
                except (StoreError, StoreRefused) as failure:
                    failures.append(failure)
        if failures:
            raise failures[0]
        return found

    def sweep(self, seconds: int) -> int:
        """Match the orphans that were stored within the last `seconds`, whenever they were received."""
        return self.match_orphans(ProviderId(*row) for row in self._read(recent_provider_ids(seconds)))

    def _match(self, provider: str, ids: Sequence[str]) -> int:
        orphans = [Event._make(row) for row in self._read(orphans_with(provider, ids))]  # its columns are the fields
        if not orphans:
            return 0
        ids = sorted({orphan.provider_message_id for orphan in orphans})
        assignment = assign(
            orphans, self._candidates(provider, ids), self._existing(provider, ids), rewrite=self._repair is not None
        )
        self._write(assignment)
        found = len(assignment.matched) + len(assignment.named)
        if found:
            self._telemetry.counter(MATCHED_TOTAL).inc(found)
        return found

    def _candidates(self, provider: str, ids: Sequence[str]) -> dict[ProviderId, list[Candidate]]:
        found: dict[ProviderId, list[Candidate]] = defaultdict(list)
        for provider_message_id, account, message, to_key in self._read(candidates_of(provider, ids)):
            found[ProviderId(provider, provider_message_id)].append(Candidate(MessageKey(account, message), to_key))
        return found

    def _existing(self, provider: str, ids: Sequence[str]) -> dict[str, ExistingCopies]:
        existing: dict[str, ExistingCopies] = defaultdict(ExistingCopies)
        for event_id, account, message, link, first_arrival in self._read(copies_of(provider, ids)):
            key, copies = MessageKey(account, message), existing[event_id]
            if link == "":
                copies.named.add(key)
            elif link == "matched":
                copies.matched.add(key)
            elif link == "withdrawn":
                copies.withdrawn.add(key)
            copies.first_arrival[key] = first_arrival
        return existing

    def _write(self, assignment: Assignment) -> None:
        if assignment.restored and self._repair is not None:
            _delete_withdrawn(self._repair, assignment.restored)
        if assignment.named:
            self._write_events(assignment.named, "", state_table(events_table(assignment.named)))
        if assignment.matched:
            self._write_events(assignment.matched, "matched", state_table(events_table(assignment.matched)))
        if assignment.withdrawn:
            # A receipt time before all others: of the copies of an event the one received first is kept.
            withdrawn = [event._replace(received_us=0) for event in assignment.withdrawn]
            if (addressees := addressees_table(withdrawn)).num_rows:
                self._store.insert("withdrawn_addressees", addressees)
            self._write_events(withdrawn, "withdrawn", withdrawn_state_table(withdrawn))

    def _write_events(self, events: Sequence[Event], link: str, states: pa.Table) -> None:
        """Write the state, then the bounces, and the events last: an event in `events` counts as completely written.

        The server derives bounces from events too, but not atomically with them.
        """
        self._store.insert("message_state", states)
        bounces = bounces_table(events, link)
        if bounces.num_rows:
            self._store.insert("bounces", bounces)
        self._store.insert("events", events_table(events).append_column("link", [[link] * len(events)]))

    def _read(self, query: Query) -> Sequence[Sequence[Any]]:
        return self._store.tuples(query.sql, query.parameters)


def _delete_withdrawn(store: RepairStore, events: Sequence[Event]) -> None:
    """Delete the rows that say that these events were withdrawn from the messages whose ids they have."""
    of_events = (
        "link = 'withdrawn' AND message_id IN {messages:Array(UUID)} AND"
        " concat(account_id, '/', toString(message_id), '/', lower(hex(event_id))) IN {events:Array(String)}"
    )
    for first in range(0, len(events), _DELETED_AT_ONCE):
        some = events[first : first + _DELETED_AT_ONCE]
        parameters = {
            "messages": sorted({event.message_id for event in some}),
            "events": [f"{event.account_id}/{event.message_id}/{event.event_id}" for event in some],
        }
        for table in ("events", "bounces", "evidence"):
            store.delete(table, of_events, parameters)


async def sweep_periodically(matcher: Matcher, every_seconds: float, stop: asyncio.Event) -> None:
    """Sweep until `stop` is set: orphans of the last hour each time, those of the last month every sixtieth time."""
    for run in count():
        with suppress(TimeoutError):
            async with asyncio.timeout(every_seconds):
                await stop.wait()
        if stop.is_set():
            return
        try:
            await asyncio.to_thread(matcher.sweep, _LONG_SECONDS if run % _LONG_EVERY == 0 else _RECENT_SECONDS)
        except (StoreError, StoreRefused) as error:  # the next sweep does it; nothing waits for this one
            log.warning(LogEvent.SWEEP_FAILED, what=str(error)[:500])
