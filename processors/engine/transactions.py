"""Kafka transactions under one transactional id, one at a time: records of any topics.

In:  `Output`s, and the offset of the source up to which they were produced, if they have one.
Out: all of it, visible to `read_committed` readers at once, or nothing.
The last one to start under an id owns it. The previous owner is fenced: it can neither write nor commit any more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any, Final, NamedTuple, Protocol, cast

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError, ProducerFenced
from aiokafka.partitioner import murmur2

from processors.engine import internals
from processors.engine.batch import TP
from processors.engine.errors import (
    CommitUnknown,
    Fenced,
    KafkaRefused,
    OutputTooLarge,
    ProducerBroken,
    TransientDependencyError,
)
from processors.engine.families import ErrorFamily, error_family

BATCH_BYTES = 512 * 1024
"""Size of a batch in a produce request. Below 1 MiB, the default `max.message.bytes` of a topic."""

RETRY_MILLISECONDS = 20
"""When aiokafka retries a request that the broker can't serve yet, for example while it writes the previous commit."""

CLOSE_SECONDS = 3.0


class Output(NamedTuple):
    """A record to write. Without a partition, the key determines one, as in Kafka's own clients."""

    topic: str
    key: bytes | None
    value: bytes | None
    """None is a tombstone, which needs a key."""
    headers: Sequence[tuple[str, bytes]] = ()
    partition: int | None = None


class Transactions(Protocol):
    """Transactions under one id, one at a time: `write`, then `commit`."""

    async def start(self) -> None:
        """Fence the previous owner of the id and abort its open transaction. Raises TransientDependencyError."""

    async def write(self, outputs: Sequence[Output], source: TP | None = None, offset: int = 0) -> None:
        """Write all records, and the offset of a source if they were made from one; no reader sees them yet.

        Raises TransientDependencyError after aborting; Fenced, OutputTooLarge and ProducerBroken, after which nothing
        more can be written.
        """

    async def commit(self) -> None:
        """Commit records and offset. Raises Fenced, and CommitUnknown if the commit may or may not have happened."""

    async def close(self) -> None:
        """Abort the open transaction, if possible within seconds; never raises."""


class KafkaTransactions:
    """Transactions of one aiokafka producer."""

    def __init__(
        self,
        transactional_id: str,
        group: str,
        *,
        timeout_seconds: float,
        client: Mapping[str, Any],
        counts: Mapping[str, int] | None = None,
    ) -> None:
        """Create it; nothing is opened before `start`.

        The broker aborts a transaction that is open for `timeout_seconds`, and fences its owner. `client` are the
        connection settings of aiokafka. `counts` are the partition counts of topics that have a fixed one.
        """
        self._id, self._group, self._counts = transactional_id, group, counts
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
            raise _classified(error, self._id) from error

    async def write(self, outputs: Sequence[Output], source: TP | None = None, offset: int = 0) -> None:
        producer = self._started
        await producer.begin_transaction()
        self._open = True
        try:
            await send_batches(
                producer, outputs, default_partition=source.partition if source else 0, counts=self._counts
            )
            if source:
                # Not concurrently with the records: the broker rejects one of two concurrent requests for a
                # transaction as "not yet", and the retry takes 20 ms, to save 1 ms.
                await producer.send_offsets_to_transaction({TopicPartition(*source): offset}, self._group)
        except KafkaError as error:
            classified = _classified(error, self._id, outputs)
            if isinstance(classified, TransientDependencyError):
                await self._abort()
            raise classified from error

    async def commit(self) -> None:
        try:
            await self._started.commit_transaction()
        except KafkaError as error:
            classified = _classified(error, self._id)
            if isinstance(classified, Fenced):
                raise classified from error
            raise CommitUnknown(
                f"it is unknown whether a transaction was committed: {type(error).__name__}: {error}",
                where=f"transactional id {self._id}",
                mend="It must not be retried: a restarted worker finds out and continues from what is committed.",
            ) from error
        self._open = False

    async def close(self) -> None:
        producer, self._producer = self._producer, None
        if producer is None:
            return
        if self._open:
            self._open = False
            await closed_within(CLOSE_SECONDS, producer.abort_transaction)
        # Otherwise the next owner of this id aborts it, or the broker after its timeout.
        await closed_within(CLOSE_SECONDS, producer.stop)
        # The futures of a fenced producer have exceptions that nobody waits for.
        internals.retrieve_exceptions(producer, internals.unsent_batches(producer), transaction=True)

    @property
    def _started(self) -> AIOKafkaProducer:
        if self._producer is None:
            raise RuntimeError(f"transactions of {self._id} are used before start() or after close()")
        return self._producer

    async def _abort(self) -> None:
        try:
            await self._started.abort_transaction()
        except KafkaError as error:
            raise _classified(error, self._id) from error
        self._open = False


