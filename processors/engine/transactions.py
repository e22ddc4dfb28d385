"""One Kafka transaction after another under one transactional id: records of any topics and one source offset.

In:  `Output`s, and how far the source has been processed with them.
Out: all of it, visible to `read_committed` readers at once, or nothing.
Whoever starts last under an id owns it: the one before is fenced, and can neither write nor commit any more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from itertools import chain
from typing import Any, Final, NamedTuple, Protocol, cast

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError, ProducerFenced
from aiokafka.partitioner import murmur2

from processors.engine.batch import TP
from processors.engine.errors import CommitUnknown, Fenced, KafkaRefused, OutputTooLarge, ProducerBroken, WorldFault
from processors.engine.families import Family, family

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
        """Write all of it, for no reader to see yet.

        Raises WorldFault with nothing left written; Fenced, OutputTooLarge and ProducerBroken, after which nothing
        more can be written.
        """

    async def commit(self) -> None:
        """Make it visible, and `offset` the group's. Raises Fenced, and CommitUnknown: it may have happened, or not."""

    async def close(self) -> None:
        """Abort what is open, if that is possible within moments; never raises."""


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
        """Make it; nothing is opened before `start`.

        The broker aborts a transaction that is open for `timeout_seconds`, and fences its owner. `client` is how to
        reach the brokers, in aiokafka's words. `counts` are the partition counts of topics where they are fixed.
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
            raise _judged(error, self._id) from error

    async def write(self, outputs: Sequence[Output], source: TP, offset: int) -> None:
        producer = self._started
        await producer.begin_transaction()
        self._open = True
        try:
            await send_batches(producer, outputs, otherwise=source.partition, counts=self._counts)
            # Not side by side with the records: of two questions about one transaction at a time a broker puts one off,
            # and a millisecond saved would cost twenty.
            await producer.send_offsets_to_transaction({TopicPartition(*source): offset}, self._group)
        except KafkaError as error:
            fault = _judged(error, self._id, outputs)
            if isinstance(fault, WorldFault):
                await self._abort()
            raise fault from error

    async def commit(self) -> None:
        try:
            await self._started.commit_transaction()
        except KafkaError as error:
            fault = _judged(error, self._id)
            if isinstance(fault, Fenced):
                raise fault from error
            raise CommitUnknown(
                f"whether a transaction was committed is not known: {type(error).__name__}: {error}",
                where=f"transactional id {self._id}",
                mend="It must not be tried again: a restarted worker finds out, and goes on from what is committed.",
            ) from error
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


class Undelivered(NamedTuple):
    """Records that Kafka did not take, all for one reason: those of one batch, or of those that never became one."""

    outputs: Sequence[Output]
    error: Exception


async def send_batches(
    producer: AIOKafkaProducer,
    outputs: Sequence[Output],
    *,
    otherwise: int = 0,
    counts: Mapping[str, int] | None = None,
) -> None:
    """Return when Kafka has all of it, in order within each partition. Raises KafkaError once nothing is under way.

    By whole batches: twenty times less work for a record than a send() of its own. A record without a key goes to the
    partition `otherwise`. `counts` are the partition counts of topics where they are fixed, whatever Kafka says.
    """
    if failed := await deliver(producer, outputs, otherwise=otherwise, counts=counts):
        fences = (one.error for one in failed if isinstance(one.error, ProducerFenced))
        raise next(fences, failed[0].error)


async def deliver(
    producer: AIOKafkaProducer,
    outputs: Sequence[Output],
    *,
    otherwise: int = 0,
    counts: Mapping[str, int] | None = None,
) -> list[Undelivered]:
    """Write the records as `send_batches` does, and return those that Kafka did not take, in order by partition.

    Raises KafkaError where nothing could be begun, because a topic's partitions are not known.
    """
    placed = await _placed(producer, outputs, otherwise, counts or {})
    return list(chain.from_iterable(await asyncio.gather(*(_send(producer, *each) for each in placed.items()))))


async def _placed(
    producer: AIOKafkaProducer, outputs: Sequence[Output], otherwise: int, fixed: Mapping[str, int]
) -> dict[tuple[str, int], list[Output]]:
    """Spread the outputs over partitions; their order is kept within each."""
    topics = {output.topic for output in outputs}
    counts = {topic: fixed.get(topic) or len(await producer.partitions_for(topic)) for topic in topics}
    placed: dict[tuple[str, int], list[Output]] = {}
    for output in outputs:
        partition = output.partition
        if partition is None:
            partition = partition_of(output.key, counts[output.topic], otherwise=otherwise)
        placed.setdefault((output.topic, partition), []).append(output)
    return placed


async def _send(producer: AIOKafkaProducer, tp: tuple[str, int], records: Sequence[Output]) -> list[Undelivered]:
    chunks: list[Sequence[Output]] = []
    sent: list[Awaitable[object]] = []
    failed: list[Undelivered] = []
    begun = 0
    for end, batch in _batches(producer, records):
        try:
            sent.append(await producer.send_batch(batch, tp[0], partition=tp[1]))
        except KafkaError as error:  # no room, or the producer has died: nothing after it was begun
            failed.append(Undelivered(records[begun:], error))
            break
        chunks.append(records[begun:end])
        begun = end
    outcomes = await asyncio.gather(*sent, return_exceptions=True)
    told = [
        Undelivered(chunk, outcome)
        for chunk, outcome in zip(chunks, outcomes, strict=True)
        if isinstance(outcome, Exception)
    ]
    return [*told, *failed]


def _batches(producer: AIOKafkaProducer, records: Sequence[Output]) -> Iterator[tuple[int, Any]]:
    """Yield each batch with the index behind its last record."""
    batch = producer.create_batch()
    for n, record in enumerate(records):
        if _append(batch, record) is None:
            yield n, batch
            batch = producer.create_batch()
            _append(batch, record)  # the first of a batch is taken whatever its size
    yield len(records), batch


def _append(batch: Any, record: Output) -> object:
    return batch.append(timestamp=None, key=record.key, value=record.value, headers=list(record.headers))


def partition_of(key: bytes | None, partitions: int, *, otherwise: int = 0) -> int:
    """Where Kafka's clients put a record of this key; without a key, `otherwise`, brought into range."""
    if key is None:
        return otherwise % partitions
    hashed = _remembered(key) if len(key) <= _LONGEST_REMEMBERED else _hashed(key)
    return hashed % partitions


