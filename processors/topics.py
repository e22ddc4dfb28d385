"""The topics of the contract, made where they are missing.

In:  `schemas.topics`, partition count and replication from settings.
Out: topics that exist, with their retention; what exists already is left alone.
"""

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, TopicAlreadyExistsError

from schemas.errors import BrokerError
from schemas.settings import TopicSettings
from schemas.topics import ALL, MAX_RECORD_BYTES, Topic

__all__ = ["make_topics"]

_DAY_MS = 86_400_000
_FRAME_BYTES = 64 * 1024


async def make_topics(settings: TopicSettings) -> list[str]:
    """Create the topics that are missing and return their names. Safe to run by several processes at once."""
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap)
    try:
        await admin.start()
        existing = set(await admin.list_topics())
        missing = [topic for topic in ALL if topic.name not in existing]
        made = []
        for topic in missing:
            new = NewTopic(
                topic.name, settings.partitions, settings.replication, topic_configs=_configuration(topic, settings)
            )
            try:
                await admin.create_topics([new])
            except TopicAlreadyExistsError:
                continue  # another process was faster
            made.append(topic.name)
    except KafkaError as error:
        raise BrokerError(
            f"Kafka does not make the topics: {type(error).__name__}",
            settings.kafka_bootstrap,
            "Start it, and try again",
        ) from error
    finally:
        await admin.close()
    return made


def _configuration(topic: Topic, settings: TopicSettings) -> dict[str, str]:
    retention_ms = settings.content_retention_days * _DAY_MS if topic.cleanup == "content" else -1
    return {
        "cleanup.policy": "delete",
        "retention.ms": str(retention_ms),
        "retention.bytes": "-1",
        "max.message.bytes": str(MAX_RECORD_BYTES + _FRAME_BYTES),
        # Times of records are the log's, not the senders': "ahead" and "old" are measured from them.
        "message.timestamp.type": "LogAppendTime",
    }
