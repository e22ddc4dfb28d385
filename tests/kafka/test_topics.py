"""The topics are created once, are usable on return, and Kafka's refusals are told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient

from processors.kafka import topics as module
from processors.kafka.topics import create_topics
from schemas.errors import BrokerError, ConfigError
from schemas.settings import TopicSettings
from schemas.topics import ALL_TOPICS
from tests.engine.broker import private_broker

pytestmark = pytest.mark.kafka

NAMES = {topic.name for topic in ALL_TOPICS}


@pytest.fixture
async def bootstrap(tmp_path: Path) -> AsyncIterator[str]:
    async with private_broker(tmp_path) as broker:
        yield broker.bootstrap


async def listed(bootstrap: str) -> set[str]:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    try:
        await admin.start()
        return set(await admin.list_topics())
    finally:
        await admin.close()


async def test_several_processes_at_once_make_each_topic_once(bootstrap: str) -> None:
    made = await asyncio.gather(*(create_topics(TopicSettings(kafka_bootstrap=bootstrap)) for _ in range(4)))
    names = [name for some in made for name in some]
    assert len(names) == len(set(names))
    assert set(names) >= NAMES
    assert await create_topics(TopicSettings(kafka_bootstrap=bootstrap)) == []


async def test_every_topic_is_listed_on_return(bootstrap: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker may follow its controller late: here it lists nothing in its first three answers."""
    answers = 0
    list_topics = AIOKafkaAdminClient.list_topics

    async def late(admin: AIOKafkaAdminClient) -> list[str]:
        nonlocal answers
        answers += 1
        return [] if answers < 4 else await list_topics(admin)

    monkeypatch.setattr(AIOKafkaAdminClient, "list_topics", late)
    assert set(await create_topics(TopicSettings(kafka_bootstrap=bootstrap))) >= NAMES
    assert answers >= 4


async def test_topics_that_stay_unlisted_are_an_error(bootstrap: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(_admin: AIOKafkaAdminClient) -> list[str]:
        return []

    monkeypatch.setattr(module, "_VISIBLE_SECONDS", 0.2)
    monkeypatch.setattr(AIOKafkaAdminClient, "list_topics", nothing)
    with pytest.raises(BrokerError, match="does not list them all") as error:
        await create_topics(TopicSettings(kafka_bootstrap=bootstrap))
    assert error.value.where == bootstrap
    monkeypatch.undo()
    assert await listed(bootstrap) >= NAMES


async def test_more_replicas_than_brokers_are_a_fault_of_the_settings(bootstrap: str) -> None:
    with pytest.raises(ConfigError, match="fewer brokers than the replication factor 3"):
        await create_topics(TopicSettings(kafka_bootstrap=bootstrap, replication=3))
    assert await listed(bootstrap) == set()
