"""The command that makes topics: what it makes, and what it says when it can't."""

import pytest
from aiokafka.admin import AIOKafkaAdminClient

from processors.topics import make_topics
from schemas.errors import BrokerError, ConfigError
from schemas.settings import TopicSettings, read
from schemas.topics import ALL, SUPPRESSIONS_CHANGED
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
    await make_topics(settings)
    assert {topic.name for topic in ALL} <= await Topics(kafka_bootstrap).names()
    await remove(kafka_bootstrap, SUPPRESSIONS_CHANGED.name)
    assert await make_topics(settings) == [SUPPRESSIONS_CHANGED.name]
    assert await make_topics(settings) == []


async def test_more_copies_than_brokers_are_refused_and_nothing_is_said_to_be_made(kafka_bootstrap: str) -> None:
    await make_topics(read(TopicSettings, kafka_bootstrap=kafka_bootstrap))
    await remove(kafka_bootstrap, SUPPRESSIONS_CHANGED.name)
    with pytest.raises(ConfigError, match="SENDLEDGER_REPLICATION"):
        await make_topics(read(TopicSettings, kafka_bootstrap=kafka_bootstrap, replication=3))
    assert SUPPRESSIONS_CHANGED.name not in await Topics(kafka_bootstrap).names()
    await make_topics(read(TopicSettings, kafka_bootstrap=kafka_bootstrap))


async def test_a_kafka_that_is_away_is_said_to_be() -> None:
    with pytest.raises(BrokerError):
        await make_topics(read(TopicSettings, kafka_bootstrap=f"127.0.0.1:{free_port_base()}"))
