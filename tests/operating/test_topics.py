"""The command that creates topics: what it creates, and its errors."""

import pytest
from aiokafka.admin import AIOKafkaAdminClient

from processors.kafka.topics import create_topics
from schemas.errors import BrokerError, ConfigError
from schemas.settings import TopicSettings, read
from schemas.topics import ALL_TOPICS, SUPPRESSIONS_CHANGED
from tests.engine.topics import Topics
from tests.local.ports import free_port_base
from tests.local.waiting import until

pytestmark = pytest.mark.kafka


async def remove(bootstrap: str, topic: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    await admin.delete_topics([topic])
    await admin.close()

    async def gone() -> bool:
        return topic not in await Topics(bootstrap).names()

    await until(gone, "the broker to have deleted the topic")


async def test_what_is_missing_is_made_and_named_once(kafka_bootstrap: str) -> None:
    settings = read(TopicSettings, kafka_bootstrap=kafka_bootstrap)
    await create_topics(settings)
    assert {topic.name for topic in ALL_TOPICS} <= await Topics(kafka_bootstrap).names()
    await remove(kafka_bootstrap, SUPPRESSIONS_CHANGED.name)
    assert await create_topics(settings) == [SUPPRESSIONS_CHANGED.name]
    assert await create_topics(settings) == []


async def test_more_replicas_than_brokers_are_refused_and_no_topic_is_reported_as_created(kafka_bootstrap: str) -> None:
    await create_topics(read(TopicSettings, kafka_bootstrap=kafka_bootstrap))
    await remove(kafka_bootstrap, SUPPRESSIONS_CHANGED.name)
    with pytest.raises(ConfigError, match="SENDLEDGER_REPLICATION"):
        await create_topics(read(TopicSettings, kafka_bootstrap=kafka_bootstrap, replication=3))
    assert SUPPRESSIONS_CHANGED.name not in await Topics(kafka_bootstrap).names()
    await create_topics(read(TopicSettings, kafka_bootstrap=kafka_bootstrap))


async def test_an_unreachable_kafka_is_reported() -> None:
    with pytest.raises(BrokerError):
        await create_topics(read(TopicSettings, kafka_bootstrap=f"127.0.0.1:{free_port_base()}"))