async def closed_within(seconds: float, close: Callable[[], Coroutine[Any, Any, object]]) -> None:
    """Wait some seconds for an aiokafka client to close. Never raises, unless the caller is cancelled.

    In a task of its own: without a broker, aiokafka may raise the CancelledError of its own sender task, which nobody
    could tell from a cancellation of the caller.
    """
    closing = asyncio.create_task(close(), name="closing a Kafka client")
    try:
        await asyncio.wait({closing}, timeout=seconds)
    finally:
        closing.cancel()
    await asyncio.wait({closing})
    if not closing.cancelled():
        closing.exception()  # or asyncio would report it


class Undelivered(NamedTuple):
    """Records that Kafka did not accept, all for one reason: those of one batch, or those that were never batched."""

    outputs: Sequence[Output]
    error: Exception


async def send_batches(
    producer: AIOKafkaProducer,
    outputs: Sequence[Output],
    *,
    default_partition: int = 0,
    counts: Mapping[str, int] | None = None,
) -> None:
    """Return when Kafka has acknowledged all records, in order within each partition.

    Raises KafkaError when no request is in flight any more. Sends whole batches, which takes twenty times less work per
    record than a `send()` each. A record without a key goes to `default_partition`. `counts` are the partition counts
    of topics that have a fixed one; they override what Kafka says.
    """
    if failed := await deliver(producer, outputs, default_partition=default_partition, counts=counts):
        fences = (one.error for one in failed if isinstance(one.error, ProducerFenced))
        raise next(fences, failed[0].error)


async def deliver(
    producer: AIOKafkaProducer,
    outputs: Sequence[Output],
    *,
    default_partition: int = 0,
    counts: Mapping[str, int] | None = None,
) -> list[Undelivered]:
    """Write the records as `send_batches` does, and return those that Kafka did not accept, in order by partition.

    Raises KafkaError if nothing was sent, because the partitions of a topic are unknown.
    """
    placed = await _by_partition(producer, outputs, default_partition, counts or {})
    return list(chain.from_iterable(await asyncio.gather(*(_send(producer, *each) for each in placed.items()))))


async def _by_partition(
    producer: AIOKafkaProducer, outputs: Sequence[Output], default_partition: int, fixed: Mapping[str, int]
) -> dict[tuple[str, int], list[Output]]:
    """Group the outputs by partition; their order is kept within each."""
    topics = {output.topic for output in outputs}
    counts = {topic: fixed.get(topic) or len(await producer.partitions_for(topic)) for topic in topics}
    placed: dict[tuple[str, int], list[Output]] = {}
    for output in outputs:
        partition = output.partition
        if partition is None:
            partition = partition_of(output.key, counts[output.topic], default_partition=default_partition)
        placed.setdefault((output.topic, partition), []).append(output)
    return placed


