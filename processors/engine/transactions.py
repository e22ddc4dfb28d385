"""One Kafka transaction after another under one transactional id: records of any topics and one source offset.

In:  `Output`s, and how far the source has been processed with them.
Out: all of it, visible to `read_committed` readers at once, or nothing.
Whoever starts last under an id owns it: the one before is fenced, and can neither write nor commit any more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Any, NamedTuple, Protocol, cast

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError, ProducerFenced
from aiokafka.partitioner import murmur2

from processors.engine.batch import TP
from processors.engine.errors import Fenced, WorldFault

BATCH_BYTES = 512 * 1024
"""Records of one partition in one produce request. Below the 1 MiB that a topic takes unless it is told otherwise."""

RETRY_MILLISECONDS = 20
"""When aiokafka asks again where a broker says "not yet", as it does while the last commit is being written."""

CLOSE_SECONDS = 3.0


class Output(NamedTuple):
    """A record to write. Without a partition the key chooses one, as Kafka's own clients do."""

    topic: str
    key: bytes | None
    value: bytes | None
    """None is a tombstone, and needs a key."""
    headers: Sequence[tuple[str, bytes]] = ()
    partition: int | None = None


class Transactions(Protocol):
    """Transactions under one id, one at a time: `write`, then `commit`."""

    async def start(self) -> None:
        """Fence whoever used the id before, and abort what they left open. Raises WorldFault."""

    async def write(self, outputs: Sequence[Output], source: TP, offset: int) -> None:
        """Write all of it, for no reader to see yet. Raises WorldFault with nothing left written, and Fenced."""

    async def commit(self) -> None:
        """Make it visible, and `offset` the group's. Raises Fenced. After any error it may or may not have happened."""

    async def close(self) -> None:
        """Abort what is open, if that is possible within moments; never raises."""


class KafkaTransactions:
    """Transactions of one aiokafka producer."""

    def __init__(self, transactional_id: str, group: str, *, timeout_seconds: float, client: Mapping[str, Any]) -> None:
        """Make it; nothing is opened before `start`.

        The broker aborts a transaction that is open for `timeout_seconds`, and fences its owner. `client` is how to
        reach the brokers, in aiokafka's words.
        """
        self._id, self._group = transactional_id, group
        self._settings: dict[str, Any] = {
            "transactional_id": transactional_id,
            "transaction_timeout_ms": int(timeout_seconds * 1000),
            "max_batch_size": BATCH_BYTES,
            "retry_backoff_ms": RETRY_MILLISECONDS,
            **client,
        }
        self._producer: AIOKafkaProducer | None = None
        self._open = False

    async def start(self) -> None:
        await self.close()
        self._producer = producer = AIOKafkaProducer(**self._settings)
        try:
            await producer.start()
        except KafkaError as error:
            raise _judged(error, self._id) from error

    async def write(self, outputs: Sequence[Output], source: TP, offset: int) -> None:
        producer = self._started
        await producer.begin_transaction()
        self._open = True
        try:
            await send_batches(producer, outputs, otherwise=source.partition)
            # Not side by side with the records: of two questions about one transaction at a time a broker puts one off,
            # and a millisecond saved would cost twenty.
            await producer.send_offsets_to_transaction({TopicPartition(*source): offset}, self._group)
        except KafkaError as error:
            fault = _judged(error, self._id)
            if isinstance(fault, WorldFault):
                await self._abort()
            raise fault from error

    async def commit(self) -> None:
        try:
            await self._started.commit_transaction()
        except KafkaError as error:
            fault = _judged(error, self._id)
            # Whether it was committed is not known, so it must not be tried again: only a restart tells.
            raise (error if isinstance(fault, WorldFault) else fault) from error
        self._open = False

    async def close(self) -> None:
        producer, self._producer = self._producer, None
        if producer is None:
            return
        if self._open:
            self._open = False
            with suppress(Exception):
                async with asyncio.timeout(CLOSE_SECONDS):
                    await producer.abort_transaction()
        # What could not be aborted is aborted by whoever starts next under this id, or by the broker in its time.
        with suppress(Exception):
            async with asyncio.timeout(CLOSE_SECONDS):
                await producer.stop()
        _take_note(producer)

    @property
    def _started(self) -> AIOKafkaProducer:
        if self._producer is None:
            raise RuntimeError(f"transactions of {self._id} are used before their start or after their end")
        return self._producer

    async def _abort(self) -> None:
        try:
            await self._started.abort_transaction()
        except KafkaError as error:
            raise _judged(error, self._id) from error
        self._open = False


