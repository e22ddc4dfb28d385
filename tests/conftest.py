"""Real services for the tests that ask for them: one Kafka and one ClickHouse endpoint for the whole session.

Nothing starts before the first test that asks, so `-m "not kafka and not clickhouse and not stack"` starts nothing.
"""

from collections.abc import AsyncIterator, Callable, Iterator
from urllib.parse import urlsplit
from uuid import uuid4

import clickhouse_connect
import pytest
from clickhouse_connect.driver.client import Client
from hypothesis import settings

from deploy.local.stack import Stack, local_stack
from tests.local.ports import free_port_base

# No assertion on elapsed time: a loaded machine is no failure.
settings.register_profile("sendledger", deadline=None)
settings.load_profile("sendledger")

NewClient = Callable[[], Client]


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
