"""Parking: what can't be read goes to `dead-letters`, byte for byte, with the reason beside it.

A record is parked before it is acknowledged, so a letter may be written twice, never lost.
"""

import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import structlog

from processors.engine import Output, Record, where_is
from processors.history import history
from processors.kafka import Producer, size_of
from schemas.errors import RecordRefused
from schemas.events import Bad
from schemas.telemetry import Telemetry
from schemas.topics import DEAD_LETTERS, FRAME_BYTES, MAX_RECORD_BYTES

__all__ = ["FAILURES", "DeadLetters", "Letter", "failed_lately", "letters", "output_of"]

log = structlog.get_logger()

FAILURES: Final = frozenset({"code_failed", "store_refused", "element_failed", "body_failed"})
"""Reasons for which our code or the store has to answer, and not who wrote the record."""


_HASHED_BYTES: Final = 4096
_INDEX: Final = "dlq.index"


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter: the record, and what of it could not be read."""

    record: Record
    bad: Bad


class DeadLetters:
    """Writes dead letters for one processor (`ledger` or `gate`), counts them, and says so."""

    def __init__(self, kafka: Producer, processor: str, telemetry: Telemetry) -> None:
        self._kafka, self._processor, self._telemetry = kafka, processor, telemetry

    async def park(self, letters: Sequence[Letter]) -> None:
        """Return when Kafka has all of them. Raises BrokerError."""
        if not letters:
            return
        failed_at = _now()
        await self._write([_whole(letter, _headers(letter, self._processor, failed_at)) for letter in letters])
        for (topic, reason), count in Counter((x.record.topic, x.bad.reason) for x in letters).items():
            self._telemetry.counter("dead_letters_total", topic, reason).inc(count)
            first = next(x.record for x in letters if (x.record.topic, x.bad.reason) == (topic, reason))
            log.warning(
                "records.parked",
                count=count,
                reason=reason,
                where=where_is(first),
                mend="Mend what writes this topic, or our code; the records are in dead-letters",
            )

    async def _write(self, outputs: Sequence[Output]) -> None:
        """Write them; a letter that is too large is written with less, and at last with our own headers alone.

        A record at the very limit has no room for our headers; where it stood tells where its bytes are.
        """
        for less in _LESS:
            try:
                await self._kafka.send_batches(outputs)
            except RecordRefused as refused:
                outputs = [less(outputs[n]) for n in refused.refused]
            else:
                return
        await self._kafka.send_batches(outputs)


def _whole(letter: Letter, added: Mapping[str, bytes]) -> Output:
    record, bad = letter.record, letter.bad
    # A letter that was sent again and fails as a whole now is an element no more.
    own = [(name, value) for name, value in record.headers or () if name not in added and name != _INDEX]
    value = bad.value if bad.position is not None else record.value
    if value is None and record.key is None:
        value = b""  # Kafka takes a record without both; aiokafka writes none
    # aiokafka hashes a key in Python, at a second a MiB: a long one is not asked for its partition.
    partition = 0 if record.key is not None and len(record.key) > _HASHED_BYTES else None
    return Output(DEAD_LETTERS.name, record.key, value, [*own, *added.items()], partition)


def _without_value(output: Output) -> Output:
    return output._replace(value=b"")


def _without_headers(output: Output) -> Output:
    return output._replace(headers=[(name, value) for name, value in output.headers if name.startswith("dlq.")])


def _without_key(output: Output) -> Output:
    return output._replace(key=None)


_LESS: Final = (_without_value, _without_headers, _without_key)


def output_of(letter: Letter, processor: str) -> Output:
    """Return a dead letter as a record for a transaction, with as much of the source as Kafka has room for."""
    output = _whole(letter, _headers(letter, processor, _now()))
    for less in _LESS:
        if size_of(output) <= MAX_RECORD_BYTES + FRAME_BYTES:
            break
        output = less(output)
    return output


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _headers(letter: Letter, processor: str, failed_at: str) -> Mapping[str, bytes]:
    """Return the headers that a dead letter adds to the original's own (docs/reference/topics.md)."""
    record, bad = letter.record, letter.bad
    said = {
        "dlq.topic": record.topic,
        "dlq.partition": str(record.partition),
        "dlq.offset": str(record.offset),
        "dlq.reason": bad.reason,
        "dlq.detail": bad.detail[:2000],
        "dlq.processor": processor,
        "dlq.failed_at": failed_at,
    }
    if bad.position is not None:
        said[_INDEX] = str(bad.position)
    return {name: text.encode("utf-8", "replace") for name, text in said.items()}


def letters(bootstrap: str) -> AsyncIterator[Record]:
    """Yield every dead letter that there is now, oldest first within a partition. Raises BrokerError."""
    return history(bootstrap, DEAD_LETTERS.name)


async def failed_lately(bootstrap: str, processor: str, within_seconds: float, most: int) -> list[float]:
    """Return how many seconds ago each record was parked for which our code or the store has to answer.

    Only the last `within_seconds`, and no more than `most` + 1. Raises BrokerError.
    """
    now = time.time()
    found: list[float] = []
    async with aclosing(history(bootstrap, DEAD_LETTERS.name, int((now - within_seconds) * 1000))) as records:
        async for record in records:
            headers = dict(record.headers)
            ours = headers.get("dlq.processor") == processor.encode()
            if ours and (headers.get("dlq.reason") or b"").decode("ascii", "replace") in FAILURES:
                found.append(max(0.0, now - record.timestamp / 1000))
            if len(found) > most:
                break
    return found
