"""Parking: what can't be read goes to `dead-letters`, byte for byte, with the reason beside it.

A record is parked before it is acknowledged, so a letter may be written twice, never lost.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError

from processors.engine import Record
from processors.history import history
from schemas.errors import BrokerError
from schemas.events import Bad
from schemas.topics import DEAD_LETTERS, MAX_RECORD_BYTES

__all__ = ["DeadLetters", "Letter", "letters", "producer"]

_HEADROOM_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter: the record, and what of it could not be read."""

    record: Record
    bad: Bad


def producer(bootstrap: str, **options: Any) -> AIOKafkaProducer:
    """Return an idempotent producer that is sure of a record only when all replicas have it."""
    return AIOKafkaProducer(
        bootstrap_servers=bootstrap,
        acks="all",
        enable_idempotence=True,
        max_request_size=MAX_RECORD_BYTES + _HEADROOM_BYTES,
        **options,
    )


class DeadLetters:
    """Writes dead letters for one processor (`ledger` or `gate`)."""

    def __init__(self, kafka: AIOKafkaProducer, processor: str) -> None:
        self._kafka = kafka
        self._processor = processor

    async def park(self, letters: Sequence[Letter]) -> None:
        """Return when Kafka has all of them. Raises BrokerError."""
        failed_at = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        try:
            confirmed = [await self._send(letter, failed_at) for letter in letters]
            await asyncio.gather(*confirmed)
        except KafkaError as error:
            raise BrokerError(
                f"Kafka does not take the dead letters: {type(error).__name__}", DEAD_LETTERS.name, "It is tried again"
            ) from error

    async def _send(self, letter: Letter, failed_at: str) -> Any:
        added = _headers(letter, self._processor, failed_at)
        own = [(name, value) for name, value in letter.record.headers or () if name not in added]
        headers = [*own, *added.items()]
        value = letter.bad.value if letter.bad.position is not None else letter.record.value
        try:
            return await self._kafka.send(DEAD_LETTERS.name, value, key=letter.record.key, headers=headers)
        except MessageSizeTooLargeError:
            # A record at the very limit has no room for our headers; where it stands tells where its bytes are.
            return await self._kafka.send(DEAD_LETTERS.name, b"", key=letter.record.key, headers=headers)


def _headers(letter: Letter, processor: str, failed_at: str) -> Mapping[str, bytes]:
    """Return the headers that a dead letter adds to the original's own (CONTRACT section 2)."""
    record, bad = letter.record, letter.bad
    said = {
        "dlq.topic": record.topic,
        "dlq.partition": str(record.partition),
        "dlq.offset": str(record.offset),
        "dlq.reason": bad.reason,
        "dlq.detail": bad.detail[:2000],
        "dlq.processor": processor,
        "dlq.failed_at": failed_at,
    }
    if bad.position is not None:
        said["dlq.index"] = str(bad.position)
    return {name: text.encode("utf-8", "replace") for name, text in said.items()}


def letters(bootstrap: str) -> AsyncIterator[Record]:
    """Yield every dead letter that there is now, oldest first within a partition. Raises BrokerError."""
    return history(bootstrap, DEAD_LETTERS.name)
