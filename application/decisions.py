"""Waits for decisions: one consumer of `sends.decided` in each process, shared by all callers that wait.

In:  every partition of the topic, from its end, without a consumer group. So each gateway sees every decision.
Out: the decisions about the messages that somebody waits for: the bytes that the gate wrote, and their decoded value.

A repeated request gets the identical first decision. So a caller that subscribes before it writes misses nothing. While
the topic can't be read, no decision is delivered and callers answer without one.
"""

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import Final, NamedTuple

import structlog
from aiokafka.errors import KafkaTimeoutError

from application import deadlines
from application.send_requests import MessageKey
from processors.engine.consumer import new_consumer
from schemas.decoding.sends import Decision, decode_decision
from schemas.errors import RecordInvalid
from schemas.events import SourcePosition
from schemas.kafka_connection import KafkaAddress, client_arguments
from schemas.log_events import LogEvent
from schemas.topics import SENDS_DECIDED

__all__ = ["DecisionListener", "DecisionRecord", "Waiter"]

MAX_SUBSCRIBED: Final = 50_000
"""Messages that callers of this process wait for at one time; further callers are answered without waiting."""

_READY_WITHIN_SECONDS: Final = 2.0
_RETRY_AFTER_SECONDS: Final = 1.0
_NEW_PARTITIONS_WITHIN_MS: Final = 60_000

log = structlog.get_logger()


class DecisionRecord(NamedTuple):
    """A decision: its bytes as the gate wrote them, and their decoded value."""

    value: bytes
    decision: Decision


class Waiter:
    """Collects the decisions about some messages, for one caller."""

    def __init__(self, message_keys: Collection[MessageKey]) -> None:
        self.message_keys = frozenset(message_keys)
        self._decisions: dict[MessageKey, DecisionRecord] = {}
        self._complete = asyncio.Event()

    def deliver(self, message_key: MessageKey, decision: DecisionRecord) -> None:
        """Keep a decision if this caller waits for it."""
        if message_key in self.message_keys:
            self._decisions.setdefault(message_key, decision)
        if len(self._decisions) == len(self.message_keys):
            self._complete.set()

    async def wait_for_all(self, seconds: float) -> dict[MessageKey, DecisionRecord] | None:
        """Return all decisions; None if one of them does not arrive in time."""
        try:
            async with asyncio.timeout(deadlines.within(seconds)):
                await self._complete.wait()
        except TimeoutError:
            return None
        return self._decisions


class DecisionListener:
    """Consumes `sends.decided` and hands each decision to the callers that wait for it."""

    def __init__(self, bootstrap: KafkaAddress) -> None:
        self._bootstrap = bootstrap
        self._waiters: dict[bytes, list[Waiter]] = {}
        self._reading: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()

    async def start(self) -> None:
        """Start consuming in a task; return before Kafka is connected."""
        self._reading = asyncio.create_task(self._read_until_stopped())

    async def stop(self) -> None:
        """Stop consuming."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait([self._reading])

    @asynccontextmanager
    async def subscribe(self, message_keys: Collection[MessageKey]) -> AsyncIterator[Waiter | None]:
        """Yield a waiter for decisions that are written from now on; None if too many wait, or Kafka can't be read."""
        keys = {message_key.message_id.encode() for message_key in message_keys}
        if len(self._waiters) + len(keys) > MAX_SUBSCRIBED or not await self._is_ready():
            yield None
            return
        waiter = Waiter(message_keys)
        for key in keys:
            self._waiters.setdefault(key, []).append(waiter)
        try:
            yield waiter
        finally:
            for key in keys:
                self._waiters[key].remove(waiter)
                if not self._waiters[key]:
                    del self._waiters[key]

    def dispatch(self, key: bytes | None, value: bytes | None, source: SourcePosition) -> None:
        """Handle one record of the topic. It is decoded only if somebody waits for it."""
        waiting = self._waiters.get(key or b"")
        if not waiting or value is None:
            return
        try:
            decision = decode_decision(value, source)
        except RecordInvalid:
            return  # not a decision: the ledger parks it
        for waiter in waiting:
            waiter.deliver(MessageKey(decision.account_id, decision.message_id), DecisionRecord(value, decision))

    async def _is_ready(self) -> bool:
        try:
            async with asyncio.timeout(deadlines.at_most_half(_READY_WITHIN_SECONDS)):
                await self._ready.wait()
        except TimeoutError:
            return False
        return True

    async def _read_until_stopped(self) -> None:
        while True:
            try:
                await self._read()
            except Exception as error:  # any error: without the consumer every caller would wait in vain
                log.warning(
                    LogEvent.DECISIONS_READING_FAILED,
                    topic=SENDS_DECIDED.name,
                    error=type(error).__name__,
                    detail=str(error)[:500],
                )
            await asyncio.sleep(_RETRY_AFTER_SECONDS)

    async def _read(self) -> None:
        consumer = new_consumer(
            SENDS_DECIDED.name,
            **client_arguments(self._bootstrap),
            auto_offset_reset="latest",
            isolation_level="read_committed",  # the gate's decisions are written in transactions
            enable_auto_commit=False,
            metadata_max_age_ms=_NEW_PARTITIONS_WITHIN_MS,
        )
        try:
            await consumer.start()
            if not await consumer.seek_to_end():
                raise KafkaTimeoutError
            self._ready.set()
            async for record in consumer:
                source = SourcePosition(record.topic, record.partition, record.offset, record.timestamp * 1000)
                self.dispatch(record.key, record.value, source)
        finally:
            self._ready.clear()
            await consumer.stop()
