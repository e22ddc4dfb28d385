"""Opens ClickHouse for one command, with progress on stderr, and closes it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from urllib.parse import urlsplit

from cli.progress import waiting_for
from projections.store import Store
from projections.store.generations import ShownStore
from schemas.settings import StoreSettings

__all__ = ["make_store", "open_store", "where"]

_ANSWERS_WITHIN_SECONDS: Final = 30


def make_store(settings: StoreSettings, *, timeout_seconds: int = _ANSWERS_WITHIN_SECONDS) -> Store:
    """Return the store of the settings. Raises ConfigError."""
    return ShownStore.of(settings, timeout_seconds=timeout_seconds)


@contextmanager
def open_store(settings: StoreSettings, *, timeout_seconds: int = _ANSWERS_WITHIN_SECONDS) -> Iterator[Store]:
    """The store of the settings, while the block runs. Raises ConfigError."""
    store = make_store(settings, timeout_seconds=timeout_seconds)
    try:
        with waiting_for(where(settings)):
            yield store
    finally:
        store.close()


def where(settings: StoreSettings) -> str:
    """Return the server's name for progress lines, without user and password. `make_store` has validated the URL."""
    parts = urlsplit(settings.clickhouse_url.get_secret_value())
    return f"ClickHouse at {parts.hostname}" + (f":{parts.port}" if parts.port else "")
