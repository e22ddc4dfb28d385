"""A producer that has lost its Kafka."""

from collections.abc import AsyncIterator

import pytest

from processors.kafka import Producer
from tests.engine.broker import private_broker


@pytest.fixture(scope="module")
async def lost(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Producer]:
    """A producer that was started, and whose broker was killed then."""
    async with private_broker(tmp_path_factory.mktemp("lost")) as broker:
        producer = Producer(broker.bootstrap, acknowledged_within_seconds=0.5)
        await producer.start()
    yield producer
    await producer.stop()
