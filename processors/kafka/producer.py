"""The one producer of the project: what it returns from is on all in-sync replicas.

In:  records. Out: nothing, once all of them are acknowledged; else an error that says what helps:

    BrokerError    Kafka is away, or the producer broke and was replaced: repeat the same call.
    BrokerDenied   (a BrokerError) Kafka answers, and neither time nor a new producer helps: an operator does.
    RecordRefused  these records will never be taken; all others of the call are written.

After a BrokerError each record may be written or not, so whoever repeats must ask for the same: every record of ours
is safe to write twice. A copy may land behind later records, since a connection that was given up may still deliver.
Calls may overlap, up to `UNDER_WAY_BYTES`; order is kept within one call and partition, but for records that one of
these errors delayed.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from time import monotonic
from typing import Final, cast

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, ProducerClosed
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from processors.engine import Family, Output, Undelivered, deliver, family
from processors.engine.transactions import BATCH_BYTES
from schemas.errors import BrokerDenied, BrokerError, RecordRefused
from schemas.topics import FRAME_BYTES, MAX_RECORD_BYTES

__all__ = ["Producer", "size_of"]

log = structlog.get_logger()

ACKNOWLEDGED_WITHIN_SECONDS: Final = 30.0
STUCK_SECONDS: Final = 60.0
"""A call that timed out this long after the last acknowledgement has a producer that is not trusted any more."""

UNDER_WAY_BYTES: Final = 64 * 2**20
"""Of all calls together. aiokafka puts one batch of each partition into a request, and a broker hangs up on one of over
100 MiB (`socket.request.max.bytes`), which an idempotent producer would repeat for ever."""

SLICE_BYTES: Final = 16 * 2**20
"""Of one call, that are under way at once: over the largest record."""

CLOSE_SECONDS: Final = 3.0
TRIES: Final = 3
"""How often a record is attempted within one call, each time by another producer than the one that broke."""

_Way = Callable[[AIOKafkaProducer, Sequence[Output]], Awaitable[list[Undelivered]]]


class Producer:
    """An idempotent producer that replaces its aiokafka producer when that is broken (`engine.families` says when)."""

    def __init__(
        self,
        bootstrap: str,
        *,
        acknowledged_within_seconds: float = ACKNOWLEDGED_WITHIN_SECONDS,
        linger_ms: int = 0,
        max_record_bytes: int = MAX_RECORD_BYTES + FRAME_BYTES,
        on_renewed: Callable[[str], None] = lambda _why: None,
        make: Callable[[], AIOKafkaProducer] | None = None,
    ) -> None:
        """Make it; nothing is opened before `start`.

        `acknowledged_within_seconds` is for each `SLICE_BYTES` of a call. `max_record_bytes` counts key, value, headers
        and frame; a larger record is refused before anything is sent.
        `on_renewed` is called with the error's name at each replacement, for a metric. `make` is for tests.
        """
        self._bootstrap, self._within, self._most_bytes = bootstrap, acknowledged_within_seconds, max_record_bytes
        self._on_renewed = on_renewed
        self._make = make or (lambda: _aiokafka_producer(bootstrap, linger_ms, max_record_bytes))
        self._kafka: AIOKafkaProducer | None = None
        self._renewal: asyncio.Task[AIOKafkaProducer] | None = None
        self._room = _Room(UNDER_WAY_BYTES)
        self._open = False
        self._stuck = False
        self._trusted_at = 0.0

    async def start(self) -> None:
        """Connect. Raises BrokerError; then it may be called again, and `stop` need not be."""
        self._open = True
        try:
            async with asyncio.timeout(self._within):
                await self._usable()
        except (KafkaError, TimeoutError, OSError) as error:
            await self.stop()
            raise self._away(error) from error

    async def stop(self) -> None:
        """Close; what is under way gets some seconds. Never raises."""
        self._open = False
        if self._renewal is not None:
            self._renewal.cancel()
            await asyncio.gather(self._renewal, return_exceptions=True)
        kafka, self._kafka = self._kafka, None
        if kafka is not None:
            with suppress(TimeoutError, KafkaError):
                async with asyncio.timeout(CLOSE_SECONDS):
                    await kafka.flush()
            await _discard(kafka)

    @property
    def healthy(self) -> bool:
        """Whether it can write as far as it knows. False before `start`, while broken, and while Kafka is away."""
        return self._kafka is not None and not self._stuck and _sender_is_alive(self._kafka)

    async def metadata(self) -> frozenset[str]:
        """Ask Kafka for its topics, and return their names: for readiness. Raises BrokerError."""
        try:
            async with asyncio.timeout(self._within):
                cluster = await (await self._usable()).client.fetch_all_metadata()
        except (KafkaError, TimeoutError, OSError) as error:
            raise self._away(error) from error
        return frozenset(cluster.topics())

    async def send_all(self, outputs: Sequence[Output], *, within_seconds: float | None = None) -> None:
        """Write a few records, in batches shared with calls beside this one. For what comes one by one.

        Raises BrokerError (also after `within_seconds` in all) and RecordRefused.
        """
        await self._deliver(outputs, _send_each, within_seconds)

    async def send_batches(self, outputs: Sequence[Output], *, within_seconds: float | None = None) -> None:
        """Write many records, in batches of this call alone: much less work for each. Raises as `send_all` does."""
        await self._deliver(outputs, deliver, within_seconds)

    async def _deliver(self, outputs: Sequence[Output], way: _Way, within_seconds: float | None) -> None:
        refused: dict[int, str] = {}
        index = {id(output): n for n, output in enumerate(outputs)}
        sendable = []
        for n, output in enumerate(outputs):
            if why := _unsendable(output, self._most_bytes):
                refused[n] = why
            else:
                sendable.append(output)
        try:
            async with asyncio.timeout(within_seconds):
                for some, room in _slices(sendable):
                    # Each by its own time: a large call on a slow line must get on, or it would be repeated for ever.
                    async with self._room.taken(room), asyncio.timeout(self._within):
                        for output, error in await self._written(some, way, TRIES):
                            refused[index[id(output)]] = type(error).__name__
        except TimeoutError as error:
            self._stuck = self._stuck or monotonic() - self._trusted_at > STUCK_SECONDS
            raise _unwritten(outputs, error) from error
        except (KafkaError, OSError) as error:
            raise _unwritten(outputs, error) from error
        if refused:
            n, why = next(iter(refused.items()))
            raise RecordRefused(
                f"Kafka will not take {len(refused)} of {len(outputs)} records, the first for {why}",
                f"{outputs[n].topic}, a record of {size_of(outputs[n])} bytes",
                refused,
            )

    async def _written(self, outputs: Sequence[Output], way: _Way, tries: int) -> list[tuple[Output, Exception]]:
        """Write the records but those that are at fault themselves, and return these. Raises KafkaError."""
        if not outputs:
            return []
        kafka = await self._usable()
        try:
            failed = await way(kafka, outputs)
        except KafkaError as error:  # nothing of it was begun
            failed = [Undelivered(outputs, error)]
        if not failed:
            self._trusted_at = monotonic()
            return []
        families = {family(one.error) for one in failed}
        if families & {Family.RECORD, Family.RENEW}:
            await self._renewed(kafka, failed[0].error)
        refused = []
        for one in failed:  # one after the other: the order within a partition
            if family(one.error) is not Family.RECORD:
                if tries <= 1 or family(one.error) is not Family.RENEW:
                    raise one.error
                refused += await self._written(one.outputs, deliver, tries - 1)
            elif way is _send_each:  # it may have shared its batch with the one at fault
                refused += await self._written(one.outputs, deliver, tries)
            elif len(one.outputs) == 1:
                refused.append((one.outputs[0], one.error))
            else:
                middle = len(one.outputs) // 2
                refused += await self._written(one.outputs[:middle], deliver, tries)
                refused += await self._written(one.outputs[middle:], deliver, tries)
        return refused

    async def _usable(self) -> AIOKafkaProducer:
        """Return a producer that works as far as is known; a new one where the last is broken. Raises KafkaError."""
        if not self._open:
            raise RuntimeError("the producer is used before its start or after its end")
        kafka = self._kafka
        if kafka is not None and self.healthy:
            return kafka
        return await self._renewed(kafka, ProducerClosed("stuck, or its sender has died") if kafka else None)

    async def _renewed(self, broken: AIOKafkaProducer | None, why: Exception | None) -> AIOKafkaProducer:
        """Return another producer than `broken`. Calls beside this one wait for the same one."""
        if self._kafka is not None and self._kafka is not broken:
            return self._kafka
        if self._renewal is None or self._renewal.done():
            self._renewal = asyncio.create_task(self._renew(why), name="producer-renewal")
        # Shielded: the deadline of one call must not cut off what the others wait for.
        return await asyncio.shield(self._renewal)

    async def _renew(self, why: Exception | None) -> AIOKafkaProducer:
        broken, self._kafka = self._kafka, None
        if broken is not None:
            log.warning(
                "producer.renewed", why=str(why)[:500], where=self._bootstrap, mend="none needed: it is replaced"
            )
            self._on_renewed(type(why).__name__)
            await _discard(broken)
        fresh = self._make()
        try:
            await fresh.start()
        except BaseException:
            await _discard(fresh)
            raise
        self._kafka, self._stuck, self._trusted_at = fresh, False, monotonic()
        return fresh

    def _away(self, error: Exception) -> BrokerError:
        kind = BrokerDenied if family(error) is Family.DENIED else BrokerError
        return kind(
            f"Kafka does not answer: {_said(error)}", self._bootstrap, "Start it, or set SENDLEDGER_KAFKA_BOOTSTRAP"
        )


class _Room:
    """Bytes that may be under way."""

    def __init__(self, most: int) -> None:
        self._left, self._freed = most, asyncio.Condition()

    @asynccontextmanager
    async def taken(self, size: int) -> AsyncIterator[None]:
        async with self._freed:
            await self._freed.wait_for(lambda: self._left >= size)
            self._left -= size
        try:
            yield
        finally:
            async with self._freed:
                self._left += size
                self._freed.notify_all()


def _slices(outputs: Sequence[Output]) -> Iterator[tuple[Sequence[Output], int]]:
    """Cut into runs of at most `SLICE_BYTES`, and say how many bytes each has. No record is larger than a slice."""
    first = size = 0
    for n, output in enumerate(outputs):
        more = size_of(output)
        if size + more > SLICE_BYTES:
            yield outputs[first:n], size
            first, size = n, 0
        size += more
    if size:
        yield outputs[first:], size


def _aiokafka_producer(bootstrap: str, linger_ms: int, max_record_bytes: int) -> AIOKafkaProducer:
    return AIOKafkaProducer(
        bootstrap_servers=bootstrap,
        acks="all",
        enable_idempotence=True,
        linger_ms=linger_ms,
        max_batch_size=BATCH_BYTES,
        max_request_size=max_record_bytes,
    )


async def _send_each(kafka: AIOKafkaProducer, outputs: Sequence[Output]) -> list[Undelivered]:
    """Write each record by itself into whatever batch is open; return those not taken, one entry a reason."""
    sending = (_send_one(kafka, output) for output in outputs)
    outcomes = await asyncio.gather(*sending, return_exceptions=True)
    failed: dict[Family, Undelivered] = {}
    for output, outcome in zip(outputs, outcomes, strict=True):
        if isinstance(outcome, KafkaError | TimeoutError | OSError):
            of = family(outcome)
            before = failed[of].outputs if of in failed else ()
            failed[of] = Undelivered([*before, output], outcome)
        elif isinstance(outcome, BaseException):
            raise outcome
    return list(failed.values())


async def _send_one(kafka: AIOKafkaProducer, output: Output) -> None:
    await kafka.send_and_wait(
        output.topic, output.value, key=output.key, partition=output.partition, headers=list(output.headers)
    )


def _unsendable(output: Output, most_bytes: int) -> str | None:
    """Return why no producer would take this record, or None."""
    if output.key is None and output.value is None:
        return "having neither key nor value"
    return f"being over {most_bytes} bytes" if size_of(output) > most_bytes else None


def size_of(output: Output) -> int:
    """Return the bytes of a batch that has this record alone."""
    return cast(int, DefaultRecordBatchBuilder.estimate_size_in_bytes(output.key, output.value, list(output.headers)))


def _unwritten(outputs: Iterable[Output], error: Exception) -> BrokerError:
    where = ", ".join(sorted({output.topic for output in outputs}))
    if family(error) is Family.DENIED or (family(error) is Family.RENEW and not _passes(error)):
        return BrokerDenied(
            f"Kafka refuses to be written to: {_said(error)}",
            where,
            "Look at the broker's log, at the rights of our user, and at the topic",
        )
    return BrokerError(
        f"Kafka does not acknowledge: {_said(error)}",
        where,
        "Do it again once Kafka is there: what is written twice counts once",
    )


def _passes(error: Exception) -> bool:
    """Whether an error that new producers met again may still pass: no leader, or calls beside this one broke them."""
    return isinstance(error, ProducerClosed) or getattr(error, "retriable", False)


def _said(error: Exception) -> str:
    return (
        str(error) if str(error).startswith(type(error).__name__) else f"{type(error).__name__}: {error}".rstrip(": ")
    )


def _sender_is_alive(kafka: AIOKafkaProducer) -> bool:
    """Whether aiokafka's background task runs. Where it was cancelled, nobody fails what waits for it."""
    task = kafka._sender.sender_task
    return task is not None and not task.done()


async def _discard(kafka: AIOKafkaProducer) -> None:
    """Close a producer without waiting for what it still has to send; never raises.

    Calls that wait for it fail with ProducerClosed at once, and are repeated with the next one.
    """
    waiting, sender = kafka._message_accumulator, kafka._sender.sender_task
    if sender is not None:
        sender.cancel()
    under_way = list(waiting._pending_batches)
    unsent = [batch for batches in waiting._batches.values() for batch in batches]
    waiting.fail_all(ProducerClosed("replaced"))
    waiting._batches.clear()
    for batch in unsent:
        if batch._drain_waiter.done() and not batch._drain_waiter.cancelled():
            batch._drain_waiter.exception()  # looked at, or asyncio would log each of them
    await asyncio.sleep(0)  # those that failed leave the set now
    waiting._pending_batches.update(under_way)  # where their requests' ends look for them
    # The connections first: the sender's end waits for its requests, and those for answers that may never come.
    for closing in (kafka.client.close, kafka.stop):
        with suppress(Exception):
            async with asyncio.timeout(CLOSE_SECONDS):
                await closing()
