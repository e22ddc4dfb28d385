"""Batches, a consumer, an app and a clock without a broker; `tests/contracts/test_engine.py` has their contracts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from time import monotonic

from processors.engine import TP, Clock, GroupWriter, RecordBatch
from processors.engine.batch import MANY_BYTES, Inflight, Owner


@dataclass(frozen=True, slots=True)
class StubRecord:
    """A record that does not come from Kafka."""

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
    records = [StubRecord(first + i, topic, partition, value=value) for i in range(size)]
    return RecordBatch(TP(topic, partition), records, owner)


class FakeOwner:
    """An owner that only tracks batches, as the consumer does."""

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

    def commit_offset(self, batch: RecordBatch) -> int:
        return self.inflight.commit_offset(batch)


class FakeClock:
    """A clock that stands still until it is set."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


class FakeApp:
    """What writers and partition processors need of an app; records the calls."""

    def __init__(self, clock: Clock = monotonic) -> None:
        self.clock = clock
        self.stopping = asyncio.Event()
        self.crash_reason: BaseException | None = None
        self.has_crashed = asyncio.Event()
        self.stall_timer_pauses = 0
        self.recorded_offsets: list[int] = []
        self.writers: list[GroupWriter] = []

    @property
    def crashed(self) -> bool:
        return self.has_crashed.is_set()

    def pause_stall_timer(self) -> None:
        self.stall_timer_pauses += 1

    def recorded(self, tp: TP, offset: int) -> None:
        self.recorded_offsets.append(offset)

    async def crash(self, reason: BaseException) -> None:
        self.crash_reason = reason
        self.has_crashed.set()

    def register_writer(self, writer: GroupWriter) -> None:
        self.writers.append(writer)


async def turns_until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - tasks that set no event
            await asyncio.sleep(0)


async def acked(*batches: RecordBatch) -> None:
    await turns_until(lambda: all(batch.acked for batch in batches))