async def _send(producer: AIOKafkaProducer, tp: tuple[str, int], records: Sequence[Output]) -> list[Undelivered]:
    chunks: list[Sequence[Output]] = []
    sent: list[Awaitable[object]] = []
    failed: list[Undelivered] = []
    sent_until = 0
    for end, batch in _batches(producer, records):
        try:
            sent.append(await producer.send_batch(batch, tp[0], partition=tp[1]))
        except KafkaError as error:  # buffer full, or the producer has died: nothing after it was sent
            failed.append(Undelivered(records[sent_until:], error))
            break
        chunks.append(records[sent_until:end])
        sent_until = end
    outcomes = await asyncio.gather(*sent, return_exceptions=True)
    rejected = [
        Undelivered(chunk, outcome)
        for chunk, outcome in zip(chunks, outcomes, strict=True)
        if isinstance(outcome, Exception)
    ]
    return [*rejected, *failed]


def _batches(producer: AIOKafkaProducer, records: Sequence[Output]) -> Iterator[tuple[int, Any]]:
    """Yield each batch with the index after its last record."""
    batch = producer.create_batch()
    for n, record in enumerate(records):
        if _append(batch, record) is None:
            yield n, batch
            batch = producer.create_batch()
            _append(batch, record)  # the first record of a batch is accepted whatever its size
    yield len(records), batch


def _append(batch: Any, record: Output) -> object:
    return batch.append(timestamp=None, key=record.key, value=record.value, headers=list(record.headers))


def partition_of(key: bytes | None, partitions: int, *, default_partition: int = 0) -> int:
    """Return the partition that Kafka's clients choose for this key; without a key, the default modulo the count."""
    if key is None:
        return default_partition % partitions
    hashed = _remembered(key) if len(key) <= _LONGEST_REMEMBERED else _hashed(key)
    return hashed % partitions


def with_partitions(outputs: Iterable[Output], counts: Mapping[str, int]) -> list[Output]:
    """Set the partition of each output to one of these topics, from its key and the given partition count.

    Outputs to a keyed topic must use its initial partition count: partitions that were added later would get keys
    whose state is in another partition.
    """
    return [
        output._replace(partition=partition_of(output.key, counts[output.topic]))
        if output.partition is None and output.topic in counts
        else output
        for output in outputs
    ]


def _hashed(key: bytes) -> int:
    return cast(int, murmur2(key)) & 0x7FFFFFFF


_remembered: Final = lru_cache(maxsize=1 << 15)(_hashed)  # aiokafka's takes 5 µs of Python; addresses repeat
_LONGEST_REMEMBERED: Final = 512
"""Bytes: the cache limits the number of entries, so their size must be limited too."""


def _classified(error: Exception, transactional_id: str, outputs: Sequence[Output] = ()) -> Exception:
    """Return the engine's error for one of aiokafka. Errors that aiokafka retries itself don't get here."""
    where = f"transactional id {transactional_id}"
    if isinstance(error, ProducerFenced):
        return Fenced(
            "fenced: another worker has started with this partition, or a transaction was open for too long",
            where=where,
            mend="No partial result is visible. A restarted worker joins again and continues from what is committed.",
        )
    match error_family(error):
        case ErrorFamily.WAIT:
            return TransientDependencyError(f"{type(error).__name__}: {error}")
        case ErrorFamily.RECORD:
            largest = max(outputs, key=_size, default=None)
            found = (
                "" if largest is None else f"; the largest one has {_size(largest)} bytes, for topic {largest.topic}"
            )
            return OutputTooLarge(
                f"Kafka refuses the outputs of a step: {type(error).__name__}{found}",
                where=where,
                mend="Allow larger records in that topic (max.message.bytes), or fix the step that writes them. "
                "Nothing of it is visible; a restarted worker tries again.",
            )
        case ErrorFamily.DENIED:
            return KafkaRefused(
                f"Kafka refuses a transaction: {type(error).__name__}: {error}",
                where=where,
                mend="Check the permissions of our user, and the broker's log. A restarted worker tries again.",
            )
        case ErrorFamily.RENEW:
            return ProducerBroken(
                f"this producer can't be used any more: {type(error).__name__}: {error}",
                where=where,
                mend="None needed: a restarted worker uses a new one and reads again what is not committed.",
            )


def _size(output: Output) -> int:
    return len(output.key or b"") + len(output.value or b"")
