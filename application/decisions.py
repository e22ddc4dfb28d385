"""Waiting for decisions: one reader of `sends.decided` in each process, for all callers that wait.

In:  the topic from its end on, every partition, without a consumer group: so each of several gateways sees every
decision, and none of them is another's business.
Out: the decisions about the messages that somebody watches, as the bytes that the gate wrote, and what they say.

A message that was decided before is decided again in the same words when it is requested again, so whoever watches
first and writes then misses nothing. While the topic can't be read, nobody gets a decision, and everybody his answer.
"""

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import Final, NamedTuple

import structlog
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaTimeoutError

from application import deadlines
from application.send_requests import Pair
from schemas.errors import RecordInvalid
from schemas.events import Place
from schemas.facts import Decision, decode_decision
from schemas.topics import SENDS_DECIDED

__all__ = ["DecisionListener", "DecisionRecord", "Waiter"]

MAX_WATCHED: Final = 50_000
"""Messages that callers of this process wait for at one time; further ones get the answer that needs no waiting."""

_READY_WITHIN_SECONDS: Final = 2.0
_AGAIN_AFTER_SECONDS: Final = 1.0
_NEW_PARTITIONS_WITHIN_MS: Final = 60_000

log = structlog.get_logger()


class DecisionRecord(NamedTuple):
    """A decision: its bytes as the gate wrote them, and what they say."""

    value: bytes
    decision: Decision


class Waiter:
    """Waits for the decisions about some messages, for one caller."""

    def __init__(self, pairs: Collection[Pair]) -> None:
        self.pairs = frozenset(pairs)
        self._found: dict[Pair, DecisionRecord] = {}
        self._complete = asyncio.Event()

    def take(self, pair: Pair, decision: DecisionRecord) -> None:
        """Keep a decision if it is waited for."""
        if pair in self.pairs:
            self._found.setdefault(pair, decision)
        if len(self._found) == len(self.pairs):
            self._complete.set()

    async def all_within(self, seconds: float) -> dict[Pair, DecisionRecord] | None:
        """Return all decisions; None if one of them is not there in time."""
        try:
            async with asyncio.timeout(deadlines.within(seconds)):
                await self._complete.wait()
        except TimeoutError:
            return None
        return self._found


class DecisionListener:
    """The reader, and who waits."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        self._waiters: dict[bytes, list[Waiter]] = {}
        self._reading: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()

    async def start(self) -> None:
        """Begin to read; return before anything is known of Kafka."""
        self._reading = asyncio.create_task(self._keep_reading())

    async def stop(self) -> None:
        """End reading."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait([self._reading])

    @asynccontextmanager
    async def watching(self, pairs: Collection[Pair]) -> AsyncIterator[Waiter | None]:
        """Wait for decisions that are written from now on; None where that can't be."""
        keys = {pair.message_id.encode() for pair in pairs}
        if len(self._waiters) + len(keys) > MAX_WATCHED or not await self._is_ready():
            yield None
            return
        waiter = Waiter(pairs)
        for key in keys:
            self._waiters.setdefault(key, []).append(waiter)
        try:
            yield waiter
        finally:
            for key in keys:
                self._waiters[key].remove(waiter)
                if not self._waiters[key]:
                    del self._waiters[key]

    def take(self, key: bytes | None, value: bytes | None, place: Place) -> None:
        """Take one record of the topic. Only what somebody waits for is decoded."""
        waiting = self._waiters.get(key or b"")
        if not waiting or value is None:
            return
        try:
            decision = decode_decision(value, place)
        except RecordInvalid:
            return  # it is no decision, and the ledger parks it
        for waiter in waiting:
            waiter.take(Pair(decision.account_id, decision.message_id), DecisionRecord(value, decision))

    async def _is_ready(self) -> bool:
        try:
            async with asyncio.timeout(deadlines.at_most_half(_READY_WITHIN_SECONDS)):
                await self._ready.wait()
        except TimeoutError:
            return False
        return True

    async def _keep_reading(self) -> None:
        while True:
            try:
                await self._read()
            except Exception as error:  # whatever it is: a reader that is dead would leave everybody waiting
                log.warning(
                    "decisions.reading_failed",
                    topic=SENDS_DECIDED.name,
                    error=type(error).__name__,
                    detail=str(error)[:500],
                )
            await asyncio.sleep(_AGAIN_AFTER_SECONDS)

    async def _read(self) -> None:
        consumer = AIOKafkaConsumer(
            SENDS_DECIDED.name,
            bootstrap_servers=self._bootstrap,
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
                place = Place(record.topic, record.partition, record.offset, record.timestamp * 1000)
                self.take(record.key, record.value, place)
        finally:
            self._ready.clear()
            await consumer.stop()
