"""Generations: all tables that were filled by one reading of the log, in a database of their own.

    sendledger_g1     tables and views of generation 1; a rebuild fills sendledger_g2 beside it
    sendledger        the public views: each selects from the view of the same name in the shown generation

Readers use the public views, and the ledger writes into the shown generation. A switch to another generation replaces
the public views; readers and the ledger then use that one. Only a rebuild writes into a generation that is not shown.
"""

import re
from dataclasses import dataclass, replace
from threading import Lock
from time import monotonic
from typing import Any, Final

import pyarrow as pa

from projections.store.clickhouse import Store
from schemas.errors import RequestError, StoreError

__all__ = [
    "FIRST",
    "Build",
    "Generation",
    "Pointer",
    "ShownStore",
    "drop",
    "generations",
    "mark_complete",
    "pointer",
    "record_build",
    "show",
    "shown",
    "shown_now",
]

FIRST: Final = 1

_POINTER: Final = "shown_generation"
"""The view whose only row is the `Pointer`."""
_REFRESH_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class Build:
    """What a rebuild stores about itself in the generation that it fills."""

    id: str
    rules: str
    """A hash of the code and settings that the rows are made with; for a trial also what it is for."""
    trial: bool
    """Whether the generation is only made to be compared with the shown one. It is never shown itself."""


@dataclass(frozen=True, slots=True)
class Generation:
    """A generation that exists. `build` is None for one that no rebuild made."""

    number: int
    build: Build | None
    rows: int
    bytes: int
    """On disk. Rows and bytes are those of the stored parts, which may have a row several times before merges; on a
    cluster those of all replicas."""


@dataclass(frozen=True, slots=True)
class Pointer:
    """Which generation the public views show."""

    generation: int
    previous: int
    """The one that was shown before; 0 for none."""
    complete: bool
    """Whether it has all records that were in the log at the switch. If not, the rebuild still has to read the rest."""


def shown(store: Store) -> int | None:
    """Return the generation that the views of `store.database` show, or None if they don't exist yet."""
    found = pointer(store)
    return None if found is None else found.generation


def shown_now(store: Store) -> int:
    """Return the generation that the views show. Raises StoreError if they don't exist yet."""
    return int(store.tuples(f"SELECT generation FROM {store.database}.{_POINTER}")[0][0])  # noqa: S608 - our own names


def pointer(store: Store) -> Pointer | None:
    """Return what the views of `store.database` show, or None if they don't exist yet."""
    exists = store.tuples(
        "SELECT count() FROM system.tables WHERE database = {database:String} AND name = {name:String}",
        {"database": store.database, "name": _POINTER},
    )[0][0]
    if not exists:
        return None
    row = store.rows(f"SELECT * FROM {store.database}.{_POINTER}")[0]  # noqa: S608 - our own names
    # The pointer of an older release has one column.
    return Pointer(int(row["generation"]), int(row.get("previous", 0)), bool(row.get("complete", True)))


def show(store: Store, generation: int, views: list[str], *, complete: bool = True) -> None:
    """Make the public views show a generation, whose own views must exist. The pointer is written last."""
    before = pointer(store)
    tables = store.tables_of(generation)
    for view in views:
        store.define(f"CREATE OR REPLACE VIEW {store.database}.{view} AS SELECT * FROM {tables}.{view}")  # noqa: S608
    if before is None or before.generation != generation:
        _point(store, Pointer(generation, before.generation if before else 0, complete))


def mark_complete(store: Store) -> None:
    """Store that the shown generation is complete."""
    now = pointer(store)
    if now is not None and not now.complete:
        _point(store, replace(now, complete=True))


def _point(store: Store, to: Pointer) -> None:
    store.define(
        f"CREATE OR REPLACE VIEW {store.database}.{_POINTER} AS SELECT {to.generation:d} AS generation,"
        f" {to.previous:d} AS previous, {str(to.complete).lower()} AS complete"
    )


def generations(store: Store) -> list[Generation]:
    """Return those that exist, the oldest first."""
    return [_described(store, number) for number in _numbers(store)]


def record_build(store: Store, build: Build) -> None:
    """Store in the store's generation how its rows are made."""
    store.insert("build", pa.table({"id": [build.id], "rules": [build.rules], "trial": [build.trial]}))


def drop(store: Store, generation: int) -> None:
    """Delete a generation with all its rows. Raises RequestError if it is shown, or if there is none."""
    if generation not in _numbers(store):
        raise RequestError(
            f"There is no generation {generation}", store.database, "List them: sendledger rebuild --list"
        )
    if generation == shown(store):
        raise RequestError(
            f"Generation {generation} is shown",
            store.database,
            "Switch to another one first: sendledger rebuild --back",
        )
    store.define(f"DROP DATABASE IF EXISTS {store.tables_of(generation)} SYNC")


def _numbers(store: Store) -> list[int]:
    name = re.compile(rf"{re.escape(store.database)}_g([1-9][0-9]{{0,8}})")
    rows = store.tuples("SELECT name FROM system.databases")
    return sorted(int(match[1]) for (database,) in rows if (match := name.fullmatch(database)))


def _described(store: Store, number: int) -> Generation:
    name = {"database": store.tables_of(number)}
    stored = store.tables_of(number) if store.cluster is None else store.cluster.local(store.tables_of(number))
    rows, size = store.tuples(
        f"SELECT sum(rows), sum(bytes_on_disk) FROM {store.system('parts')}"  # noqa: S608 - our own names
        " WHERE active AND database = {stored:String}",
        {"stored": stored},
    )[0]
    has_table = "SELECT count() FROM system.tables WHERE database = {database:String} AND name = 'build'"
    build = None
    if store.tuples(has_table, name)[0][0]:  # not in a generation of an older release
        # If two processes stored one at the same time, the first counts.
        sql = f"SELECT id, rules, trial FROM {name['database']}.build ORDER BY started_at, id LIMIT 1"  # noqa: S608
        for build_id, rules, trial in store.tuples(sql):
            build = Build(str(build_id), str(rules), bool(trial))
    return Generation(number, build, int(rows), int(size))


class ShownStore(Store):
    """A store that reads the shown generation; after a switch it reads the new one within two seconds."""

    def __init__(self, url: str, **options: Any) -> None:
        """Take the arguments of `Store`, without a generation."""
        super().__init__(url, generation=FIRST, **options)
        self._refreshed_at = -_REFRESH_SECONDS
        self._lock = Lock()

    @property
    def tables(self) -> str:
        """The database of the shown generation; of the first generation if none is shown yet."""
        if monotonic() - self._refreshed_at >= _REFRESH_SECONDS and self._lock.acquire(blocking=False):
            try:
                self._refresh()
            finally:
                self._lock.release()
        return super().tables

    def _refresh(self) -> None:
        self._refreshed_at = monotonic()  # also if it fails: the query that follows raises the error
        try:
            rows = self._query_database(self.database, f"SELECT generation FROM {_POINTER}")  # noqa: S608 - our own name
        except StoreError:
            return
        self.generation = int(rows[0][0])
