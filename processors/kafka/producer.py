"""The one producer of the project: when a call returns, its records are on all in-sync replicas.

In:  records. Out: nothing, once all of them are acknowledged; otherwise an error that says what helps:

    BrokerError    Kafka is unavailable, or the producer broke and was replaced: repeat the same call.
    BrokerDenied   (a BrokerError) Kafka answers, but waiting or a new producer does not help: an operator has to act.
    RecordRefused  Kafka will never accept these records; all others of the call are written.

After a BrokerError each record may or may not be written, so the same call must be repeated: all our records are safe
to write twice. A duplicate may come after later records, since an abandoned connection may still deliver.
Calls may overlap, up to `MAX_IN_FLIGHT_BYTES`. Order is kept within one call and partition, except for records that one
of these errors delayed.
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

from processors.engine import Output, internals
from processors.engine.families import ErrorFamily, error_family
from processors.engine.transactions import BATCH_BYTES, Undelivered, closed_within, deliver
from processors.kafka.diagnosis import connection_error
from schemas.errors import BrokerDenied, BrokerError, RecordRefused
from schemas.kafka_connection import KafkaAddress, client_arguments
from schemas.log_events import LogEvent
from schemas.telemetry import PRODUCERS_RENEWED_TOTAL, Telemetry
from schemas.topics import MAX_MESSAGE_BYTES

__all__ = ["Producer", "size_of"]

log = structlog.get_logger()

ACKNOWLEDGED_WITHIN_SECONDS: Final = 30.0
STUCK_SECONDS: Final = 60.0
"""If a call times out this long after the last acknowledgement, the producer is considered broken."""

MAX_IN_FLIGHT_BYTES: Final = 64 * 2**20
"""Of all calls together. aiokafka puts one batch of each partition into a request, and a broker closes the connection
on a request over 100 MiB (`socket.request.max.bytes`), which an idempotent producer would repeat forever."""

SLICE_BYTES: Final = 16 * 2**20
"""Bytes of one call that are in flight at once. Larger than the largest record."""

CLOSE_SECONDS: Final = 3.0
TRIES: Final = 3
"""How often a record is attempted within one call, each time with a new producer."""

_Send = Callable[[AIOKafkaProducer, Sequence[Output]], Awaitable[list[Undelivered]]]


class Producer:
    """An idempotent producer that replaces its aiokafka producer when that is broken (see `engine.families`)."""

    def __init__(
        self,
        bootstrap: KafkaAddress,
        *,
        acknowledged_within_seconds: float = ACKNOWLEDGED_WITHIN_SECONDS,
        linger_ms: int = 0,
        max_record_bytes: int = MAX_MESSAGE_BYTES,
        telemetry: Telemetry | None = None,
        make: Callable[[], AIOKafkaProducer] | None = None,
    ) -> None:
        """Create it; nothing is opened before `start`.

        `acknowledged_within_seconds` applies to each `SLICE_BYTES` of a call. `max_record_bytes` covers key, value,
        headers and framing; a larger record is refused before anything is sent. `telemetry` counts replacements. `make`
        is for tests.
        """
        self._bootstrap, self._within, self._most_bytes = bootstrap, acknowledged_within_seconds, max_record_bytes
        self._telemetry = telemetry or Telemetry()
        self._make = make or (lambda: _aiokafka_producer(bootstrap, linger_ms, max_record_bytes))
        self._kafka: AIOKafkaProducer | None = None
        self._renewal: asyncio.Task[AIOKafkaProducer] | None = None
        self._in_flight = _ByteLimit(MAX_IN_FLIGHT_BYTES)
        self._open = False
        self._stuck = False
        self._acknowledged_at = 0.0

    async def start(self) -> None:
        """Connect. Raises BrokerError; then it may be called again, and `stop` need not be called."""
        self._open = True
        try:
            async with asyncio.timeout(self._within):
                await self._usable()
        except (KafkaError, TimeoutError, OSError) as error:
            await self.stop()
            raise await connection_error(*self._unanswered(error), error) from error

    async def stop(self) -> None:
        """Close; records in flight get some seconds. Never raises."""
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
        """Whether it can write, as far as it knows. False before `start`, and while it or Kafka is unavailable."""
        return self._kafka is not None and not self._stuck and _sender_is_alive(self._kafka)

    async def metadata(self) -> frozenset[str]:
        """Request the topic names from Kafka, for readiness checks. Raises BrokerError."""
        try:
            async with asyncio.timeout(self._within):
                cluster = await (await self._usable()).client.fetch_all_metadata()
        except (KafkaError, TimeoutError, OSError) as error:
            kind = BrokerDenied if error_family(error) is ErrorFamily.DENIED else BrokerError
            what, kafka, mend = self._unanswered(error)
            raise kind(what, str(kafka), mend) from error
        return frozenset(cluster.topics())

    async def send_all(self, outputs: Sequence[Output], *, within_seconds: float | None = None) -> None:
        """Write a few records, in batches shared with concurrent calls. For records that arrive one at a time.

        Raises BrokerError (also after `within_seconds` in total) and RecordRefused.
        """
        await self._deliver(outputs, _send_each, within_seconds)

    async def send_batches(self, outputs: Sequence[Output], *, within_seconds: float | None = None) -> None:
        """Write many records, in batches of this call alone: much less work per record. Raises like `send_all`."""
        await self._deliver(outputs, deliver, within_seconds)

    async def _deliver(self, outputs: Sequence[Output], send: _Send, within_seconds: float | None) -> None:
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
                for some, size in _slices(sendable):
                    # Each slice has its own timeout: a large call on a slow connection would otherwise never succeed.
                    async with self._in_flight.reserved(size), asyncio.timeout(self._within):
                        for output, error in await self._written(some, send, TRIES):
                            refused[index[id(output)]] = type(error).__name__
        except TimeoutError as error:
            self._stuck = self._stuck or monotonic() - self._acknowledged_at > STUCK_SECONDS
            raise _write_error(outputs, error) from error
        except (KafkaError, OSError) as error:
            raise _write_error(outputs, error) from error
        if refused:
            n, why = next(iter(refused.items()))
            raise RecordRefused(
                f"Kafka refuses {len(refused)} of {len(outputs)} records, the first for {why}",
                f"{outputs[n].topic}, a record of {size_of(outputs[n])} bytes",
                refused,
            )

    async def _written(self, outputs: Sequence[Output], send: _Send, tries: int) -> list[tuple[Output, Exception]]:
        """Write the records, and return those that Kafka refuses for themselves. Raises KafkaError."""
        if not outputs:
            return []
        kafka = await self._usable()
        try:
            failed = await send(kafka, outputs)
        except KafkaError as error:  # nothing was sent
            failed = [Undelivered(outputs, error)]
        if not failed:
            self._acknowledged_at = monotonic()
            return []
        families = {error_family(one.error) for one in failed}
        if families & {ErrorFamily.RECORD, ErrorFamily.RENEW}:
            await self._renewed(kafka, failed[0].error)
        refused = []
        for one in failed:  # sequentially, to keep the order within a partition
            if error_family(one.error) is not ErrorFamily.RECORD:
                if tries <= 1 or error_family(one.error) is not ErrorFamily.RENEW:
                    raise one.error
                refused += await self._written(one.outputs, deliver, tries - 1)
            elif send is _send_each:  # it may have shared a batch with the refused record
                refused += await self._written(one.outputs, deliver, tries)
            elif len(one.outputs) == 1:
                refused.append((one.outputs[0], one.error))
            else:
                middle = len(one.outputs) // 2
                refused += await self._written(one.outputs[:middle], deliver, tries)
                refused += await self._written(one.outputs[middle:], deliver, tries)
        return refused

    async def _usable(self) -> AIOKafkaProducer:
        """Return a working producer, as far as is known; a new one if the last is broken. Raises KafkaError."""
        if not self._open:
            raise RuntimeError("the producer is used before start() or after stop()")
        kafka = self._kafka
        if kafka is not None and self.healthy:
            return kafka
        return await self._renewed(kafka, ProducerClosed("stuck, or its sender has died") if kafka else None)

    async def _renewed(self, broken: AIOKafkaProducer | None, why: Exception | None) -> AIOKafkaProducer:
        """Return another producer than `broken`. Concurrent calls wait for the same one."""
        if self._kafka is not None and self._kafka is not broken:
            return self._kafka
        if self._renewal is None or self._renewal.done():
            self._renewal = asyncio.create_task(self._renew(why), name="producer-renewal")
        # Shielded: the timeout of one call must not cancel what the others wait for.
        return await asyncio.shield(self._renewal)

    async def _renew(self, why: Exception | None) -> AIOKafkaProducer:
        broken, self._kafka = self._kafka, None
        if broken is not None:
            log.warning(
                LogEvent.PRODUCER_RENEWED,
                why=str(why)[:500],
                where=str(self._bootstrap),
                mend="none needed: the producer is replaced",
            )
            self._telemetry.counter(PRODUCERS_RENEWED_TOTAL, why=type(why).__name__).inc()
            await _discard(broken)
        fresh = self._make()
        try:
            await fresh.start()
        except BaseException:
            await _discard(fresh)
            raise
        self._kafka, self._stuck, self._acknowledged_at = fresh, False, monotonic()
        return fresh

    def _unanswered(self, error: Exception) -> tuple[str, KafkaAddress, str]:
        """Return what happened, where, and the mend."""
        return (
            f"Kafka does not answer: {_reason(error)}",
            self._bootstrap,
            "Start it, or set SENDLEDGER_KAFKA_BOOTSTRAP",
        )


class _ByteLimit:
    """Limits the bytes in flight."""

    def __init__(self, most: int) -> None:
        self._left, self._freed = most, asyncio.Condition()

    @asynccontextmanager
    async def reserved(self, size: int) -> AsyncIterator[None]:
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
    """Split into slices of at most `SLICE_BYTES`, with the size of each. No record is larger than a slice."""
    first = size = 0
    for n, output in enumerate(outputs):
        more = size_of(output)
        if size + more > SLICE_BYTES:
            yield outputs[first:n], size
            first, size = n, 0
        size += more
    if size:
        yield outputs[first:], size


def _aiokafka_producer(bootstrap: KafkaAddress, linger_ms: int, max_record_bytes: int) -> AIOKafkaProducer:
    return AIOKafkaProducer(
        **client_arguments(bootstrap),
        acks="all",
        enable_idempotence=True,
        linger_ms=linger_ms,
        max_batch_size=BATCH_BYTES,
        max_request_size=max_record_bytes,
    )


async def _send_each(kafka: AIOKafkaProducer, outputs: Sequence[Output]) -> list[Undelivered]:
    """Write each record into whatever batch is open; return those not accepted, one entry per error family."""
    sending = (_send_one(kafka, output) for output in outputs)
    outcomes = await asyncio.gather(*sending, return_exceptions=True)
    failed: dict[ErrorFamily, Undelivered] = {}
    for output, outcome in zip(outputs, outcomes, strict=True):
        if isinstance(outcome, KafkaError | TimeoutError | OSError):
            of = error_family(outcome)
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
    """Return why no producer accepts this record, or None."""
    if output.key is None and output.value is None:
        return "having neither key nor value"
    return f"being over {most_bytes} bytes" if size_of(output) > most_bytes else None


def size_of(output: Output) -> int:
    """Return the size of a batch that contains only this record."""
    return cast(int, DefaultRecordBatchBuilder.estimate_size_in_bytes(output.key, output.value, list(output.headers)))


def _write_error(outputs: Iterable[Output], error: Exception) -> BrokerError:
    where = ", ".join(sorted({output.topic for output in outputs}))
    if error_family(error) is ErrorFamily.DENIED or (
        error_family(error) is ErrorFamily.RENEW and not _may_be_temporary(error)
    ):
        return BrokerDenied(
            f"Kafka refuses the write: {_reason(error)}",
            where,
            "Check the broker's log, the permissions of our user, and the topic",
        )
    return BrokerError(
        f"Kafka does not acknowledge: {_reason(error)}",
        where,
        "Repeat it once Kafka is available: duplicates count once",
    )


def _may_be_temporary(error: Exception) -> bool:
    """Whether an error that new producers raised again may be temporary: no leader, or concurrent calls broke them."""
    return isinstance(error, ProducerClosed) or getattr(error, "retriable", False)


def _reason(error: Exception) -> str:
    return (
        str(error) if str(error).startswith(type(error).__name__) else f"{type(error).__name__}: {error}".rstrip(": ")
    )


def _sender_is_alive(kafka: AIOKafkaProducer) -> bool:
    """Whether aiokafka's background task runs. If it was cancelled, pending calls would never end."""
    task = internals.sender_task(kafka)
    return task is not None and not task.done()


async def _discard(kafka: AIOKafkaProducer) -> None:
    """Close a producer without waiting for its unsent records; never raises.

    Pending calls fail with ProducerClosed at once, and are repeated with the next producer.
    """
    if (sender := internals.sender_task(kafka)) is not None:
        sender.cancel()
    sent, unsent = list(internals.sent_batches(kafka)), internals.unsent_batches(kafka)
    internals.fail_batches(kafka, ProducerClosed("replaced"))
    internals.retrieve_exceptions(kafka, unsent)
    await asyncio.sleep(0)  # failed batches leave the set now
    internals.sent_batches(kafka).update(sent)  # where the ends of their requests look for them
    # Connections first: the sender waits for its requests, and those for responses that may never arrive.
    for close in (kafka.client.close, kafka.stop):
        await closed_within(CLOSE_SECONDS, close)
