"""The topics of the contract, made where they are missing.

In:  `schemas.topics`, partition count and replication from settings.
Out: topics that exist, with their retention; what exists already is left alone.
"""

from collections.abc import Iterator

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import InvalidReplicationFactorError, KafkaError, TopicAlreadyExistsError, for_code

from processors.engine import keyed_topics
from schemas.errors import BrokerError, ConfigError
from schemas.settings import TopicSettings
from schemas.topics import ALL, GATE_INTERNAL, INTERNAL_RETENTION_DAYS

__all__ = ["make_topics"]

_REQUEST_TIMEOUT_MS = 10_000
"""Somebody waits for the command: a broker that is silent for so long is away."""


async def make_topics(settings: TopicSettings) -> list[str]:
    """Create the topics that are missing and return their names. Safe to run by several processes at once.

    Raises BrokerError where Kafka is away or refuses, ConfigError where it has fewer brokers than copies are asked for.
    """
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap, request_timeout_ms=_REQUEST_TIMEOUT_MS)
    try:
        await admin.start()
        existing = set(await admin.list_topics())
        return [new.name for new in _needed(settings) if new.name not in existing and await _make(admin, new)]
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


def _needed(settings: TopicSettings) -> Iterator[NewTopic]:
    """Every topic of the contract, then those of the gate's own, whose partition counts are fixed at birth."""
    for topic in ALL:
        configuration = topic.configuration(settings.content_retention_days)
        yield NewTopic(topic.name, settings.partitions, settings.replication, topic_configs=configuration)
    kept = {**ALL[0].configuration(1), "retention.ms": str(INTERNAL_RETENTION_DAYS * 86_400_000)}
    for internal in GATE_INTERNAL:
        for need in keyed_topics(internal.name, internal.changelog, settings.partitions, source_config=kept):
            yield NewTopic(need.name, need.partitions, settings.replication, topic_configs=dict(need.config))


async def _make(admin: AIOKafkaAdminClient, new: NewTopic) -> bool:
    """Create one topic. False where another process was faster. Raises KafkaError."""
    answer = await admin.create_topics([new])
    for name, code, *_ in answer.topic_errors:  # the client raises nothing by itself
        if code == TopicAlreadyExistsError.errno:
            return False
        if code:
            raise for_code(code)(name)
    return True
