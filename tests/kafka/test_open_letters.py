"""The open dead letters, as read for a page: within a time, at most a number, and of any client. Without Kafka."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import pytest

from processors.dead_letters import browsing
from processors.dead_letters.browsing import HandledLetters, OpenLetters, read_open_letters
from schemas.errors import BrokerError
from tests.building import FakeRecord


def parked(offset: int, failed_at: bytes, *, timestamp: int = 0) -> FakeRecord:
    headers = [("dlq.reason", b"bad"), ("dlq.failed_at", failed_at)]
    return FakeRecord("dead-letters", b"{", b"k", headers, 0, offset, timestamp)


async def letters_of(
    monkeypatch: pytest.MonkeyPatch, records: Sequence[FakeRecord], *, hangs: bool = False, most: int = 10
) -> OpenLetters:
    """Read a topic that has these records, and then hangs or ends."""

    async def read_topic(*_: Any, **__: Any) -> AsyncGenerator[FakeRecord]:
        for record in records:
            yield record
        if hangs:
            await asyncio.Event().wait()

    async def read_handled(_: str) -> HandledLetters:
        return HandledLetters()

    monkeypatch.setattr(browsing, "read_topic", read_topic)
    monkeypatch.setattr(browsing, "read_handled", read_handled)
    return await read_open_letters("nowhere", since_ms=0, most=most, within_seconds=0.2 if hangs else 60)


def minute(number: int) -> bytes:
    return b"2026-11-30T08:%02d:00.000000Z" % number


async def test_a_kafka_that_hangs_is_an_error_and_one_without_letters_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BrokerError, match="did not answer in"):
        await letters_of(monkeypatch, [], hangs=True)
    assert await letters_of(monkeypatch, []) == OpenLetters((), 0, reached_end=True)


async def test_what_was_read_in_time_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    found = await letters_of(monkeypatch, [parked(1, minute(1)), parked(2, minute(2))], hangs=True)
    assert ([one.id.offset for one in found.letters], found.older, found.reached_end) == ([2, 1], 0, False)


async def test_of_too_many_the_newest_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    records = [parked(number, minute(number)) for number in (3, 1, 5, 2, 4)]
    found = await letters_of(monkeypatch, records, most=2)
    assert ([one.id.offset for one in found.letters], found.older, found.reached_end) == ([5, 4], 3, True)
    assert (await letters_of(monkeypatch, records, most=5)).older == 0


async def test_of_a_long_header_of_another_client_the_beginning_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    record = FakeRecord("dead-letters", b"{", b"k", [("dlq.detail", b"x" * 2**20)], 0, 0)
    [letter] = (await letters_of(monkeypatch, [record])).letters
    assert letter.detail == "x" * 8_000


@pytest.mark.parametrize("failed_at", [b"", b"yesterday", b"\xff", b"1"])
async def test_a_record_of_another_client_has_the_time_of_kafka(
    monkeypatch: pytest.MonkeyPatch, failed_at: bytes
) -> None:
    found = await letters_of(monkeypatch, [parked(0, failed_at, timestamp=1_800_000_000_123)])
    assert [one.failed_at for one in found.letters] == ["2027-01-15T08:00:00.123000Z"]
