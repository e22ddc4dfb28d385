"""Writing into Kafka: what is answered with success is on all in-sync replicas.

In:  records. Out: nothing, once all of them are acknowledged; else BrokerError, and then each of them may be written or
not. So whoever asks again must ask for the same: every record of ours is safe to write twice.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

from application import deadlines
from processors.engine import Output
from processors.kafka.producer import Producer
from schemas.errors import TimedOut
from schemas.topics import Topic

__all__ = ["ACKNOWLEDGED_WITHIN_SECONDS", "Kafka", "Written", "producer_of", "write", "write_once"]

ACKNOWLEDGED_WITHIN_SECONDS: Final = 8.0
_MANY: Final = 100
"""Records from which on a call gets batches of its own, which costs much less for each."""


class Kafka(Protocol):
    """What this layer needs of a producer (`processors.kafka.producer.Producer`)."""

    @property
    def healthy(self) -> bool:
        """Whether it can write as far as it knows."""

    async def start(self) -> None:
        """Connect. Raises BrokerError."""

    async def stop(self) -> None:
        """Close. Never raises."""

    async def metadata(self) -> frozenset[str]:
        """Ask Kafka for its topics. Raises BrokerError."""

    async def send_all(self, outputs: Sequence[Output], *, within_seconds: float | None = None) -> None:
        """Write a few records. Raises BrokerError and RecordRefused."""

    async def send_batches(self, outputs: Sequence[Output], *, within_seconds: float | None = None) -> None:
        """Write many records. Raises BrokerError and RecordRefused."""


class Written(NamedTuple):
    """A record to write. `actor` is who asked for it; it stands beside the record, as a header."""

    topic: Topic
    key: str
    value: bytes
    headers: Sequence[tuple[str, bytes]] = ()

    @classmethod
    def by(cls, actor: str, topic: Topic, key: str, value: bytes) -> "Written":
        """Return a record that keeps who asked for it."""
        return cls(topic, key, value, [("actor", actor.encode("utf-8", "replace"))])


def producer_of(bootstrap: str) -> Producer:
    """Return a producer, not started."""
    return Producer(bootstrap, acknowledged_within_seconds=ACKNOWLEDGED_WITHIN_SECONDS, linger_ms=2)


async def write(kafka: Kafka, records: Sequence[Written]) -> None:
    """Write the records; return when all of them are acknowledged.

    Raises BrokerError after 8 s, or when the request's time is up; RecordRefused where Kafka takes no such record;
    TimedOut where nothing of the request's time was left to begin with: that is not Kafka's fault.
    """
    if deadlines.remaining() == 0:
        what = "The request's time was up before anything was stored; send it again"
        raise TimedOut(what, "the deadline of the request", "Do the same again")
    outputs = [Output(r.topic.name, r.key.encode(), r.value, r.headers) for r in records]
    send = kafka.send_batches if len(outputs) >= _MANY else kafka.send_all
    await send(outputs, within_seconds=deadlines.within(ACKNOWLEDGED_WITHIN_SECONDS))


async def write_once(bootstrap: str, records: Sequence[Written]) -> None:
    """Write the records with a producer of their own, for a command that does nothing else. Raises BrokerError."""
    kafka = producer_of(bootstrap)
    await kafka.start()
    try:
        await write(kafka, records)
    finally:
        await kafka.stop()
