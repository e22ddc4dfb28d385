"""Read dead letters, each with what an operator has done about it.

In:  the topics `dead-letters` and `dead-letters.handled`.
Out: `Letter`s, in the order of their partitions and offsets; what the current code would do with one.
"""

import asyncio
import heapq
import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import Final, NamedTuple

from pydantic import ValidationError

from processors.engine import Record
from processors.kafka.read_topic import AtOffset, AtTime, Bound, read_topic
from schemas.decoding.decoders import decoders
from schemas.decoding.times import rfc3339, rfc3339_us
from schemas.errors import BrokerError, RecordInvalid
from schemas.events import Parsed, SourcePosition
from schemas.kafka_connection import KafkaAddress
from schemas.records import DeadLetterHandled
from schemas.topics import DEAD_LETTERS, DEAD_LETTERS_HANDLED, GATE_INTERNAL

__all__ = [
    "REDRIVEN_FROM",
    "TOPICS_OF_THE_GATE",
    "HandledLetters",
    "Letter",
    "LetterId",
    "LetterSource",
    "NewestLetters",
    "OpenLetters",
    "body_of",
    "read_handled",
    "read_letter",
    "read_letters",
    "read_open_letters",
    "with_value",
    "would_do",
]

REDRIVEN_FROM: Final = "dlq.redriven_from"
"""The header of a record that was sent back: the id of its dead letter. A letter of the same record keeps it."""
_OURS: Final = "dlq."
TOPICS_OF_THE_GATE: Final = frozenset(topic.name for topic in GATE_INTERNAL)
_NUMBER: Final = re.compile("[0-9]{1,19}")
_MAX_HEADER_BYTES: Final = 8_000
"""How much of one of our headers is kept. Ours have up to 2,000 characters, but any client may write longer ones, and
lists have many letters in memory."""


class LetterId(NamedTuple):
    """The position of a dead letter in its topic, written `partition:offset`."""

    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.partition}:{self.offset}"

    @classmethod
    def of(cls, text: str) -> "LetterId | None":
        """Return the id that a text states, or None."""
        partition, colon, offset = text.partition(":")
        if not colon or not _NUMBER.fullmatch(partition) or not _NUMBER.fullmatch(offset):
            return None
        return cls(int(partition), int(offset))


class LetterSource(NamedTuple):
    """The source position of a dead letter, written `topic/partition/offset` and, for an element, `/index`."""

    topic: str
    partition: int
    offset: int
    element: int | None
    """The index of an element of a webhook's body; None for a whole record."""

    def __str__(self) -> str:
        return "/".join(str(part) for part in self if part is not None)


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter. Texts of its headers are blank where it lacks them: any client may write to the topic."""

    id: LetterId
    topic: str
    source: LetterSource | None
    """None if a header of it is missing or wrong."""
    reason: str
    detail: str
    processor: str
    failed_at: str
    """As RFC 3339; the time of the record in Kafka, if its header has no such time."""
    redriven_from: str
    """The id of the earlier letter of the same record; blank the first time."""
    key: bytes | None
    value: bytes
    headers: tuple[tuple[str, bytes], ...]
    """The headers of the source record, without ours."""
    handled: DeadLetterHandled | None = None

    def without_bytes(self) -> "Letter":
        """Return the letter without key, value and headers, to keep many in memory."""
        return replace(self, key=None, value=b"", headers=())


class NewestLetters:
    """The newest of the letters that are added, without their bytes. Partitions are read in any order."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._heap: list[tuple[str, LetterId, Letter]] = []
        self.number = 0
        """How many were added."""

    def add(self, letter: Letter) -> None:
        self.number += 1
        heapq.heappush(self._heap, (letter.failed_at, letter.id, letter.without_bytes()))
        if len(self._heap) > self._limit:
            heapq.heappop(self._heap)

    def oldest_first(self) -> list[Letter]:
        """Return them in the order of their times."""
        return [letter for *_, letter in sorted(self._heap, key=itemgetter(0, 1))]


