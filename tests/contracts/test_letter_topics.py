"""The topics of dead letters: Kafka's and the fake's."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from itertools import count
from typing import Protocol

import pytest

from processors.dead_letters import DeadLetter
from processors.dead_letters import handling as module
from processors.dead_letters.browsing import Letter, read_handled, read_letters
from processors.dead_letters.handling import AnotherOperator, HandlingResult, handle
from processors.engine import Output
from processors.kafka.read_topic import AtOffset, AtTime, Bound, read_topic
from schemas.events import Rejection
from tests.building import FakeRecord
from tests.kafka.broker import broker_with_topics
from tests.letters import FakeLetterTopics, park

TOPIC = "sends.requested"
FUTURE_MS = 4_000_000_000_000


class Backend(Protocol):
    """Topics with letters in one partition."""

    bootstrap: str

    async def park(self, value: bytes, reason: str) -> None: ...

    async def sent_back(self) -> Sequence[bytes | None]: ...


async def letters_of(
    backend: Backend, reason: str, since: Bound | None = None, until: Bound | None = None
) -> list[Letter]:
    handled = await read_handled(backend.bootstrap)
    async with aclosing(read_letters(backend.bootstrap, handled, since=since, until=until)) as letters:
        return [letter async for letter in letters if letter.reason == reason]


async def redrive(backend: Backend, reason: str) -> HandlingResult:
    done = await handle(
        backend.bootstrap,
        lambda one: one.reason == reason,
        "redriven",
        actor="ann",
        reason="",
        at="2026-11-30T08:00:00Z",
    )
    async with module._only_operator(backend.bootstrap):
        return done  # Kafka lets no new operator start before the transaction is visible


class LetterTopicsContract:
    async def test_letters_are_read_from_a_bound_to_another(self, backend: Backend) -> None:
        for value in (b"a", b"b", b"c"):
            await backend.park(value, "bounds")
        found = await letters_of(backend, "bounds")
        assert [one.value for one in found] == [b"a", b"b", b"c"]
        offset = found[1].id.offset
        assert await letters_of(backend, "bounds", AtOffset(offset), AtOffset(offset + 1)) == [found[1]]
        assert await letters_of(backend, "bounds", AtTime(0), AtTime(FUTURE_MS)) == found
        assert await letters_of(backend, "bounds", AtTime(FUTURE_MS)) == []
        assert await letters_of(backend, "bounds", None, AtTime(0)) == []

    async def test_what_is_sent_back_is_noted(self, backend: Backend) -> None:
        await backend.park(b"again", "noted")
        assert len((await redrive(backend, "noted")).done) == 1
        [letter] = await letters_of(backend, "noted")
        assert letter.handled
        assert (letter.handled.action, letter.handled.actor) == ("redriven", "ann")
        assert len((await redrive(backend, "noted")).already) == 1
        assert list(await backend.sent_back()).count(b"again") == 1

    async def test_a_new_operator_stops_the_one_before(self, backend: Backend) -> None:
        with pytest.raises(AnotherOperator):
            await self._write_too_late(backend)
        assert b"late" not in await backend.sent_back()

    @staticmethod
    async def _write_too_late(backend: Backend) -> None:
        async with module._only_operator(backend.bootstrap) as first:
            async with module._only_operator(backend.bootstrap):
                pass
            await first.write([Output(TOPIC, b"k", b"late")])
            await first.commit()


class FakeBackend:
    bootstrap = "nowhere"

    def __init__(self, topics: FakeLetterTopics) -> None:
        self._topics = topics

    async def park(self, value: bytes, reason: str) -> None:
        self._topics.park(value, reason=reason)

    async def sent_back(self) -> Sequence[bytes | None]:
        return self._topics.sent_back()


class KafkaBackend:
    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap
        self._offsets = count()

    async def park(self, value: bytes, reason: str) -> None:
        record = FakeRecord(TOPIC, value, b"k", offset=next(self._offsets))
        await park(self.bootstrap, [DeadLetter(record, Rejection(reason, "", value, None))])

    async def sent_back(self) -> Sequence[bytes | None]:
        return [record.value async for record in read_topic(self.bootstrap, TOPIC)]


class TestFakeLetterTopics(LetterTopicsContract):
    @pytest.fixture
    def backend(self, monkeypatch: pytest.MonkeyPatch) -> FakeBackend:
        return FakeBackend(FakeLetterTopics().install(monkeypatch))


@pytest.fixture(scope="module")
async def kafka_backend(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[KafkaBackend]:
    async with broker_with_topics(tmp_path_factory.mktemp("letters"), partitions=1) as bootstrap:
        yield KafkaBackend(bootstrap)


@pytest.mark.kafka
class TestLetterTopics(LetterTopicsContract):
    @pytest.fixture
    def backend(self, kafka_backend: KafkaBackend) -> KafkaBackend:
        return kafka_backend
