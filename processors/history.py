"""All that a topic has now, for whoever compares and needs no group: `verify`, and the dead letters' commands."""

from collections.abc import AsyncIterator

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError

from processors.engine import Record
from schemas.errors import BrokerError

__all__ = ["history"]


async def history(bootstrap: str, topic: str) -> AsyncIterator[Record]:
    """Yield every record that is committed now, oldest first within a partition. Raises BrokerError."""
    consumer = AIOKafkaConsumer(
        topic,
        bootstrap_servers=bootstrap,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        isolation_level="read_committed",
    )
    try:
        await consumer.start()
        ends = await consumer.end_offsets(consumer.assignment())
        while any([await consumer.position(tp) < end for tp, end in ends.items()]):
            for records in (await consumer.getmany(timeout_ms=500)).values():
                for record in records:
                    yield record
    except KafkaError as error:
        raise BrokerError(
            f"Kafka does not give what is in {topic}: {type(error).__name__}", bootstrap, "Start it, and try again"
        ) from error
    finally:
        await consumer.stop()