@dataclass(frozen=True, slots=True)
class OpenLetters:
    """Open letters of a period, the newest first."""

    letters: tuple[Letter, ...]
    older: int
    """How many others were found: only the newest are kept."""
    reached_end: bool
    """Whether all were read in time. If not, there are more, and newer ones may be missing."""


class HandledLetters:
    """What was done about letters.

    A worker that dies after it parked a record and before it acknowledged it parks the record again, so several letters
    of one source position are copies. The ledger and the gate both read a record that is sent back, so that handles the
    letters of both. Discarding handles only the letters of one of them.
    """

    def __init__(self) -> None:
        self._by_letter: dict[str, DeadLetterHandled] = {}
        self._redriven: dict[str, DeadLetterHandled] = {}
        self._discarded: dict[tuple[str, str], DeadLetterHandled] = {}

    def add(self, handled: DeadLetterHandled) -> None:
        """Add a record of what was done. If there are several about one letter, the first counts."""
        self._by_letter.setdefault(handled.letter, handled)
        if not handled.source:
            return
        if handled.action == "redriven":
            self._redriven.setdefault(handled.source, handled)
        else:
            self._discarded.setdefault((handled.source, handled.processor), handled)

    def of(self, letter: LetterId, source: LetterSource | None, processor: str) -> DeadLetterHandled | None:
        """Return what was done about a letter that `processor` parked; None if it is open."""
        return (
            self._by_letter.get(str(letter))
            or self._redriven.get(str(source or ""))
            or self._discarded.get((str(source or ""), processor))
        )


async def read_handled(bootstrap: KafkaAddress) -> HandledLetters:
    """Return what was done about letters. Raises BrokerError."""
    found = HandledLetters()
    async with aclosing(read_topic(bootstrap, DEAD_LETTERS_HANDLED.name)) as records:
        async for record in records:
            try:
                handled = DeadLetterHandled.model_validate_json(record.value or b"")
            except ValidationError:
                continue  # not ours: the topic has no other writer
            found.add(handled)
    return found


async def read_letters(
    bootstrap: KafkaAddress, handled: HandledLetters, *, since: Bound | None = None, until: Bound | None = None
) -> AsyncGenerator[Letter]:
    """Yield every letter from `since` to `until`, with what was done about it. Raises BrokerError."""
    async with aclosing(read_topic(bootstrap, DEAD_LETTERS.name, since=since, until=until)) as records:
        async for record in records:
            yield _letter(record, handled)


async def read_open_letters(bootstrap: KafkaAddress, *, since_ms: int, most: int, within_seconds: float) -> OpenLetters:
    """Return the open letters since a time (milliseconds since 1970): the newest `most`, in at most `within_seconds`.

    Raises BrokerError, also if the time is over and none was found yet: whether there are any is then unknown.
    """
    newest, reached_end = NewestLetters(most), False
    with suppress(TimeoutError):
        async with asyncio.timeout(within_seconds):
            handled = await read_handled(bootstrap)
            async with aclosing(read_topic(bootstrap, DEAD_LETTERS.name, since=AtTime(since_ms))) as records:
                async for record in records:
                    letter = _letter(record, handled)
                    if letter.handled is None:
                        newest.add(letter)
            reached_end = True
    if not newest.number and not reached_end:
        raise BrokerError(
            f"Kafka did not answer in {within_seconds:.0f} s", str(bootstrap), "See whether its brokers are busy"
        )
    letters = tuple(reversed(newest.oldest_first()))
    return OpenLetters(letters, newest.number - len(letters), reached_end)


async def read_letter(bootstrap: KafkaAddress, id_: LetterId, handled: HandledLetters) -> Letter | None:
    """Return one letter, or None if there is none with this id. Raises BrokerError."""
    async with aclosing(_at(bootstrap, DEAD_LETTERS.name, *id_)) as records:
        async for record in records:
            return _letter(record, handled)
    return None


