"""Matching by provider id: orphans meet the dispatches that say whose they are, whichever of the two comes first.

In:  the provider ids that a group's orphans and dispatches have, once their own rows are stored.
Out: rows of the messages that the orphans belong to.

Each side writes its own row first and looks for the other after that, so of two that are written at one moment at least
one sees the other. With the look-up first, two workers could miss each other for ever. A sweep looks once more at what
is young: for a To that was told only later, and for replicas of ClickHouse that lag behind.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from itertools import count
from typing import Any, Final

import structlog

from projections.bounces.columns import bounces_table
from projections.messages.columns import events_table, state_table, withdrawn_state_table
from projections.messages.matching import (
    Assignment,
    Candidate,
    Held,
    Pair,
    ProviderId,
    assign,
    candidates_of,
    copies_of,
    is_matchable,
    orphans_under,
    young_provider_ids,
)
from projections.messages.queries import Query
from projections.store import Store
from projections.store.parameters import chunks
from schemas.errors import StoreError, StoreRefused
from schemas.events import Event

__all__ = ["Matcher", "sweep_now_and_then"]

_YOUNG_SECONDS: Final = 3_600
_LONG_SECONDS: Final = 31 * 86_400
_LONG_EVERY: Final = 60

log = structlog.get_logger()


class Matcher:
    """Finds the messages of orphans. Holds nothing but the way to the store; blocks, so it runs in threads."""

    def __init__(self, store: Store, *, matched: Callable[[int], None] = lambda _: None) -> None:
        self._store = store
        self._matched = matched

    def settle(self, provider_ids: Iterable[ProviderId]) -> int:
        """Write what the orphans under these provider ids are to their messages; return how many found one.

        Ids that fit into one question go together. One that fails does not keep the others from being asked: the first
        failure is raised at the end (StoreError, StoreRefused). May be called again.
        """
        by_provider: dict[str, list[str]] = defaultdict(list)
        for provider, provider_message_id in sorted(set(provider_ids)):
            if is_matchable(provider_message_id):
                by_provider[provider].append(provider_message_id)
        found, failures = 0, []
        for provider, ids in by_provider.items():
            for some in chunks(ids):
                try:
                    found += self._settle(provider, some)
                except (StoreError, StoreRefused) as failure:
                    failures.append(failure)
        if failures:
            raise failures[0]
        return found

    def sweep(self, seconds: int) -> int:
        """Settle the orphans that were stored within so many seconds, whenever they were received."""
        return self.settle(ProviderId(*row) for row in self._read(young_provider_ids(seconds)))

    def _settle(self, provider: str, ids: Sequence[str]) -> int:
        orphans = [Event._make(row) for row in self._read(orphans_under(provider, ids))]
        if not orphans:
            return 0
        ids = sorted({orphan.provider_message_id for orphan in orphans})
        assignment = assign(orphans, self._candidates(provider, ids), self._held(provider, ids))
        self._write(assignment)
        found = len(assignment.matched) + len(assignment.named)
        if found:
            self._matched(found)
        return found

    def _candidates(self, provider: str, ids: Sequence[str]) -> dict[ProviderId, list[Candidate]]:
        found: dict[ProviderId, list[Candidate]] = defaultdict(list)
        for provider_message_id, account, message, to_key in self._read(candidates_of(provider, ids)):
            found[ProviderId(provider, provider_message_id)].append(Candidate(Pair(account, message), to_key))
        return found

    def _held(self, provider: str, ids: Sequence[str]) -> dict[str, Held]:
        held: dict[str, Held] = defaultdict(Held)
        for event_id, account, message, link, received_us in self._read(copies_of(provider, ids)):
            pair, copies = Pair(account, message), held[event_id]
            if link == "":
                copies.named.add(pair)
            elif link == "matched":
                copies.matched.add(pair)
            if received_us is not None:
                copies.first_received_us[pair] = received_us
        return held

    def _write(self, assignment: Assignment) -> None:
        if assignment.named:
            self._write_events(assignment.named, "", state_table(events_table(assignment.named)))
        if assignment.matched:
            self._write_events(assignment.matched, "matched", state_table(events_table(assignment.matched)))
        if assignment.withdrawn:
            # Received before all others: of the copies of an event the one received first stays.
            withdrawn = [event._replace(received_us=0) for event in assignment.withdrawn]
            self._write_events(withdrawn, "withdrawn", withdrawn_state_table(withdrawn))

    def _write_events(self, events: Sequence[Event], link: str, states: Any) -> None:
        """Write the state, then the bounces, and the events last: what `events` has is taken for done ever after.

        The server makes bounces of events too, but not in one step with them.
        """
        self._store.insert("message_state", states)
        bounces = bounces_table(events, link)
        if bounces.num_rows:
            self._store.insert("bounces", bounces)
        self._store.insert("events", events_table(events).append_column("link", [[link] * len(events)]))

    def _read(self, query: Query) -> Sequence[Sequence[Any]]:
        return self._store.tuples(query.sql, query.parameters)


async def sweep_now_and_then(matcher: Matcher, every_seconds: float, stop: asyncio.Event) -> None:
    """Sweep until `stop` is set: what came within the hour each time, what came within a month each sixtieth time."""
    for turn in count():
        with suppress(TimeoutError):
            async with asyncio.timeout(every_seconds):
                await stop.wait()
        if stop.is_set():
            return
        try:
            await asyncio.to_thread(matcher.sweep, _LONG_SECONDS if turn % _LONG_EVERY == 0 else _YOUNG_SECONDS)
        except (StoreError, StoreRefused) as error:  # the next turn does it; nothing waits for this one
            log.warning("sweep.failed", fault=str(error)[:500])
