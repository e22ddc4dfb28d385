"""Writing into Kafka: what is answered with success is on all in-sync replicas.

In:  records. Out: nothing, once all of them are acknowledged; else BrokerError, and then each of them may be written or
not. So whoever asks again must ask for the same: every record of ours is safe to write twice.
"""

import asyncio
from collections.abc import Sequence
from typing import Final, NamedTuple

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from schemas.errors import BrokerError
from schemas.topics import MAX_RECORD_BYTES, Topic

__all__ = ["ACKNOWLEDGED_WITHIN_SECONDS", "Written", "producer_of", "write", "write_once"]

ACKNOWLEDGED_WITHIN_SECONDS: Final = 8.0


class Written(NamedTuple):
    """A record to write. `actor` is whose token asked for it; it stands beside the record, as a header."""

    topic: Topic
    key: str
    value: bytes
    headers: Sequence[tuple[str, bytes]] = ()

    @classmethod
    def by(cls, actor: str, topic: Topic, key: str, value: bytes) -> "Written":
        """Return a record that keeps who asked for it."""
        return cls(topic, key, value, [("actor", actor.encode("utf-8", "replace"))])


def producer_of(bootstrap: str) -> AIOKafkaProducer:
    """Return a producer, not started."""
    return AIOKafkaProducer(
        bootstrap_servers=bootstrap,
        acks="all",
        enable_idempotence=True,
        linger_ms=2,
        max_request_size=MAX_RECORD_BYTES,
    )


async def write(kafka: AIOKafkaProducer, records: Sequence[Written]) -> None:
    """Write the records; return when all of them are acknowledged. Raises BrokerError after 8 s."""
    sent = (kafka.send_and_wait(r.topic.name, r.value, key=r.key.encode(), headers=list(r.headers)) for r in records)
    try:
        async with asyncio.timeout(ACKNOWLEDGED_WITHIN_SECONDS):
            await asyncio.gather(*sent)
    except (KafkaError, TimeoutError) as error:
        raise BrokerError(
            f"Kafka does not acknowledge: {type(error).__name__}",
            ", ".join(sorted({record.topic.name for record in records})),
            "Do it again: what is written twice counts once",
        ) from error


async def write_once(bootstrap: str, records: Sequence[Written]) -> None:
    """Write the records with a producer of their own, for a command that does nothing else. Raises BrokerError."""
    kafka = producer_of(bootstrap)
    try:
        await kafka.start()
        await write(kafka, records)
    except KafkaError as error:
        raise BrokerError(
            f"Kafka does not answer: {type(error).__name__}", bootstrap, "Start it, or set SENDLEDGER_KAFKA_BOOTSTRAP"
        ) from error
    finally:
        await kafka.stop()
