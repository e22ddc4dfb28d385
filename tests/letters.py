"""Dead letters: parked in a real Kafka; and their topics without one, with what is parked, sent back and noted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import pytest

from processors.dead_letters import DeadLetter, DeadLetters, LetterOutputs, browsing, handling
from processors.kafka import Producer
from processors.kafka.read_topic import AtOffset, Bound
from schemas.events import Rejection
from schemas.records import DeadLetterHandled
from schemas.telemetry import Telemetry
from schemas.topics import DEAD_LETTERS, DEAD_LETTERS_HANDLED
from tests.building import FakeRecord
from tests.engine.fake_transactions import FakeTransactions, Log

__all__ = ["FakeLetterTopics", "park"]


async def park(bootstrap: str, letters: Sequence[DeadLetter], processor: str = "ledger") -> None:
    """Park letters as a worker does."""
    producer = Producer(bootstrap)
    await producer.start()
    try:
        await DeadLetters(producer, processor, Telemetry()).park(letters)
    finally:
        await producer.stop()


class FakeLetterTopics:
    """Letters in one partition, and the transactions of operators, as in tests/contracts/test_letter_topics.py.

    Each reading releases `readers`, and waits while `readable` is not set.
    """

    def __init__(self) -> None:
        self.log = Log()
        self.readable = asyncio.Event()
        self.readable.set()
        self.readers = asyncio.Semaphore(0)
        self._parked: list[FakeRecord] = []

    def install(self, patch: pytest.MonkeyPatch) -> FakeLetterTopics:
        """Replace Kafka for everything that reads or handles letters."""
        patch.setattr(browsing, "read_topic", self._read_topic)
        patch.setattr(handling, "KafkaTransactions", lambda id_, **_: FakeTransactions(self.log, id_))
        return self

    def park(
        self, value: bytes, *, topic: str = "sends.requested", reason: str = "bad", detail: str = "", **record: Any
    ) -> str:
        """Park a record of a topic; return the id of its letter."""
        number = len(self._parked)
        fields: dict[str, Any] = {"key": b"k", "offset": number} | record
        source = FakeRecord(topic, value, **fields)
        output = LetterOutputs("ledger", Telemetry()).of(DeadLetter(source, Rejection(reason, detail, value, None)))
        self._parked.append(FakeRecord(DEAD_LETTERS.name, output.value, output.key, output.headers, 0, number))
        return f"0:{number}"

    @property
    def notes(self) -> list[DeadLetterHandled]:
        """What was done, in order."""
        outputs = self.log.visible[DEAD_LETTERS_HANDLED.name]
        return [DeadLetterHandled.model_validate_json(output.value or b"") for output in outputs]

    def sent_back(self, topic: str = "sends.requested") -> list[bytes | None]:
        """The values that were sent back to a topic, in order."""
        return [output.value for output in self.log.visible[topic]]

    async def _read_topic(
        self, _: str, topic: str, *, since: Bound | None = None, until: Bound | None = None
    ) -> AsyncGenerator[FakeRecord]:
        self.readers.release()
        await self.readable.wait()
        found = self._parked
        if topic != DEAD_LETTERS.name:
            found = [FakeRecord(topic, output.value, output.key) for output in self.log.visible[topic]]
        for record in found:
            if (since is None or not _before(record, since)) and (until is None or _before(record, until)):
                yield record


def _before(record: FakeRecord, bound: Bound) -> bool:
    return record.offset < bound.offset if isinstance(bound, AtOffset) else record.timestamp < bound.ms
