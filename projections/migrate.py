"""Numbered SQL files, applied in order, each once; then the views, each made anew whenever its file has changed.

In:  `migrations/NNNN_name.sql`, `views/name.sql`, and what the database says is applied.
Out: the database at the newest version.

Safe to run twice and by two processes at once: ClickHouse has no transaction over DDL and no lock, so every statement
is written to do nothing where its work is done (`IF NOT EXISTS`, `CREATE OR REPLACE`), which a test checks. A migration
that was applied and has changed since is refused: history is mended by a new file. A view holds nothing, so it has no
history: its file is what it is.
"""

import re
from dataclasses import dataclass
from graphlib import TopologicalSorter
from hashlib import sha256
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any, Final

import pyarrow as pa

from projections.store import Store
from schemas.errors import ConfigError

__all__ = ["Migration", "apply", "keep_contents", "known", "pending", "views"]

_NAME: Final = re.compile(r"(\d{4})_(\w+)\.sql")
_COMMENT: Final = re.compile(r"^\s*--.*$", re.M)


@dataclass(frozen=True, slots=True)
class Migration:
    """One file: its number, name and statements. A view's number is 0."""

    version: int
    name: str
    checksum: str
    statements: tuple[str, ...]


def views() -> list[Migration]:
    """Return the views that this release brings, each after those that it reads."""
    found = sorted(file.name[:-4] for file in files("projections.views").iterdir() if file.name.endswith(".sql"))
    by_name = {name: _read(0, name, files("projections.views") / f"{name}.sql") for name in found}
    reads = {name: [other for other in found if _reads(view, other)] for name, view in by_name.items()}
    return [by_name[name] for name in TopologicalSorter(reads).static_order()]


def _reads(view: Migration, other: str) -> bool:
    return any(re.search(rf"\b(?:FROM|JOIN)\s+{other}\b", statement) for statement in view.statements)


def known() -> list[Migration]:
    """Return the migrations that this release brings, in order. Raises ConfigError if a number stands twice."""
    found = []
    for file in files("projections.migrations").iterdir():
        if match := _NAME.fullmatch(file.name):
            found.append(_read(int(match[1]), match[2], file))
    found.sort(key=lambda m: m.version)
    if len({m.version for m in found}) != len(found):
        raise ConfigError("Two migrations have one number", "projections/migrations", "Give the later one the next")
    return found


def _read(version: int, name: str, file: Traversable) -> Migration:
    text = file.read_text(encoding="utf-8")
    statements = (s.strip().removesuffix(";") for s in _COMMENT.sub("", text).split(";\n"))
    return Migration(version, name, sha256(text.encode()).hexdigest(), tuple(s for s in statements if s))


def pending(store: Store) -> list[Migration]:
    """Return the migrations and views that the database lacks. Raises ConfigError where an applied one has changed."""
    applied: dict[int, str] = _recorded(store, "schema_migrations", "version")
    lacking = []
    for migration in known():
        checksum = applied.get(migration.version)
        if checksum is None:
            lacking.append(migration)
        elif checksum != migration.checksum:
            raise ConfigError(
                f"Migration {migration.version:04} was applied and has changed since",
                f"projections/migrations/{migration.version:04}_{migration.name}.sql",
                "Put the file back as it was, and add the change as a new one",
            )
    made: dict[str, str] = _recorded(store, "schema_views", "name")
    return lacking + [view for view in views() if lacking or made.get(view.name) != view.checksum]


def _recorded(store: Store, table: str, key: str) -> dict[Any, str]:
    """What a table of ours says is applied: checksums by key; nothing where there is no such table yet."""
    present = store.tuples(
        "SELECT count() FROM system.tables WHERE database = {db:String} AND name = {table:String}",
        {"db": store.database, "table": table},
    )[0][0]
    return dict(map(tuple, store.tuples(f"SELECT {key}, checksum FROM {table} FINAL"))) if present else {}  # noqa: S608
    # (names of our own)


def apply(store: Store) -> list[Migration]:
    """Create the database if need be, apply what is pending, and return that."""
    store.command(f"CREATE DATABASE IF NOT EXISTS {store.database}")
    lacking = _pending_in_new(store)
    for migration in lacking:
        for statement in migration.statements:
            store.command(statement, database=store.database)
        record = {"name": [migration.name], "checksum": [migration.checksum]}
        if migration.version:
            record["version"] = pa.array([migration.version], pa.uint32())
        store.insert("schema_migrations" if migration.version else "schema_views", pa.table(record))
    return lacking


def keep_contents(store: Store, days: int) -> bool:
    """Have what was sent deleted `days` days after its Date Sent; return whether that is new.

    Only the date in the key counts: so a copy that comes late lives no longer than the first.
    """
    engine = store.tuples(
        "SELECT engine_full FROM system.tables WHERE database = {db:String} AND name = 'contents'",
        {"db": store.database},
    )[0][0]
    if f"toIntervalDay({days:d})" in engine:
        return False
    store.command(
        f"ALTER TABLE contents MODIFY TTL toDateTime(sent_at) + toIntervalDay({days:d})", database=store.database
    )
    return True


def _pending_in_new(store: Store) -> list[Migration]:
    store.command(
        "CREATE TABLE IF NOT EXISTS schema_migrations"
        " (version UInt32, name String, checksum String, applied_at DateTime64(3, 'UTC') DEFAULT now64(3))"
        " ENGINE = ReplacingMergeTree ORDER BY version",
        database=store.database,
    )
    store.command(
        "CREATE TABLE IF NOT EXISTS schema_views"
        " (name String, checksum String, applied_at DateTime64(3, 'UTC') DEFAULT now64(3))"
        " ENGINE = ReplacingMergeTree ORDER BY name",
        database=store.database,
    )
    return pending(store)
