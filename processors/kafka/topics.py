"""Create the topics that are missing.

In:  `schemas.topics`; partition count and replication from the settings.
Out: topics with their retention, and with three replicas or more `min.insync.replicas=2`. Existing topics are not
     changed.
"""

import asyncio
from collections.abc import Iterator, Sequence

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import InvalidReplicationFactorError, KafkaError, TopicAlreadyExistsError, for_code

from processors.engine import keyed_topics
from processors.kafka.diagnosis import connection_error
from schemas.errors import BrokerError, ConfigError
from schemas.kafka_connection import KafkaAddress, client_arguments
from schemas.settings import TopicSettings
from schemas.topics import ALL_TOPICS, GATE_INTERNAL, INTERNAL_RETENTION_DAYS

__all__ = ["create_topics"]

_REQUEST_TIMEOUT_MS = 10_000
"""Somebody waits for the command, so a broker that does not answer for this long counts as unavailable."""

MIN_IN_SYNC = 2
_VISIBLE_SECONDS = 60
_POLL_SECONDS = 0.05


async def create_topics(settings: TopicSettings) -> list[str]:
    """Create the topics that are missing and return their names. Safe to run by several processes at once.

    On return the broker that was asked lists them all. The controller answers first, and a broker with a slow disk
    follows seconds later: until then its clients are told that a topic does not exist.

    Raises BrokerError if Kafka is unavailable or refuses; ConfigError if it has fewer brokers than replicas.
    """
    admin = AIOKafkaAdminClient(**client_arguments(settings.kafka), request_timeout_ms=_REQUEST_TIMEOUT_MS)
    try:
        await admin.start()
        return await _create_missing(admin, settings)
    except InvalidReplicationFactorError as error:
        raise ConfigError(
            f"Kafka has fewer brokers than the replication factor {settings.replication}",
            "SENDLEDGER_REPLICATION",
            "Lower it, or add brokers",
        ) from error
    except KafkaError as error:
        raise await connection_error(
            f"The topics can't be created: {type(error).__name__}",
            settings.kafka,
            "Check that Kafka runs and that our user may create topics, and try again",
            error,
        ) from error
    finally:
        await admin.close()


async def _create_missing(admin: AIOKafkaAdminClient, settings: TopicSettings) -> list[str]:
    existing = set(await admin.list_topics())
    missing = [new for new in _needed(settings) if new.name not in existing]
    made = await _make(admin, missing) if missing else []
    await _until_visible(admin, {new.name for new in missing}, settings.kafka)
    return made


def _needed(settings: TopicSettings) -> Iterator[NewTopic]:
    """Yield every published topic, then the gate's internal ones, whose partition counts never change."""
    in_sync = _min_in_sync(settings.replication)
    for topic in ALL_TOPICS:
        configuration = topic.configuration(settings.content_retention_days) | in_sync
        yield NewTopic(topic.name, settings.partitions, settings.replication, topic_configs=configuration)
    kept = {**ALL_TOPICS[0].configuration(), "retention.ms": str(INTERNAL_RETENTION_DAYS * 86_400_000)}
    for internal in GATE_INTERNAL:
        for need in keyed_topics(internal.name, internal.changelog, settings.partitions, source_config=kept):
            yield NewTopic(need.name, need.partitions, settings.replication, topic_configs={**need.config, **in_sync})


def _min_in_sync(replication: int) -> dict[str, str]:
    """Return the setting with which a write is acknowledged by two brokers, so that the loss of one loses nothing.

    With two replicas the loss of either would stop all writes, so the brokers' own setting decides.
    """
    return {"min.insync.replicas": str(MIN_IN_SYNC)} if replication > MIN_IN_SYNC else {}


async def _make(admin: AIOKafkaAdminClient, topics: Sequence[NewTopic]) -> list[str]:
    """Create topics and return their names, without those that another process has just created. Raises KafkaError."""
    answer = await admin.create_topics(topics)
    made = []
    for name, code, *_ in answer.topic_errors:  # the client does not raise them
        if code == TopicAlreadyExistsError.errno:
            continue
        if code:
            raise for_code(code)(name)
        made.append(name)
    return made


async def _until_visible(admin: AIOKafkaAdminClient, names: set[str], bootstrap: KafkaAddress) -> None:
    """Raise BrokerError if topics that exist are not listed in time; Kafka has no event for it."""
    try:
        async with asyncio.timeout(_VISIBLE_SECONDS):
            while not names <= set(await admin.list_topics()):  # noqa: ASYNC110 - there is no event to wait for
                await asyncio.sleep(_POLL_SECONDS)
    except TimeoutError as error:
        raise BrokerError(
            f"The topics are created, but Kafka does not list them all after {_VISIBLE_SECONDS} s",
            str(bootstrap),
            "Check the broker's log and disk, and try again",
        ) from error
