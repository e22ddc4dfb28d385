"""The topics of the contract, made where they are missing.

In:  `schemas.topics`, partition count and replication from settings.
Out: topics that exist, with their retention; what exists already is left alone.
"""

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import InvalidReplicationFactorError, KafkaError, TopicAlreadyExistsError, for_code

from schemas.errors import BrokerError, ConfigError
from schemas.settings import TopicSettings
from schemas.topics import ALL, Topic

__all__ = ["make_topics"]


async def make_topics(settings: TopicSettings) -> list[str]:
    """Create the topics that are missing and return their names. Safe to run by several processes at once.

    Raises BrokerError where Kafka is away or refuses, ConfigError where it has fewer brokers than copies are asked for.
    """
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap)
    try:
        await admin.start()
        existing = set(await admin.list_topics())
        return [topic.name for topic in ALL if topic.name not in existing and await _make(admin, topic, settings)]
    except InvalidReplicationFactorError as error:
        raise ConfigError(
            f"Kafka has fewer brokers than the {settings.replication} copies that are asked for",
            "SENDLEDGER_REPLICATION",
            "Lower it, or add brokers",
        ) from error
    except KafkaError as error:
        raise BrokerError(
            f"Kafka does not make the topics: {type(error).__name__}",
            settings.kafka_bootstrap,
            "Start it, and try again",
        ) from error
    finally:
        await admin.close()


async def _make(admin: AIOKafkaAdminClient, topic: Topic, settings: TopicSettings) -> bool:
    """Create one topic. False where another process was faster. Raises KafkaError."""
    configuration = topic.configuration(settings.content_retention_days)
    new = NewTopic(topic.name, settings.partitions, settings.replication, topic_configs=configuration)
    answer = await admin.create_topics([new])
    for name, code, *_ in answer.topic_errors:  # the client raises nothing by itself
        if code == TopicAlreadyExistsError.errno:
            return False
        if code:
            raise for_code(code)(name)
    return True
