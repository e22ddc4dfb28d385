"""Numbered SQL files, applied in order, each once; then the views, each made anew whenever its file has changed.

In:  `tables/NNNN_name.sql`, `views/name.sql`, and what the generation's database says is applied.
Out: the generation at the newest version, and the promised views (generations.py).

Safe to run twice and by two processes at once: ClickHouse has no transaction over DDL and no lock, so every statement
is written to do nothing where its work is done (`IF NOT EXISTS`, `CREATE OR REPLACE`), which a test checks. A migration
that was applied and has changed since is refused: history is mended by a new file. A view holds nothing, so it has no
history: its file is what it is, with what code in `views/` puts in. There is one way to change a view,
and that is its file: a migration that makes one of these views is refused, since the file would undo it at once.
"""

import re
from collections.abc import Container, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from graphlib import TopologicalSorter
from hashlib import sha256
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any, Final

import pyarrow as pa

from projections.store import generations
from projections.store.clickhouse import Store
from projections.store.views import bounce_rows, message_rows
from schemas.errors import ConfigError, StoreError, StoreRefused

__all__ = ["Migration", "apply", "keep_contents", "known", "pending", "refuse_views", "views"]

_NAME: Final = re.compile(r"(\d{4})_(\w+)\.sql")
_VIEW: Final = re.compile(
    r"(?:CREATE|ALTER|DROP)\s+(?:OR\s+REPLACE\s+)?VIEW\s+(?:IF\s+(?:NOT\s+)?EXISTS\s+)?(\w+)", re.I
)
_OF_CODE: Final = {
    "{messages}": message_rows.view,
    "{message_events}": message_rows.timeline_rows,
    "{bounced_emails}": bounce_rows.rows,
    "{bounced_messages}": bounce_rows.messages,
    "{counted_rows}": message_rows.counted_rows,
}
"""What views have put in, since queries are made of the same."""
_COMMENT: Final = re.compile(r"^\s*--.*$", re.M)


@dataclass(frozen=True, slots=True)
class Migration:
    """One file: its number, name and statements. A view's number is 0."""

    version: int
    name: str
    checksum: str
    statements: tuple[str, ...]

    @property
    def path(self) -> str:
        """Its file."""
        if self.version:
            return f"projections/store/tables/{self.version:04}_{self.name}.sql"
        return f"projections/store/views/{self.name}.sql"


def views() -> list[Migration]:
    """Return the views that this release brings, each after those that it reads."""
    found = sorted(file.name[:-4] for file in files("projections.store.views").iterdir() if file.name.endswith(".sql"))
    by_name = {name: _read(0, name, files("projections.store.views") / f"{name}.sql") for name in found}
    reads = {name: [other for other in found if _reads(view, other)] for name, view in by_name.items()}
    return [by_name[name] for name in TopologicalSorter(reads).static_order()]


def _reads(view: Migration, other: str) -> bool:
    return any(re.search(rf"\b(?:FROM|JOIN)\s+{other}\b", statement) for statement in view.statements)


def known() -> list[Migration]:
    """Return the migrations that this release brings, in order.

    Raises ConfigError if a number stands twice, or if one makes a view that has a file of its own.
    """
    found = []
    for file in files("projections.store.tables").iterdir():
        if match := _NAME.fullmatch(file.name):
            found.append(_read(int(match[1]), match[2], file))
    found.sort(key=lambda m: m.version)
    if len({m.version for m in found}) != len(found):
        raise ConfigError("Two migrations have one number", "projections/store/tables", "Give the later one the next")
    for migration in found:
        refuse_views(migration)
    return found


def refuse_views(migration: Migration) -> None:
    """Raise ConfigError if a migration makes, changes or drops a view that has a file of its own."""
    of_files = {file.name.removesuffix(".sql") for file in files("projections.store.views").iterdir()}
    for statement in migration.statements:
        if (made := _VIEW.match(statement)) and made[1] in of_files:
            raise ConfigError(
                f"A migration is about the view {made[1]}, whose file would undo it",
                migration.path,
                f"Change projections/store/views/{made[1]}.sql alone: `sendledger migrate` makes the view anew",
            )


def _read(version: int, name: str, file: Traversable) -> Migration:
    text = file.read_text(encoding="utf-8")
    for placeholder, make in _OF_CODE.items():
        text = text.replace(placeholder, make())
    statements = (s.strip().removesuffix(";") for s in _COMMENT.sub("", text).split(";\n"))
    return Migration(version, name, sha256(text.encode()).hexdigest(), tuple(s for s in statements if s))


