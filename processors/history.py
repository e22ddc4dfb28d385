"""All that a topic has now, for whoever compares and needs no group: `verify`, and the dead letters' commands."""

from collections.abc import AsyncGenerator

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from processors.engine import Record, RecordsUnreadable, new_consumer
from schemas.errors import BrokerError, SendledgerError

__all__ = ["history"]

_REQUEST_TIMEOUT_MS = 10_000
"""Somebody waits at a terminal: a broker that is silent for so long is away."""
_POLL_MS = 500
_WAITS = 40


async def history(bootstrap: str, topic: str, since_ms: int | None = None) -> AsyncGenerator[Record]:
    """Yield every record that is committed now, oldest first within a partition.

    With `since_ms` (milliseconds since 1970) only those whose Kafka timestamp is not before it. Raises BrokerError; and
    SendledgerError, which names partition and offset, where a record can't be decoded.
    """
    consumer = new_consumer(
        topic,
        bootstrap_servers=bootstrap,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        isolation_level="read_committed",
        request_timeout_ms=_REQUEST_TIMEOUT_MS,
    )
    try:
        await consumer.start()
        ends = await consumer.end_offsets(consumer.assignment())
        if since_ms is not None:
            found = await consumer.offsets_for_times(dict.fromkeys(ends, since_ms))
            for tp, first in found.items():
                consumer.seek(tp, first.offset if first else ends[tp])
        reached, waits = dict.fromkeys(ends, 0), 0
        while behind := [tp for tp, end in ends.items() if reached[tp] < end]:
            for records in (await consumer.getmany(timeout_ms=_POLL_MS)).values():
                for record in records:
                    yield record
            before, reached = reached, {tp: await consumer.position(tp) for tp in ends}
            waits = waits + 1 if reached == before else 0
            if waits > _WAITS:
                raise _stuck(bootstrap, behind[0], reached[behind[0]])
    except RecordsUnreadable as error:
        raise SendledgerError(error.what, error.where, error.mend) from error
    except KafkaError as error:
        raise BrokerError(
            f"Kafka does not give what is in {topic}: {type(error).__name__}", bootstrap, "Start it, and try again"
        ) from error
    finally:
        await consumer.stop()


def _stuck(bootstrap: str, tp: TopicPartition, offset: int) -> BrokerError:
    return BrokerError(
        f"Kafka gives nothing of topic {tp.topic}, partition {tp.partition} from offset {offset} on, and says no why",
        bootstrap,
        "See whether the partition has a leader (`sendledger doctor`), and what the broker's log says",
    )
