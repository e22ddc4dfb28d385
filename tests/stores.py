"""Databases of a test's own in the session's ClickHouse endpoint, with all tables and views."""

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

from projections.store import Store, generations, migrate


def a_store(clickhouse_url: str) -> Store:
    """A store over an empty, migrated database; `drop` takes it away."""
    store = Store(clickhouse_url, database=f"test_{uuid4().hex[:12]}", generation=generations.FIRST)
    migrate.apply(store)
    return store


def drop(store: Store) -> None:
    """Drop the store's database and those of its generations."""
    for one in generations.generations(store):
        store.command(f"DROP DATABASE IF EXISTS {store.tables_of(one.number)}")
    store.command(f"DROP DATABASE IF EXISTS {store.database}")
    store.close()


@contextmanager
def fresh_store(clickhouse_url: str) -> Iterator[Store]:
    """A store over an empty, migrated database, which is dropped at the end."""
    store = a_store(clickhouse_url)
    try:
        yield store
    finally:
        drop(store)
