"""A rebuild beside the ledger: the same log, folded by the ledger's worker, by one rebuilding process, and by two.

In:  posts of SendGrid that lie in Kafka before the clock starts.
Out: a `Turn` each: events/s from the assignment to the moment when a query finds all events. A wrong count is no
     figure: it raises BenchmarkFailed.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, Final

from benchmarks.ledger.surroundings import (
    SENDLEDGER,
    BenchmarkFailed,
    Place,
    Program,
    fresh_store,
    ledger_environment,
    place,
    until,
)
from benchmarks.ledger.traffic import Traffic, produce, traffic
from projections.store import Store, generations

__all__ = ["Turn", "measure", "turn_rows"]

_POST: Final = 15
_GIVE_UP_SECONDS: Final = 1800.0
_POLL_SECONDS: Final = 0.05


@dataclass(frozen=True, slots=True)
class Turn:
    """One reading of the whole log."""

    what: str
    workers: int
    events: int
    seconds: float

    @property
    def events_per_second(self) -> float:
        return self.events / self.seconds


async def measure(events: int, rounds: int, *, progress: Callable[[str], None]) -> list[Turn]:
    """Return the turns: the ledger into an empty database, then rebuilds of that by one process and by two."""
    load = await asyncio.to_thread(traffic, events, _POST, now=time.time())
    turns = list[Turn]()
    async with place() as where:
        await produce(where.stack.kafka_bootstrap, load.posts)
        for number in range(rounds + 1):  # the first is not counted: a broker that was just started is slower
            for turn in await _round(where, load, number):
                progress(f"  {turn.what}: {turn.events_per_second:,.0f} events/s")
                turns += [turn] if number else []
    return turns


def turn_rows(turns: Sequence[Turn]) -> list[dict[str, Any]]:
    """A row for each kind of reading, with its best turn: others were disturbed. `live` is the ledger's."""
    kinds = dict.fromkeys(turn.what for turn in turns)
    best = {kind: max(turn.events_per_second for turn in turns if turn.what == kind) for kind in kinds}
    return [
        {
            "what": what,
            "events": turns[0].events,
            "events_per_second": rate,
            "of_live": rate / best["live"],
            "minutes_for_10_million": 10e6 / rate / 60,
        }
        for what, rate in best.items()
    ]


async def _round(where: Place, load: Traffic, number: int) -> list[Turn]:
    store = fresh_store(where, f"rebuild_{number}")
    async with AsyncExitStack() as programs:
        turns = [await _turn(where, store, load, "live", [["worker", "ledger"]], programs)]
        for what, workers in (("rebuild", 1), ("rebuild, two processes", 2)):
            argv = [["rebuild", "--instance", f"{workers}-{one}"] for one in range(workers)]
            turns.append(await _turn(where, store, load, what, argv, programs))
    for one in generations.generations(store):
        store.command(f"DROP DATABASE {store.tables_of(one.number)} SYNC")
    store.close()
    return turns


async def _turn(
    where: Place, store: Store, load: Traffic, what: str, argvs: Sequence[Sequence[str]], programs: AsyncExitStack
) -> Turn:
    """Start the processes, and wait until all events are in the newest generation. The ledger goes on, idle."""
    started = []
    for argv in argvs:
        log = where.folder / f"{store.database}-{argv[-1]}.log"
        started.append(Program([*SENDLEDGER, *argv], ledger_environment(where, store, store.database), log))
    for program in started:
        await programs.enter_async_context(program)
    begun = min(await asyncio.gather(*(program.assigned_at() for program in started)))
    newest = generations.generations(store)[-1].number
    count = f"SELECT count() FROM {store.tables_of(newest)}.events"

    async def stored() -> bool:
        return int((await asyncio.to_thread(store.tuples, count))[0][0]) >= load.events

    await until(stored, "the events", seconds=_GIVE_UP_SECONDS, every=_POLL_SECONDS)
    seconds = time.time() - begun
    found = int((await asyncio.to_thread(store.tuples, f"{count} FINAL"))[0][0])
    if found != load.events:
        raise BenchmarkFailed(f"generation {newest}: sent {load.events} events, found {found}")
    if argvs[0][0] == "rebuild":
        await asyncio.gather(*(program.ended() for program in started))
        generations.drop(store, newest)
    return Turn(what, len(argvs), load.events, seconds)