async def send_batches(producer: AIOKafkaProducer, outputs: Sequence[Output], *, otherwise: int = 0) -> None:
    """Return when Kafka has all of it, in order within each partition. Raises KafkaError once nothing is under way.

    By whole batches: twenty times less work for a record than a send() of its own. A record without a key goes to the
    partition `otherwise`.
    """
    placed = await _placed(producer, outputs, otherwise)
    await _all(*(_send(producer, tp, records) for tp, records in placed.items()))


async def _placed(
    producer: AIOKafkaProducer, outputs: Sequence[Output], otherwise: int
) -> dict[tuple[str, int], list[Output]]:
    """Spread the outputs over partitions; their order is kept within each."""
    counts = {topic: len(await producer.partitions_for(topic)) for topic in {o.topic for o in outputs}}
    placed: dict[tuple[str, int], list[Output]] = {}
    for output in outputs:
        partition = output.partition
        if partition is None:
            partition = partition_of(output.key, counts[output.topic], otherwise=otherwise)
        placed.setdefault((output.topic, partition), []).append(output)
    return placed


async def _send(producer: AIOKafkaProducer, tp: tuple[str, int], records: Sequence[Output]) -> None:
    sent = []
    batch = producer.create_batch()
    for record in records:
        if _append(batch, record) is None:
            sent.append(await producer.send_batch(batch, tp[0], partition=tp[1]))
            batch = producer.create_batch()
            _append(batch, record)  # the first of a batch is taken whatever its size
    sent.append(await producer.send_batch(batch, tp[0], partition=tp[1]))
    await _all(*sent)


def _append(batch: Any, record: Output) -> object:
    return batch.append(timestamp=None, key=record.key, value=record.value, headers=list(record.headers))


def partition_of(key: bytes | None, partitions: int, *, otherwise: int = 0) -> int:
    """Where Kafka's clients put a record of this key; without a key, `otherwise`, brought into range."""
    if key is None:
        return otherwise % partitions
    return _hashed(key) % partitions


@lru_cache(maxsize=1 << 15)  # aiokafka's is 5 µs of Python; addresses and accounts come again
def _hashed(key: bytes) -> int:
    return cast(int, murmur2(key)) & 0x7FFFFFFF


def _take_note(producer: AIOKafkaProducer) -> None:
    """Look at all that was told of a fence: aiokafka tells futures of its own, and asyncio would log each of them."""
    unsent = [batch for batches in producer._message_accumulator._batches.values() for batch in batches]
    told = [producer._txn_manager.wait_for_transaction_end(), *(batch._drain_waiter for batch in unsent)]
    for future in told:
        if future is not None and future.done() and not future.cancelled():
            future.exception()


async def _all(*waits: Awaitable[object]) -> None:
    """Wait for all of them, and then raise the error that says most, if any failed."""
    errors = [e for e in await asyncio.gather(*waits, return_exceptions=True) if isinstance(e, BaseException)]
    if errors:
        raise next((error for error in errors if isinstance(error, ProducerFenced)), errors[0])


def _judged(error: Exception, transactional_id: str) -> Exception:
    """Say whose fault an error of aiokafka is. What it retries by itself never gets here."""
    if isinstance(error, ProducerFenced):
        return Fenced(
            "fenced: another worker has begun with this partition, or a transaction was open for too long",
            where=f"transactional id {transactional_id}",
            mend="Nothing half-done is visible. A restarted worker joins again and goes on from what is committed.",
        )
    if getattr(error, "retriable", False):
        return WorldFault(f"{type(error).__name__}: {error}")
    return error
