"""ClickHouse for one command: opened, waited for with a word on stderr, closed."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from urllib.parse import urlsplit

from cli.progress import waiting_for
from projections.store import Store
from projections.store.generations import ShownStore
from schemas.settings import StoreSettings

__all__ = ["opened", "store_of", "where"]

_ANSWERS_WITHIN_SECONDS: Final = 30


def store_of(settings: StoreSettings, *, timeout_seconds: int = _ANSWERS_WITHIN_SECONDS) -> Store:
    """Return the store of the settings. Raises ConfigError."""
    url = settings.clickhouse_url.get_secret_value()
    return ShownStore(url, database=settings.clickhouse_database, timeout_seconds=timeout_seconds)


@contextmanager
def opened(settings: StoreSettings, *, timeout_seconds: int = _ANSWERS_WITHIN_SECONDS) -> Iterator[Store]:
    """The store of the settings, for as long as the block runs. Raises ConfigError."""
    store = store_of(settings, timeout_seconds=timeout_seconds)
    try:
        with waiting_for(where(settings)):
            yield store
    finally:
        store.close()


def where(settings: StoreSettings) -> str:
    """Return whose answer is waited for: never the user or the password. The URL is one that `store_of` took."""
    parts = urlsplit(settings.clickhouse_url.get_secret_value())
    return f"ClickHouse at {parts.hostname}" + (f":{parts.port}" if parts.port else "")
