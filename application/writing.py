"""Writes records to Kafka. Success means that they are on all in-sync replicas.

In:  records. Out: nothing, once all of them are acknowledged; else BrokerError, and then each of them may be written or
not. A caller that retries must write the same records: each is safe to write twice.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final, NamedTuple

from application import deadlines
from processors.engine import Output
from processors.kafka.ports import RecordProducer
from processors.kafka.producer import Producer
from schemas.errors import TimedOut
from schemas.kafka_connection import KafkaAddress
from schemas.telemetry import Telemetry
from schemas.topics import Topic

__all__ = ["ACKNOWLEDGED_WITHIN_SECONDS", "OutgoingRecord", "connected_producer", "producer_of", "write", "write_once"]

ACKNOWLEDGED_WITHIN_SECONDS: Final = 8.0
_MANY: Final = 100
"""From this number of records a call gets batches of its own, which is much cheaper per record."""


class OutgoingRecord(NamedTuple):
    """A record to write."""

    topic: Topic
    key: str
    value: bytes
    headers: Sequence[tuple[str, bytes]] = ()

    @classmethod
    def by_actor(cls, actor: str, topic: Topic, key: str, value: bytes) -> "OutgoingRecord":
        """Return a record whose header `actor` says who requested it."""
        return cls(topic, key, value, [("actor", actor.encode("utf-8", "replace"))])


def producer_of(bootstrap: KafkaAddress, telemetry: Telemetry) -> Producer:
    """Return a producer, not started."""
    within = ACKNOWLEDGED_WITHIN_SECONDS
    return Producer(bootstrap, acknowledged_within_seconds=within, linger_ms=2, telemetry=telemetry)


async def write(kafka: RecordProducer, records: Sequence[OutgoingRecord]) -> None:
    """Write the records; return when all of them are acknowledged.

    Raises BrokerError after 8 s, or at the request's deadline; RecordRefused where Kafka refuses a record;
    TimedOut if the deadline had passed before the write began: that is not Kafka's fault.
    """
    if deadlines.remaining() == 0:
        what = "The deadline of the request passed before anything was stored; send it again"
        raise TimedOut(what, "the deadline of the request", "Do the same again")
    outputs = [Output(r.topic.name, r.key.encode(), r.value, r.headers) for r in records]
    send = kafka.send_batches if len(outputs) >= _MANY else kafka.send_all
    await send(outputs, within_seconds=deadlines.within(ACKNOWLEDGED_WITHIN_SECONDS))


@asynccontextmanager
async def connected_producer(bootstrap: KafkaAddress) -> AsyncIterator[RecordProducer]:
    """A producer for one command, while the block runs. Raises BrokerError."""
    kafka = producer_of(bootstrap, Telemetry())  # a command has no metrics server
    await kafka.start()
    try:
        yield kafka
    finally:
        await kafka.stop()


async def write_once(bootstrap: KafkaAddress, records: Sequence[OutgoingRecord]) -> None:
    """Write the records with a producer of their own, for a command that does nothing else. Raises BrokerError."""
    async with connected_producer(bootstrap) as kafka:
        await write(kafka, records)
