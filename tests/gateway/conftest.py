"""A client of the gateway over an empty database."""

from collections.abc import AsyncIterator

import httpx
import pytest

from projections.store import Store
from tests.fakes import FakeKafka
from tests.gateway.building import a_caller, a_token


@pytest.fixture
async def client(store: Store) -> AsyncIterator[httpx.AsyncClient]:
    """One with a viewer's token of the account `acme`."""
    async with a_caller(FakeKafka(), a_token("acme", role="viewer"), store) as made:
        yield made
