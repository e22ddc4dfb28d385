"""A separate Kafka with our topics, for tests that must not see the records of others."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from processors.kafka.topics import create_topics
from schemas.settings import TopicSettings, read
from tests.engine.broker import private_broker

__all__ = ["broker_with_topics"]


@asynccontextmanager
async def broker_with_topics(folder: Path, **settings: Any) -> AsyncIterator[str]:
    """Yield the `host:port` of a broker with our topics, which runs while the block does."""
    async with private_broker(folder) as broker:
        await create_topics(read(TopicSettings, kafka_bootstrap=broker.bootstrap, **settings))
        yield broker.bootstrap