async def with_value(bootstrap: KafkaAddress, letter: Letter) -> Letter | None:
    """Return a letter with its value; None if it has none, and its source record is no longer in its topic.

    A record near the maximum size leaves no room for the headers of a letter, which then lacks the value, and maybe
    its headers and its key. They are taken from the source. Raises BrokerError.
    """
    source = letter.source
    if letter.value:
        return letter
    if source is None or source.element is not None:
        return None
    async with aclosing(_at(bootstrap, source.topic, source.partition, source.offset)) as records:
        async for record in records:
            return replace(letter, key=record.key, value=record.value or b"", headers=_own_headers(record))
    return None


def body_of(letter: Letter) -> bytes:
    """Return the value that is sent back to the topic of a letter.

    An element of a webhook's body is a body of its own. One that is a list would be read as the list of its items.
    """
    is_element = letter.source is not None and letter.source.element is not None
    return b"[%b]" % letter.value if is_element and letter.value.lstrip().startswith(b"[") else letter.value


def would_do(letter: Letter, *, decision_days: int, now_us: int) -> str:
    """Return in words what the current code would do with the letter if it were sent back now."""
    if letter.topic in TOPICS_OF_THE_GATE:
        return "the gate processes it again"
    decode = decoders(decision_days=decision_days).get(letter.topic)
    if decode is None:
        return "rejected: no decoder for this topic"
    # A webhook keeps the time at which the gateway received it; another record gets a new one from Kafka.
    received_at = dict(letter.headers).get("received_at", b"").decode("ascii", "replace")
    received_us = (rfc3339_us(received_at) if received_at else None) or now_us
    source = SourcePosition(letter.topic, letter.id.partition, letter.id.offset, received_us)
    try:
        found = decode(body_of(letter), source, letter.headers)
    except RecordInvalid as invalid:
        return f"rejected: {invalid.reason}: {invalid.detail}"
    except Exception as error:  # a bug in our code: that is what the operator wants to know
        return f"our code fails: {type(error).__name__}: {error}"
    if not isinstance(found, Parsed):
        return "accepted"
    rejected = "; ".join(f"rejected: {one.reason}: {one.detail}" for one in found.rejections)
    return rejected or f"accepted, {len(found.events)} events"


def _letter(record: Record, handled: HandledLetters) -> Letter:
    ours = ((name, value or b"") for name, value in record.headers or () if name.startswith(_OURS))
    texts = {name: value[:_MAX_HEADER_BYTES].decode("utf-8", "replace") for name, value in ours}
    id_, source, processor = LetterId(record.partition, record.offset), _source(texts), texts.get("dlq.processor", "")
    failed_us = rfc3339_us(texts.get("dlq.failed_at", ""))
    return Letter(
        id_,
        texts.get("dlq.topic", ""),
        source,
        texts.get("dlq.reason", ""),
        texts.get("dlq.detail", ""),
        processor,
        rfc3339(max(0, record.timestamp) * 1000 if failed_us is None else failed_us),
        texts.get(REDRIVEN_FROM, ""),
        record.key,
        record.value or b"",
        _own_headers(record),
        handled.of(id_, source, processor),
    )


def _own_headers(record: Record) -> tuple[tuple[str, bytes], ...]:
    return tuple((name, value or b"") for name, value in record.headers or () if not name.startswith(_OURS))


def _source(headers: Mapping[str, str]) -> LetterSource | None:
    topic, index = headers.get("dlq.topic", ""), headers.get("dlq.index")
    partition, offset = headers.get("dlq.partition", ""), headers.get("dlq.offset", "")
    if not topic or not all(_NUMBER.fullmatch(number) for number in (partition, offset, index or "0")):
        return None
    return LetterSource(topic, int(partition), int(offset), None if index is None else int(index))


async def _at(bootstrap: KafkaAddress, topic: str, partition: int, offset: int) -> AsyncGenerator[Record]:
    """Yield the record at an offset of a partition, if it is there."""
    async with aclosing(read_topic(bootstrap, topic, since=AtOffset(offset), until=AtOffset(offset + 1))) as records:
        async for record in records:
            if record.partition == partition:
                yield record