def pending(store: Store) -> list[Migration]:
    """Return the migrations and views that the database lacks.

    Raises ConfigError where an applied one has changed, or where a newer release has been at work: its rows may mean
    what this one does not know.
    """
    applied: dict[int, str] = _recorded(store, "schema_migrations", "version")
    refuse_newer(store.tables, applied, {migration.version for migration in known()}, "migration")
    lacking = []
    for migration in known():
        checksum = applied.get(migration.version)
        if checksum is None:
            lacking.append(migration)
        elif checksum != migration.checksum:
            raise ConfigError(
                f"Migration {migration.version:04} was applied and has changed since",
                migration.path,
                "Put the file back as it was, and add the change as a new one",
            )
    made: dict[str, str] = _recorded(store, "schema_views", "name")
    refuse_newer(store.tables, made, {view.name for view in views()}, "view")
    return lacking + [view for view in views() if lacking or made.get(view.name) != view.checksum]


def refuse_newer(database: str, applied: Iterable[Any], brought: Container[Any], kind: str) -> None:
    """Raise ConfigError if the database has what this release does not bring. A release that drops a view forgets it.

    (It deletes its row in `schema_views`, in the migration that drops it.)
    """
    if unknown := [str(name) for name in sorted(applied) if name not in brought]:
        raise ConfigError(
            f"A newer release has been here: it left {kind} {', '.join(unknown)}, which this one does not know",
            f"database {database}",
            "Run that release or a newer one, or give this one another database (of `up`: another --data-dir)",
        )


def _recorded(store: Store, table: str, key: str) -> dict[Any, str]:
    """What a table of ours says is applied: checksums by key; nothing where there is no such table yet."""
    present = store.tuples(
        "SELECT count() FROM system.tables WHERE database = {db:String} AND name = {table:String}",
        {"db": store.tables, "table": table},
    )[0][0]
    return dict(map(tuple, store.tuples(f"SELECT {key}, checksum FROM {table} FINAL"))) if present else {}  # noqa: S608
    # (names of our own)


def apply(store: Store) -> list[Migration]:
    """Create the databases if need be, apply what the store's generation lacks, and return that.

    The promised views show that generation afterwards, unless they show another: that is a switch's to do.
    Raises StoreError or StoreRefused, which name the file and the statement.
    """
    for database in (store.database, store.tables):
        store.command(f"CREATE DATABASE IF NOT EXISTS {database}")
    lacking = _pending_in_new(store)
    for migration in lacking:
        for number, statement in enumerate(migration.statements, 1):
            with _naming(migration, number, statement):
                store.command(statement, database=store.tables)
        record = {"name": [migration.name], "checksum": [migration.checksum]}
        if migration.version:
            record["version"] = pa.array([migration.version], pa.uint32())
        store.insert("schema_migrations" if migration.version else "schema_views", pa.table(record))
    now_shown = generations.shown(store)
    # Also where nothing was lacking: an apply before this one may have died between its views and the promised ones.
    if now_shown is None or store.tables_of(now_shown) == store.tables:
        generations.show(store, store.generation or generations.FIRST, [view.name for view in views()])
    return lacking


@contextmanager
def _naming(migration: Migration, number: int, statement: str) -> Iterator[None]:
    """Let an error say which statement of which file it is about."""
    try:
        yield
    except (StoreError, StoreRefused) as error:
        first_line = statement.partition("\n")[0][:100]
        where = f"{migration.path}, statement {number} ({first_line} …), at {error.where}"
        raise type(error)(error.what, where, error.mend) from error


def keep_contents(store: Store, days: int) -> bool:
    """Have what was sent deleted `days` days after its Date Sent; return whether that is new.

    Only the date in the key counts: so a copy that comes late lives no longer than the first.
    """
    engine = store.tuples(
        "SELECT engine_full FROM system.tables WHERE database = {db:String} AND name = 'contents'",
        {"db": store.tables},
    )[0][0]
    if f"toIntervalDay({days:d})" in engine:
        return False
    store.command(
        f"ALTER TABLE contents MODIFY TTL toDateTime(sent_at) + toIntervalDay({days:d})", database=store.tables
    )
    return True


def _pending_in_new(store: Store) -> list[Migration]:
    store.command(
        "CREATE TABLE IF NOT EXISTS schema_migrations"
        " (version UInt32, name String, checksum String, applied_at DateTime64(3, 'UTC') DEFAULT now64(3))"
        " ENGINE = ReplacingMergeTree ORDER BY version",
        database=store.tables,
    )
    store.command(
        "CREATE TABLE IF NOT EXISTS schema_views"
        " (name String, checksum String, applied_at DateTime64(3, 'UTC') DEFAULT now64(3))"
        " ENGINE = ReplacingMergeTree ORDER BY name",
        database=store.tables,
    )
    return pending(store)
