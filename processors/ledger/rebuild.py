"""Rebuild: fold the whole log into a generation of its own, while the ledger runs, and switch the views to it.

In:  the log; a generation that is not shown.
Out: the rows that a ledger worker of this release writes. A consumer group of its own reads the log, so several
     processes share the work, and after a kill the next one continues after the last acknowledged group.
Promise: nothing but rows is written. Decisions and suppressions are read from the log as they were made. Dead letters
     are counted, not written: the ledger wrote them.
"""

import asyncio
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing
from hashlib import sha256
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final, TypeVar
from uuid import uuid4

from processors.engine import FailureLimit
from processors.kafka.group_offsets import commit_offsets, committed_offsets
from processors.kafka.lag import wait_until_caught_up
from processors.ledger.app import attach_ledger
from processors.ledger.match import Matcher
from processors.ledger.replay import CountedLetters
from processors.ledger.write import LedgerWriter
from processors.worker import Worker, run_worker
from projections.store import Store, generations, migrate, retention
from projections.store.generations import Build, Generation
from projections.store.ports import TableStore
from schemas.consumer_groups import ConsumerGroup, consumer_groups
from schemas.errors import ConfigError, RequestError
from schemas.settings import RebuildSettings
from schemas.telemetry import Telemetry
from schemas.topics import LEDGER_INPUTS

__all__ = ["Rebuild", "RebuildInterrupted", "rules_of"]

_TOPICS: Final = tuple(topic.name for topic in LEDGER_INPUTS)
_RULES: Final = ("schemas", "projections", "processors")
"""The packages whose code determines the values of rows."""
_SWEEP_SECONDS: Final = 35 * 86_400
"""How long the table `recent_orphans` keeps its rows: the last sweep looks at all of them."""
_FOR_EVER: Final = float("inf")

T = TypeVar("T")
Narrowing = Callable[[TableStore], TableStore]
"""Wraps a store into one that does not write some of the rows."""


def rules_of(decision_days: int) -> str:
    """Return a hash of what determines rows: the source code of this release, and the settings that the fold uses.

    The files are hashed as they are, with comments and docstrings. So a release that only changes a comment begins a
    new build where it could have continued one: that takes longer, but two releases never fill one generation.
    """
    digest = sha256(f"decision_days={decision_days}".encode())
    for package in _RULES:
        for path, content in sorted(_sources(files(package), package)):
            digest.update(f"\n{path} {len(content)}\n".encode() + content)
    return digest.hexdigest()[:16]


def _sources(folder: Traversable, path: str) -> list[tuple[str, bytes]]:
    found = list[tuple[str, bytes]]()
    for entry in folder.iterdir():
        if entry.is_dir() and entry.name != "__pycache__":
            found += _sources(entry, f"{path}/{entry.name}")
        elif entry.name.endswith((".py", ".sql")):
            found.append((f"{path}/{entry.name}", entry.read_bytes()))
    return found


def _unchanged(store: TableStore) -> TableStore:
    return store


