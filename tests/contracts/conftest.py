"""A producer that has lost its Kafka."""

from collections.abc import AsyncIterator

import pytest

from processors.kafka import Producer
from tests.engine.broker import PrivateBroker, free_ports


@pytest.fixture(scope="module")
async def lost(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Producer]:
    """A producer that was started, and whose broker was killed then."""
    broker = PrivateBroker(tmp_path_factory.mktemp("lost"), *free_ports(2))
    await broker.start()
    producer = Producer(broker.bootstrap, acknowledged_within_seconds=0.5)
    await producer.start()
    await broker.kill()
    yield producer
    await producer.stop()
