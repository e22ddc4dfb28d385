"""Apply migrations: numbered SQL files in order, each once; then recreate each view whose file has changed.

In:  `tables/NNNN_name.sql`, `views/name.sql`, and the list of applied files in the generation's database.
Out: the generation at the newest version, and the promised views (generations.py).

Safe to run twice, and in two processes at once: ClickHouse has no transactional DDL and no lock, so every statement is
idempotent (`IF NOT EXISTS`, `CREATE OR REPLACE`), which a test checks. A migration whose file changed after it was
applied is refused: add a new file instead. A view has no data, so it needs no history: its file, with placeholders
filled in by code in `views/`, is its definition. A migration that changes one of these views is refused, since the
view's file would overwrite it at once.
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

__all__ = ["Migration", "apply", "migrations", "pending", "refuse_views", "views"]

_NAME: Final = re.compile(r"(\d{4})_(\w+)\.sql")
_VIEW: Final = re.compile(
    r"(?:CREATE|ALTER|DROP)\s+(?:OR\s+REPLACE\s+)?VIEW\s+(?:IF\s+(?:NOT\s+)?EXISTS\s+)?(\w+)", re.I
)
_PLACEHOLDERS: Final = {
    "{messages}": message_rows.view,
    "{message_events}": message_rows.timeline_rows,
    "{bounced_emails}": bounce_rows.rows,
    "{bounced_messages}": bounce_rows.messages,
    "{counted_rows}": message_rows.counted_rows,
}
"""Placeholders in the view files, and the functions that fill them in; queries use the same functions."""
_COMMENT: Final = re.compile(r"^\s*--.*$", re.M)


@dataclass(frozen=True, slots=True)
class Migration:
    """One file: its number, name and statements. The number of a view is 0."""

    version: int
    name: str
    checksum: str
    statements: tuple[str, ...]

    @property
    def path(self) -> str:
        """The path of the file."""
        if self.version:
            return f"projections/store/tables/{self.version:04}_{self.name}.sql"
        return f"projections/store/views/{self.name}.sql"


def views() -> list[Migration]:
    """Return the views of this release, each after the views that it reads."""
    found = sorted(file.name[:-4] for file in files("projections.store.views").iterdir() if file.name.endswith(".sql"))
    by_name = {name: _read(0, name, files("projections.store.views") / f"{name}.sql") for name in found}
    reads = {name: [other for other in found if _reads(view, other)] for name, view in by_name.items()}
    return [by_name[name] for name in TopologicalSorter(reads).static_order()]


def _reads(view: Migration, other: str) -> bool:
    return any(re.search(rf"\b(?:FROM|JOIN)\s+{other}\b", statement) for statement in view.statements)


def migrations() -> list[Migration]:
    """Return the migrations of this release, in order.

    Raises ConfigError if two have the same number, or if one changes a view that has a file of its own.
    """
    found = []
    for file in files("projections.store.tables").iterdir():
        if match := _NAME.fullmatch(file.name):
            found.append(_read(int(match[1]), match[2], file))
    found.sort(key=lambda m: m.version)
    if len({m.version for m in found}) != len(found):
        raise ConfigError(
            "Two migrations have the same number", "projections/store/tables", "Give the later one the next number"
        )
    for migration in found:
        refuse_views(migration)
    return found


def refuse_views(migration: Migration) -> None:
    """Raise ConfigError if a migration creates, changes or drops a view that has a file of its own."""
    view_names = {file.name.removesuffix(".sql") for file in files("projections.store.views").iterdir()}
    for statement in migration.statements:
        if (made := _VIEW.match(statement)) and made[1] in view_names:
            raise ConfigError(
                f"A migration changes the view {made[1]}, whose own file would overwrite the change",
                migration.path,
                f"Change only projections/store/views/{made[1]}.sql: `sendledger migrate` recreates the view from it",
            )


def _read(version: int, name: str, file: Traversable) -> Migration:
    text = file.read_text(encoding="utf-8")
    for placeholder, make in _PLACEHOLDERS.items():
        text = text.replace(placeholder, make())
    statements = (s.strip().removesuffix(";") for s in _COMMENT.sub("", text).split(";\n"))
    return Migration(version, name, sha256(text.encode()).hexdigest(), tuple(s for s in statements if s))


def pending(store: Store) -> list[Migration]:
    """Return the migrations and views that are not applied yet.

    Raises ConfigError if the file of an applied migration has changed, or if a newer release migrated this database:
    its rows may have a meaning that this release does not know.
    """
    applied: dict[int, str] = _recorded(store, "schema_migrations", "version")
    refuse_newer(store.tables, applied, {migration.version for migration in migrations()}, "migration")
    missing = []
    for migration in migrations():
        checksum = applied.get(migration.version)
        if checksum is None:
            missing.append(migration)
        elif checksum != migration.checksum:
            raise ConfigError(
                f"Migration {migration.version:04} was applied and has changed since",
                migration.path,
                "Restore the file, and put the change into a new migration",
            )
    made: dict[str, str] = _recorded(store, "schema_views", "name")
    refuse_newer(store.tables, made, {view.name for view in views()}, "view")
    return missing + [view for view in views() if missing or made.get(view.name) != view.checksum]


def refuse_newer(database: str, applied: Iterable[Any], known: Container[Any], kind: str) -> None:
    """Raise ConfigError if something is applied that this release does not have.

    A release that drops a view must also delete its row in `schema_views`, in the same migration.
    """
    if unknown := [str(name) for name in sorted(applied) if name not in known]:
        raise ConfigError(
            f"A newer release migrated this database: this release does not know its {kind} {', '.join(unknown)}",
            f"database {database}",
            "Run that release or a newer one, or use another database (with `up`: another --data-dir)",
        )


def _recorded(store: Store, table: str, key: str) -> dict[Any, str]:
    """Return the applied checksums by key, from one of our own tables; empty if it does not exist yet."""
    present = store.tuples(
        "SELECT count() FROM system.tables WHERE database = {db:String} AND name = {table:String}",
        {"db": store.tables, "table": table},
    )[0][0]
    return dict(map(tuple, store.tuples(f"SELECT {key}, checksum FROM {table} FINAL"))) if present else {}  # noqa: S608
    # (our own names)


def apply(store: Store) -> list[Migration]:
    """Create the databases if they don't exist, apply what is pending in the store's generation, and return that.

    Afterwards the promised views show this generation, unless they already show another: only a switch changes that.
    Raises StoreError or StoreRefused, which name the file and the statement.
    """
    for database in (store.database, store.tables):
        store.define(f"CREATE DATABASE IF NOT EXISTS {database}")
    missing = _pending_in_new(store)
    for migration in missing:
        for number, statement in enumerate(migration.statements, 1):
            with _located(migration, number, statement):
                store.define(statement)
        record: dict[str, Any] = {"name": [migration.name], "checksum": [migration.checksum]}
        if migration.version:
            record["version"] = pa.array([migration.version], pa.uint32())
        store.insert("schema_migrations" if migration.version else "schema_views", pa.table(record))
    now_shown = generations.shown(store)
    if now_shown is None or (
        store.tables_of(now_shown) == store.tables and (missing or not _has_promised_views(store))
    ):
        generations.show(store, store.generation or generations.FIRST, [view.name for view in views()])
    return missing


def _has_promised_views(store: Store) -> bool:
    """Whether all views and the pointer are there: an earlier run may have died before it created them."""
    if generations.pointer(store) is None:
        return False
    rows = store.tuples("SELECT name FROM system.tables WHERE database = {db:String}", {"db": store.database})
    return {view.name for view in views()} <= {name for (name,) in rows}


@contextmanager
def _located(migration: Migration, number: int, statement: str) -> Iterator[None]:
    """Add the file and the statement to an error."""
    try:
        yield
    except (StoreError, StoreRefused) as error:
        first_line = statement.partition("\n")[0][:100]
        where = f"{migration.path}, statement {number} ({first_line} …), at {error.where}"
        raise type(error)(error.what, where, error.mend) from error


def _pending_in_new(store: Store) -> list[Migration]:
    store.define(
        "CREATE TABLE IF NOT EXISTS schema_migrations"
        " (version UInt32, name String, checksum String, applied_at DateTime64(3, 'UTC') DEFAULT now64(3))"
        " ENGINE = ReplacingMergeTree ORDER BY version",
    )
    store.define(
        "CREATE TABLE IF NOT EXISTS schema_views"
        " (name String, checksum String, applied_at DateTime64(3, 'UTC') DEFAULT now64(3))"
        " ENGINE = ReplacingMergeTree ORDER BY name",
    )
    return pending(store)