class RebuildInterrupted(Exception):
    """The worker of a rebuild ended before its work was done, with this exit code."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Rebuild:
    """A rebuild of one generation. Other processes may work on the same one."""

    def __init__(
        self,
        settings: RebuildSettings,
        generation: Generation,
        live: int,
        narrowed: Narrowing = _unchanged,
    ) -> None:
        """Use `begin`, `back` or `unfinished`, which choose the generation."""
        self.generation, self.live, self._narrowed = generation, live, narrowed
        self.rejected = Counter[str]()
        """Dead letters that this process counted, by reason."""
        self._settings = settings
        self.store = _store(settings, generation.number)
        self._group = _group(settings.consumer_group, generation)
        self._done = asyncio.Event()

    @classmethod
    def begin(
        cls,
        settings: RebuildSettings,
        *,
        trial: str = "",
        narrowed: Narrowing = _unchanged,
    ) -> "Rebuild":
        """Continue the newest build that has the same rules and is newer than the shown generation, or begin one.

        `trial`: what the generation is made for, if it is only to be compared and never shown. `narrowed` is for trials
        of a part of the messages.

        Raises ConfigError if the installation has no tables yet, and StoreError.
        """
        rules = f"{rules_of(settings.decision_days)} {trial}".strip()
        while True:
            with closing(_store(settings, None)) as views:
                live = _live(views)
                number = _chosen(generations.generations(views), live, rules)
            with closing(_store(settings, number)) as store:
                migrate.apply(store)
                retention.set_retentions(
                    store, days=settings.retention_days, content_days=settings.content_retention_days
                )
                if _found(settings, number).build is None:
                    generations.record_build(store, Build(uuid4().hex[:8], rules, trial=bool(trial)))
            generation = _found(settings, number)
            if generation.build and generation.build.rules == rules:
                return cls(settings, generation, live, narrowed)
            # Another process began a build with other rules there at the same time: choose again.

    @classmethod
    def back(cls, settings: RebuildSettings) -> "Rebuild":
        """Return the rebuild of the generation that was shown before: it reads what was added to the log since.

        Raises RequestError if there is none, and StoreError.
        """
        with closing(_store(settings, None)) as views:
            live, pointer = _live(views), generations.pointer(views)
            known = {one.number for one in generations.generations(views)}
        if pointer is None or pointer.previous not in known:
            raise RequestError(
                "No generation was shown before this one, or it was dropped",
                settings.clickhouse_database,
                "Rebuild: sendledger rebuild --swap",
            )
        with closing(_store(settings, pointer.previous)) as store:
            migrate.apply(store)
        return cls(settings, _found(settings, pointer.previous), live)

    @classmethod
    def unfinished(cls, settings: RebuildSettings) -> "Rebuild | None":
        """Return the rebuild of the shown generation if it was interrupted after the views had been switched.

        Raises ConfigError and StoreError.
        """
        with closing(_store(settings, None)) as views:
            live, pointer = _live(views), generations.pointer(views)
        if pointer is None or pointer.complete:
            return None
        return cls(settings, _found(settings, live), live)

    async def run(self, act: Callable[[], Awaitable[T]]) -> T:
        """Read the log and write its rows, also of new records, until `act` has ended; return the result of `act`.

        Raises RebuildInterrupted if the worker ends before, ConfigError, BrokerError, and what `act` raises.
        """
        working = asyncio.create_task(self._work(), name="rebuild")
        acting = asyncio.create_task(_awaited(act), name="act")
        try:
            await asyncio.wait({working, acting}, return_when=asyncio.FIRST_COMPLETED)
            if acting.done():
                return acting.result()
            raise RebuildInterrupted(working.result())
        finally:
            acting.cancel()
            self._done.set()
            await asyncio.wait({working, acting})

    async def _work(self) -> int:
        async def attach(worker: Worker) -> None:
            ledger = LedgerWriter(
                self._narrowed(self.store),
                CountedLetters(self.rejected),
                worker.telemetry,
                FailureLimit(most=sys.maxsize),  # none: the failures of months of the log come within minutes
                decision_days=self._settings.decision_days,
            )
            attach_ledger(worker, self._settings, ledger.write, ledger.matcher)

        return await run_worker("rebuild", self._settings, self._group, attach, stop=self._done, inflight=4)

    async def caught_up(self, say: Callable[[int], None] = lambda _behind: None) -> None:
        """Wait until this generation and the shown one have all records that are in the log now.

        `say` is called with the number of unread records. Raises BrokerError.
        """
        ledger, _ = consumer_groups(self._settings.consumer_group)
        for group in (self._as_group, ledger):
            await wait_until_caught_up(self._settings.kafka, [group], within_seconds=_FOR_EVER, say=say)
        await asyncio.to_thread(Matcher(self._narrowed(self.store), Telemetry()).sweep, _SWEEP_SECONDS)

    def drop(self) -> None:
        """Delete the generation. Raises RequestError and StoreError."""
        generations.drop(self.store, self.generation.number)

    def close(self) -> None:
        """Close the connections."""
        self.store.close()

    async def switch(self) -> None:
        """Show this generation. When this returns, it has all records that were in the log at the switch.

        From the switch on, the ledger writes into this generation (`processors/ledger/following.py`). Records that it
        had written before, into the other one, and that this rebuild had not read yet, are read in `finish`. The
        offsets that the ledger had before the switch are committed for the group of the other generation: `back`
        continues there. Raises RequestError, StoreError and BrokerError.
        """
        if self.generation.build and self.generation.build.trial:
            raise RequestError(
                f"Generation {self.generation.number} was made to compare with, and is never shown",
                self._settings.clickhouse_database,
                "Rebuild without options first: sendledger rebuild",
            )
        bootstrap, ledger = self._settings.kafka, self._settings.consumer_group
        # Offsets first: if generation `live` is shown afterwards, it was shown when they were committed. So it has all
        # records before them.
        offsets = await committed_offsets(bootstrap, ledger, _TOPICS)
        if await asyncio.to_thread(generations.shown, self.store) != self.live:
            raise RequestError(
                f"Generation {self.live} is no longer shown: somebody else has switched",
                self._settings.clickhouse_database,
                "See `sendledger rebuild --list`",
            )
        await commit_offsets(bootstrap, _group(ledger, _found(self._settings, self.live)), offsets)
        names = [view.name for view in migrate.views()]
        await asyncio.to_thread(generations.show, self.store, self.generation.number, names, complete=False)
        await self.finish()

    async def finish(self) -> None:
        """Read the log to its present end, and store that the shown generation is complete. Raises as `switch` does."""
        bootstrap = self._settings.kafka
        await wait_until_caught_up(bootstrap, [self._as_group], within_seconds=_FOR_EVER)
        await asyncio.to_thread(generations.mark_complete, self.store)

    @property
    def _as_group(self) -> ConsumerGroup:
        return ConsumerGroup(self._group, _TOPICS)


async def _awaited(act: Callable[[], Awaitable[T]]) -> T:
    return await act()


def _store(settings: RebuildSettings, generation: int | None) -> Store:
    return Store.of(settings, generation=generation, reads_own_writes=True, timeout_seconds=3600)


def _group(ledger: str, generation: Generation) -> str:
    """Return the consumer group with which rebuilds fill a generation."""
    name = f"{ledger}-g{generation.number}"
    return f"{name}-{generation.build.id}" if generation.build else name


def _chosen(known: Sequence[Generation], live: int, rules: str) -> int:
    """Return the number of the generation to continue, or the next number.

    A new generation without a build was just created, by a process that starts at the same time or that was killed.
    """
    for one in reversed(known):
        if one.number > live and (one.build is None or one.build.rules == rules):
            return one.number
    return known[-1].number + 1


def _live(views: Store) -> int:
    live = generations.shown(views)
    if live is None:
        raise ConfigError("The database has no tables", "SENDLEDGER_CLICKHOUSE_DATABASE", "Run `sendledger migrate`")
    return live


def _found(settings: RebuildSettings, number: int) -> Generation:
    with closing(_store(settings, None)) as views:
        return next(one for one in generations.generations(views) if one.number == number)
