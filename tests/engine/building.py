"""Batches without a broker."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from processors.engine import TP, RecordBatch
from processors.engine.batch import MANY_BYTES, Inflight, Owner


@dataclass(frozen=True, slots=True)
class Made:
    """A record that was never in Kafka."""

    offset: int
    topic: str = "events"
    partition: int = 0
    timestamp: int = 0
    key: bytes | None = None
    value: bytes | None = b"x"
    headers: Sequence[tuple[str, bytes]] = field(default=())


def a_batch(
    first: int = 0,
    size: int = 1,
    *,
    partition: int = 0,
    topic: str = "events",
    owner: Owner | None = None,
    value: bytes = b"x",
) -> RecordBatch:
    records = [Made(first + i, topic, partition, value=value) for i in range(size)]
    return RecordBatch(TP(topic, partition), records, owner)


class Account:
    """An owner that does nothing but keep the account, as the consumer does."""

    def __init__(
        self,
        limit: int = 2,
        self_committing: Collection[str] = (),
        small_bytes: int = 0,
        many_bytes: int = MANY_BYTES,
    ) -> None:
        self.now = 0.0
        self.inflight = Inflight(
            limit,
            clock=lambda: self.now,
            small_bytes=small_bytes,
            many_bytes=many_bytes,
            self_committing=self_committing,
        )

    def open(self, first: int, size: int = 1, partition: int = 0, topic: str = "events") -> RecordBatch:
        batch = a_batch(first, size, partition=partition, topic=topic, owner=self)
        self.inflight.opened(batch)
        return batch

    def acknowledge(self, batch: RecordBatch) -> bool:
        return self.inflight.acked(batch)

    def abandon(self, batch: RecordBatch) -> None:
        self.inflight.abandoned(batch)

    def holds(self, batch: RecordBatch) -> bool:
        return self.inflight.holds(batch)

    def upto(self, batch: RecordBatch) -> int:
        return self.inflight.upto(batch)
