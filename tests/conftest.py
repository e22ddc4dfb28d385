"""Real services for the tests that ask for them: one Kafka and one ClickHouse endpoint for the whole session.

Nothing starts before the first test that asks, so `make test-fast`, which leaves out all tests with such marks, starts
nothing.
"""

import re
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import clickhouse_connect
import pytest
from clickhouse_connect.driver.client import Client
from hypothesis import settings

from deploy.local.stack import Stack, local_stack
from projections.store import Store
from tests.local.ports import free_port_base
from tests.stores import fresh_store

# No assertion on elapsed time: a loaded machine is no failure.
settings.register_profile("sendledger", deadline=None)
# Of `make test-fast`, for the moments between two changes; the full count is `make test`'s.
settings.register_profile("fast", deadline=None, max_examples=10)
settings.load_profile("sendledger")

NewClient = Callable[[], Client]

# Values that the clock or chance may have made: a test must have the same name in each of the processes of one run.
_OF_ITS_MOMENT = re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-|\d{4}-\d\d-\d\dT\d\d|\d{10}", re.I)


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name a parameter by its place where its value is one of this moment; None leaves the name to pytest."""
    text = val if isinstance(val, bytes) else str(val).encode() if isinstance(val, str | int | float) else b""
    return argname if _OF_ITS_MOMENT.search(text) else None


# The longest files first, so that no worker of pytest-xdist is left with one of them at the end.
_LONGEST_FIRST = ("stack", "kafka", "process", "clickhouse")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files that start most before those that start less; the order within a file stays."""

    def place(item: pytest.Item) -> int:
        marked = [n for n, mark in enumerate(_LONGEST_FIRST) if item.get_closest_marker(mark)]
        return min(marked, default=len(_LONGEST_FIRST))

    of_file: dict[Path, int] = {}
    for item in items:
        of_file[item.path] = min(place(item), of_file.get(item.path, len(_LONGEST_FIRST)))
    items.sort(key=lambda item: of_file[item.path])


@pytest.fixture(scope="session")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """Kafka and the ClickHouse endpoint, empty, on free ports."""
    async with local_stack(tmp_path_factory.mktemp("stack"), free_port_base()) as running:
        yield running


@pytest.fixture(scope="session")
def kafka_bootstrap(stack: Stack) -> str:
    """`host:port` of the session's broker. Name topics and groups uniquely: everybody shares it."""
    return stack.kafka_bootstrap


@pytest.fixture(scope="session")
def clickhouse_url(stack: Stack) -> str:
    """The session's endpoint. Make a database of your own in it, or take `clickhouse_database`."""
    return stack.clickhouse_url


@pytest.fixture(scope="module")
def store(clickhouse_url: str) -> Iterator[Store]:
    """An empty, migrated database for the tests of a file; a file that wants rows in it overrides this fixture."""
    with fresh_store(clickhouse_url) as made:
        yield made


@pytest.fixture
def account() -> str:
    """An account of the test's own."""
    return f"acct-{uuid4().hex[:12]}"


@pytest.fixture
def clickhouse_database(clickhouse_url: str) -> Iterator[tuple[NewClient, str]]:
    """A fresh database: a function that makes clients of it, and its name. Dropped after the test."""
    name = f"test_{uuid4().hex[:12]}"
    where = urlsplit(clickhouse_url)
    clients: list[Client] = []

    def client(database: str = name) -> Client:
        made = clickhouse_connect.get_client(host=where.hostname, port=where.port, database=database)
        clients.append(made)
        return made

    client("default").command(f"CREATE DATABASE {name}")
    yield client, name
    clients[0].command(f"DROP DATABASE {name} SYNC")
    for made in clients:
        made.close()
