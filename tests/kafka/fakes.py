"""A fake broker with sequence numbers as in Kafka, and the part of an aiokafka producer that ours uses.

A `Producer` over it passes the contract of producers (tests/contracts/test_record_producer.py).
"""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from types import SimpleNamespace
from typing import Any

from aiokafka.errors import KafkaConnectionError, MessageSizeTooLargeError, OutOfOrderSequenceNumber, ProducerClosed


class FakeBroker:
    """One partition a topic. `answers` are the errors of the next batches, in turn; None takes the batch."""

    def __init__(self, most_bytes: int = 1000) -> None:
        self.most_bytes = most_bytes
        self.unavailable = False
        self.silent: asyncio.Event | None = None
        self.answers: deque[Exception | None] = deque()
        self.records: list[tuple[bytes | None, bytes | None]] = []
        """Key and value of each record that it took."""
        self.made = self.waiting = 0

    @property
    def taken(self) -> list[bytes | None]:
        """The values of the records that it took."""
        return [value for _key, value in self.records]

    def producer(self) -> Any:
        self.made += 1
        return FakeAiokafka(self)


class FakeBatch(list[Any]):
    def append(self, *, timestamp: None, key: Any, value: Any, headers: Any) -> object:  # type: ignore[override]
        if len(self) == 4:
            return None
        super().append((key, value))
        return object()


class FakeAiokafka:
    """Numbers batches before they are refused, as aiokafka does: after a refusal all batches are out of order."""

    def __init__(self, broker: FakeBroker) -> None:
        self._broker = broker
        self._ahead: dict[str, bool] = defaultdict(bool)
        self.closed = False
        self._sender = SimpleNamespace(sender_task=None)
        self._message_accumulator = SimpleNamespace(
            _batches={}, _pending_batches=set(), fail_all=lambda _error: None, flush=self.flush
        )
        self.client = SimpleNamespace(close=self.flush, fetch_all_metadata=self._metadata)

    async def start(self) -> None:
        if self._broker.unavailable:
            raise KafkaConnectionError("no broker")
        self._sender.sender_task = asyncio.create_task(asyncio.Event().wait())

    async def stop(self) -> None:
        self.closed = True
        if self._sender.sender_task is not None:
            self._sender.sender_task.cancel()
            await asyncio.gather(self._sender.sender_task, return_exceptions=True)

    async def flush(self) -> None: ...

    async def _metadata(self) -> Any:
        if self._broker.unavailable:
            raise KafkaConnectionError("no broker")
        return SimpleNamespace(topics=lambda: {"t"})

    async def partitions_for(self, topic: str) -> set[int]:
        return {0}

    def create_batch(self) -> FakeBatch:
        return FakeBatch()

    async def send_batch(self, batch: FakeBatch, topic: str, *, partition: int) -> asyncio.Future[None]:
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if error := self._refusal(batch, topic):
            self._ahead[topic] = True
            answer.set_exception(error)
            return answer
        if self._broker.silent is not None:
            self._broker.waiting += 1
            await self._broker.silent.wait()
        self._broker.records += [(key, value) for key, value, *_ in batch]
        answer.set_result(None)
        return answer

    async def send_and_wait(self, topic: str, value: Any, *, key: Any, partition: Any, headers: Any) -> None:
        await (await self.send_batch(FakeBatch([(key, value, headers)]), topic, partition=0))

    def _refusal(self, batch: FakeBatch, topic: str) -> Exception | None:
        answers = self._broker.answers
        refusal: Exception | None = None
        if self.closed:
            refusal = ProducerClosed()
        elif self._ahead[topic]:
            refusal = OutOfOrderSequenceNumber()
        elif answers:
            refusal = answers.popleft()
        elif self._broker.unavailable:
            refusal = KafkaConnectionError("no broker")
        if refusal is None and sum(len(value or b"") for _key, value, *_ in batch) > self._broker.most_bytes:
            refusal = MessageSizeTooLargeError()
        return refusal
