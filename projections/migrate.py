"""Numbered SQL files, applied in order, each once.

In:  `migrations/NNNN_name.sql`, and what the database says is applied.
Out: the database at the newest version.

Safe to run twice and by two processes at once: ClickHouse has no transaction over DDL and no lock, so every statement
is written to do nothing where its work is done (`IF NOT EXISTS`, `CREATE OR REPLACE`), which a test checks. A file
that was applied and has changed since is refused: history is mended by a new file.
"""

import re
from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files
from typing import Final

import pyarrow as pa

from projections.store import Store
from schemas.errors import ConfigError

__all__ = ["Migration", "apply", "known", "pending"]

_NAME: Final = re.compile(r"(\d{4})_(\w+)\.sql")
_COMMENT: Final = re.compile(r"^\s*--.*$", re.M)


@dataclass(frozen=True, slots=True)
class Migration:
    """One file: its number, name and statements."""

    version: int
    name: str
    checksum: str
    statements: tuple[str, ...]


def known() -> list[Migration]:
    """Return the migrations that this release brings, in order. Raises ConfigError if a number stands twice."""
    found = []
    for file in files("projections.migrations").iterdir():
        if match := _NAME.fullmatch(file.name):
            text = file.read_text(encoding="utf-8")
            statements = (s.strip() for s in _COMMENT.sub("", text).split(";\n"))
            checksum = sha256(text.encode()).hexdigest()
            found.append(Migration(int(match[1]), match[2], checksum, tuple(s for s in statements if s)))
    found.sort(key=lambda m: m.version)
    if len({m.version for m in found}) != len(found):
        raise ConfigError("Two migrations have one number", "projections/migrations", "Give the later one the next")
    return found


def pending(store: Store) -> list[Migration]:
    """Return the migrations that the database lacks. Raises ConfigError where an applied one has changed."""
    present = store.tuples(
        "SELECT count() FROM system.tables WHERE database = {db:String} AND name = 'schema_migrations'",
        {"db": store.database},
    )[0][0]
    applied: dict[int, str] = (
        dict(map(tuple, store.tuples("SELECT version, checksum FROM schema_migrations FINAL"))) if present else {}
    )
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
    return lacking


def apply(store: Store) -> list[Migration]:
    """Create the database if need be, apply what is pending, and return that."""
    store.command(f"CREATE DATABASE IF NOT EXISTS {store.database}")
    lacking = _pending_in_new(store)
    for migration in lacking:
        for statement in migration.statements:
            store.command(statement, database=store.database)
        store.insert(
            "schema_migrations",
            pa.table(
                {
                    "version": pa.array([migration.version], pa.uint32()),
                    "name": [migration.name],
                    "checksum": [migration.checksum],
                }
            ),
        )
    return lacking


def _pending_in_new(store: Store) -> list[Migration]:
    store.command(
        "CREATE TABLE IF NOT EXISTS schema_migrations"
        " (version UInt32, name String, checksum String, applied_at DateTime64(3, 'UTC') DEFAULT now64(3))"
        " ENGINE = ReplacingMergeTree ORDER BY version",
        database=store.database,
    )
    return pending(store)
