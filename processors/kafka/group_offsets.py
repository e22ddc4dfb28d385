"""Read the offsets that a consumer group has committed, and commit offsets for another group."""

import asyncio
from collections.abc import Mapping, Sequence

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import CommitFailedError, KafkaError

from processors.engine.consumer import new_consumer
from processors.kafka.diagnosis import connection_error
from processors.kafka.lag import lag
from schemas.consumer_groups import ConsumerGroup
from schemas.kafka_connection import KafkaAddress, client_arguments

__all__ = ["commit_offsets", "committed_offsets"]

_REQUEST_TIMEOUT_MS = 10_000
_EMPTY_WITHIN_SECONDS = 60
"""A static member that has stopped remains in its group until its session ends. While a group has members, Kafka
accepts offsets from these only."""
_POLL_SECONDS = 0.5

Offsets = Mapping[TopicPartition, int]


async def committed_offsets(bootstrap: KafkaAddress, group: str, topics: Sequence[str]) -> Offsets:
    """Return the committed offsets, without partitions that have none. Raises BrokerError."""
    read = await lag(bootstrap, [ConsumerGroup(group, tuple(topics))])
    return {TopicPartition(p.topic, p.partition): p.committed for p in read.partitions if p.committed is not None}


async def commit_offsets(bootstrap: KafkaAddress, group: str, offsets: Offsets) -> None:
    """Commit offsets for a group without members; wait for members that have just stopped. Raises BrokerError."""
    if not offsets:
        return
    consumer = new_consumer(
        **client_arguments(bootstrap), group_id=group, enable_auto_commit=False, request_timeout_ms=_REQUEST_TIMEOUT_MS
    )
    refusal: KafkaError | None = None
    try:
        await consumer.start()
        consumer.assign(list(offsets))
        async with asyncio.timeout(_EMPTY_WITHIN_SECONDS):
            while (refusal := await _refusal(consumer, offsets)) is not None:  # noqa: ASYNC110 - Kafka does not notify
                await asyncio.sleep(_POLL_SECONDS)
    except (KafkaError, TimeoutError) as error:
        raise await connection_error(
            f"The offsets of group {group} can't be committed: {type(refusal or error).__name__}",
            bootstrap,
            "Check that Kafka runs and that no worker of that group does, and try again",
            error,
        ) from error
    finally:
        await consumer.stop()


async def _refusal(consumer: AIOKafkaConsumer, offsets: Offsets) -> KafkaError | None:
    """Commit the offsets. Return the error if Kafka refused because the group has members, else None."""
    try:
        await consumer.commit(offsets)
    except CommitFailedError as error:
        return error
    return None
