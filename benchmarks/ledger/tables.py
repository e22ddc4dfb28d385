"""What ledger workers have written so far, and whether it is all of it.

In:  the database that the workers write to, and the traffic that they were given.
Out: returns when a query finds every event in `events` and in `message_state`. A wrong count is no figure: it raises
     BenchmarkFailed.
"""

import asyncio
from collections.abc import Sequence
from typing import Final

from benchmarks.ledger.surroundings import BenchmarkFailed, Program, until
from benchmarks.ledger.traffic import Traffic
from projections.store import Store

__all__ = ["Written", "bytes_on_disk"]

POLL_SECONDS: Final = 0.05
GIVE_UP_SECONDS: Final = 600.0

# Pairs of a message and a type of event: what the states know of, however far the rows have merged, and the log.
_IN_STATES: Final = (
    "SELECT sum(length(arrayDistinct(arrayMap(code -> bitAnd(code, 31), told)))) FROM"
    " (SELECT groupUniqArrayArray(told) AS told FROM message_state GROUP BY account_id, message_id)"
)
_IN_LOG: Final = "SELECT uniqExact(message_id, type, machine) FROM events"


class Written:
    """The tables of a database while workers write to it."""

    def __init__(self, store: Store, workers: Sequence[Program]) -> None:
        self._store, self._workers = store, workers

    async def has_events(self, at_least: int) -> None:
        """Return once so many rows are in `events`. Raises BenchmarkFailed, also when a worker ends."""

        async def stored() -> bool:
            for worker in self._workers:
                _ = worker.pid
            return await self._count("SELECT count() FROM events") >= at_least

        await until(stored, f"{at_least} events", seconds=GIVE_UP_SECONDS, every=POLL_SECONDS)

    async def has_all(self, events: int, pairs: int) -> None:
        """Return once the log has the events, and the states their pairs of a message and a type."""
        await self.has_events(events)

        async def folded() -> bool:
            return await self._count(_IN_STATES) >= pairs

        await until(folded, "the states", seconds=GIVE_UP_SECONDS, every=POLL_SECONDS)

    async def check(self, load: Traffic) -> None:
        """Compare the tables with all that was sent. Raises BenchmarkFailed if a count differs."""
        found = {
            "events": await self._count("SELECT count() FROM events FINAL"),
            "messages of events": await self._count("SELECT uniqExact(message_id) FROM events"),
            "messages": await self._count("SELECT count() FROM messages"),
            "types in events": await self._count(_IN_LOG),
            "types in states": await self._count(_IN_STATES),
        }
        sent = dict(zip(found, (load.events, load.messages, load.messages, load.pairs, load.pairs), strict=True))
        if found != sent:
            raise BenchmarkFailed(f"{self._store.database}: sent {sent}, found {found}")

    async def _count(self, sql: str) -> int:
        return int((await asyncio.to_thread(self._store.tuples, sql))[0][0])


def bytes_on_disk(store: Store) -> dict[str, tuple[int, int]]:
    """Return the compressed bytes on disk of each table of a generation, and its active parts."""
    rows = store.tuples(
        "SELECT table, sum(bytes_on_disk), count() FROM system.parts WHERE active AND database = {database:String}"
        " GROUP BY table ORDER BY sum(bytes_on_disk) DESC, table",
        {"database": store.tables},
    )
    return {str(table): (int(size), int(parts)) for table, size, parts in rows}