def placed(outputs: Iterable[Output], counts: Mapping[str, int]) -> list[Output]:
    """Return the outputs, each of these topics with the partition that its key has for so many partitions.

    Whoever writes to a keyed topic places by the count of its birth: partitions that were added since would get keys
    whose state is elsewhere.
    """
    return [
        output._replace(partition=partition_of(output.key, counts[output.topic]))
        if output.partition is None and output.topic in counts
        else output
        for output in outputs
    ]


def _hashed(key: bytes) -> int:
    return cast(int, murmur2(key)) & 0x7FFFFFFF


_remembered: Final = lru_cache(maxsize=1 << 15)(_hashed)  # aiokafka's is 5 µs of Python; addresses come again
_LONGEST_REMEMBERED: Final = 512
"""Bytes: a cache that is bounded by its entries alone keeps whatever somebody sends."""


def _take_note(producer: AIOKafkaProducer) -> None:
    """Look at all that was told of a fence: aiokafka tells futures of its own, and asyncio would log each of them."""
    unsent = [batch for batches in producer._message_accumulator._batches.values() for batch in batches]
    told = [producer._txn_manager.wait_for_transaction_end(), *(batch._drain_waiter for batch in unsent)]
    for future in told:
        if future is not None and future.done() and not future.cancelled():
            future.exception()


def _judged(error: Exception, transactional_id: str, outputs: Sequence[Output] = ()) -> Exception:
    """Say whose fault an error of aiokafka is. What it retries by itself never gets here."""
    where = f"transactional id {transactional_id}"
    if isinstance(error, ProducerFenced):
        return Fenced(
            "fenced: another worker has begun with this partition, or a transaction was open for too long",
            where=where,
            mend="Nothing half-done is visible. A restarted worker joins again and goes on from what is committed.",
        )
    match family(error):
        case Family.WAIT:
            return WorldFault(f"{type(error).__name__}: {error}")
        case Family.RECORD:
            largest = max(outputs, key=_weight, default=None)
            found = (
                "" if largest is None else f"; the largest of them has {_weight(largest)} bytes, for {largest.topic}"
            )
            return OutputTooLarge(
                f"Kafka does not take what follows from these records: {type(error).__name__}{found}",
                where=where,
                mend="Let that topic take larger records (max.message.bytes), or mend the step that makes such ones. "
                "Nothing of it is visible; a restarted worker tries it again.",
            )
        case Family.DENIED:
            return KafkaRefused(
                f"Kafka refuses a transaction: {type(error).__name__}: {error}",
                where=where,
                mend="Look at the rights of our user, and at the broker's log. A restarted worker tries it again.",
            )
        case Family.RENEW:
            return ProducerBroken(
                f"this producer can go on no more: {type(error).__name__}: {error}",
                where=where,
                mend="None: a restarted worker begins with a new one, and reads again what is not committed.",
            )


def _weight(output: Output) -> int:
    return len(output.key or b"") + len(output.value or b"")
