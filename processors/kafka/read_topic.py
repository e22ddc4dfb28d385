"""Read a topic up to its current end, or one record of it, without a consumer group: for whoever looks at the log.

`since` and `until` limit the records of every partition, by Kafka's time of their arrival or by offset.
"""

from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import aclosing
from typing import Final, NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError

from processors.engine import Record
from processors.engine.consumer import new_consumer
from processors.engine.errors import RecordsUnreadable
from processors.kafka.diagnosis import connection_error
from schemas.errors import BrokerError, SendledgerError
from schemas.kafka_connection import KafkaAddress, client_arguments

__all__ = ["AtOffset", "AtTime", "Bound", "read_record", "read_topic"]

_REQUEST_TIMEOUT_MS: Final = 10_000
"""Somebody waits at a terminal, so a broker that does not answer for this long counts as unavailable."""
_POLL_MS: Final = 500
_MAX_EMPTY_POLLS: Final = 40


class AtTime(NamedTuple):
    """The first record that reached Kafka at or after a time, in milliseconds since 1970."""

    ms: int


class AtOffset(NamedTuple):
    """The record at an offset, or the first one after it."""

    offset: int


Bound = AtTime | AtOffset


async def read_record(bootstrap: KafkaAddress, topic: str, partition: int, offset: int) -> Record | None:
    """Return the record at a position, or None if it is no longer there. It fetches from that partition alone.

    Raises BrokerError; and SendledgerError if the record can't be decoded.
    """
    only = read_topic(bootstrap, topic, partition=partition, since=AtOffset(offset), until=AtOffset(offset + 1))
    async with aclosing(only) as records:
        async for record in records:
            return record
    return None


async def read_topic(
    bootstrap: KafkaAddress,
    topic: str,
    *,
    partition: int | None = None,
    since: Bound | None = None,
    until: Bound | None = None,
) -> AsyncGenerator[Record]:
    """Yield every record that is committed now, oldest first within a partition.

    Only those of `partition`, from `since` (inclusive) to `until` (exclusive), where given. A transaction that was
    committed some milliseconds ago may be missing. Raises BrokerError; and SendledgerError
    with partition and offset if a record can't be decoded.
    """
    consumer = new_consumer(
        *([topic] if partition is None else []),
        **client_arguments(bootstrap),
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        isolation_level="read_committed",
        request_timeout_ms=_REQUEST_TIMEOUT_MS,
    )
    try:
        partitions = await _partitions(bootstrap, topic)
        if partition is not None and partition not in partitions:
            return
        await consumer.start()
        if partition is not None:
            consumer.assign([TopicPartition(topic, partition)])
        last = await consumer.end_offsets(consumer.assignment())
        ends = last if until is None else await _offsets(consumer, until, last)
        if since is not None:
            for tp, first in (await _offsets(consumer, since, last)).items():
                consumer.seek(tp, first)
        reached, empty_polls = await _positions(consumer, ends), 0
        while behind := _behind(consumer, reached, ends):
            for tp, records in (await consumer.getmany(timeout_ms=_POLL_MS)).items():
                for record in records:
                    if record.offset < ends[tp]:
                        yield record
            before, reached = reached, await _positions(consumer, ends)
            empty_polls = empty_polls + 1 if reached == before else 0
            if empty_polls > _MAX_EMPTY_POLLS:
                raise _stuck(bootstrap, behind[0], reached[behind[0]])
    except RecordsUnreadable as error:
        raise SendledgerError(error.what, error.where, error.mend) from error
    except KafkaError as error:
        raise await connection_error(
            f"Topic {topic} can't be read: {type(error).__name__}",
            bootstrap,
            "Check that Kafka runs, and try again",
            error,
        ) from error
    finally:
        await consumer.stop()


async def _partitions(bootstrap: KafkaAddress, topic: str) -> set[int]:
    """Return the partitions of a topic. Raises BrokerError if there is none, and KafkaError if Kafka is unavailable.

    A consumer's request for the partitions of a missing topic would create it, where brokers allow that.
    """
    client = AIOKafkaClient(**client_arguments(bootstrap), request_timeout_ms=_REQUEST_TIMEOUT_MS)
    try:
        await client.bootstrap()
        cluster = await client.fetch_all_metadata()
    finally:
        await client.close()
    if topic not in cluster.topics():
        raise BrokerError(f"Kafka has no topic {topic}", str(bootstrap), "Run `sendledger topics`, which creates it")
    return set(cluster.partitions_for_topic(topic) or ())


def _behind(
    consumer: AIOKafkaConsumer, reached: Mapping[TopicPartition, int], ends: Mapping[TopicPartition, int]
) -> list[TopicPartition]:
    """Return the partitions that are not read to their end. The others are not fetched any more."""
    behind = [tp for tp, end in ends.items() if reached[tp] < end]
    consumer.pause(*ends.keys() - set(behind))
    return behind


async def _positions(consumer: AIOKafkaConsumer, tps: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
    return {tp: await consumer.position(tp) for tp in tps}


async def _offsets(
    consumer: AIOKafkaConsumer, bound: Bound, last: Mapping[TopicPartition, int]
) -> dict[TopicPartition, int]:
    """Return the offset that a bound stands for in each partition: not before its first record, nor behind its last."""
    if isinstance(bound, AtTime):
        found = await consumer.offsets_for_times(dict.fromkeys(last, bound.ms))
        return {tp: found[tp].offset if found[tp] else end for tp, end in last.items()}
    first = await consumer.beginning_offsets(last)
    return {tp: max(first[tp], min(bound.offset, end)) for tp, end in last.items()}


def _stuck(bootstrap: KafkaAddress, tp: TopicPartition, offset: int) -> BrokerError:
    return BrokerError(
        f"Kafka returns no records of topic {tp.topic}, partition {tp.partition} from offset {offset} on, and no error",
        str(bootstrap),
        "Check with `sendledger doctor` whether the partition has a leader, and check the broker's log",
    )
