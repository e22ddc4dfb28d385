"""Offsets of one consumer group become those of another, which must have no members."""

from __future__ import annotations

from uuid import uuid4

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from processors.kafka import group_offsets as module
from processors.kafka.group_offsets import commit_offsets, committed_offsets
from schemas.errors import BrokerError
from tests.engine.topics import Topics

pytestmark = pytest.mark.kafka


async def test_what_one_group_has_committed_another_goes_on_from(kafka_bootstrap: str) -> None:
    topic = await Topics(kafka_bootstrap).make(uuid4().hex, partitions=3)
    async with AIOKafkaProducer(bootstrap_servers=kafka_bootstrap) as producer:
        for partition in (0, 0, 2):
            await producer.send_and_wait(topic, b"x", partition=partition)
    source, target = uuid4().hex, uuid4().hex
    assert await committed_offsets(kafka_bootstrap, source, [topic]) == {}
    offsets = {TopicPartition(topic, 0): 2, TopicPartition(topic, 2): 1}
    await commit_offsets(kafka_bootstrap, source, offsets)
    await commit_offsets(kafka_bootstrap, target, await committed_offsets(kafka_bootstrap, source, [topic]))
    assert await committed_offsets(kafka_bootstrap, target, [topic]) == offsets


async def test_nothing_is_committed_where_there_is_nothing(kafka_bootstrap: str) -> None:
    await commit_offsets(kafka_bootstrap, uuid4().hex, {})


async def test_a_group_with_members_refuses(kafka_bootstrap: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker of that group would commit its own offsets over these."""
    topic, group = await Topics(kafka_bootstrap).make(uuid4().hex, partitions=1), uuid4().hex
    monkeypatch.setattr(module, "_EMPTY_WITHIN_SECONDS", 1)
    async with AIOKafkaConsumer(topic, bootstrap_servers=kafka_bootstrap, group_id=group) as member:
        await member.getmany(timeout_ms=100)
        with pytest.raises(BrokerError, match="CommitFailedError"):
            await commit_offsets(kafka_bootstrap, group, {TopicPartition(topic, 0): 1})
    await commit_offsets(kafka_bootstrap, group, {TopicPartition(topic, 0): 1})
