"""Write records that can't be processed to the topic `dead-letters`, byte for byte, with the reason in headers.

A record is parked before it is acknowledged, so a dead letter may be written twice, but never lost.
"""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final, Protocol

import structlog

from processors.engine import FailedItem, Output, Record
from processors.engine.failures import describe_error, describe_position
from processors.kafka import size_of
from processors.kafka.ports import RecordProducer
from processors.kafka.read_topic import AtTime, read_topic
from schemas.decoding.times import rfc3339
from schemas.errors import RecordRefused
from schemas.events import Rejection
from schemas.kafka_connection import KafkaAddress
from schemas.log_events import LogEvent
from schemas.telemetry import DEAD_LETTERS_TOTAL, Telemetry
from schemas.topics import DEAD_LETTERS, MAX_MESSAGE_BYTES

__all__ = [
    "OUR_FAILURES",
    "DeadLetter",
    "DeadLetters",
    "LetterOutputs",
    "LetterWriter",
    "letter_of_failure",
    "recent_failures",
]

log = structlog.get_logger()

OUR_FAILURES: Final = frozenset({"code_failed", "store_refused", "element_failed", "body_failed"})
"""Reasons that are caused by our code or the store, not by the producer of the record."""


_MAX_HASHED_BYTES: Final = 4096
_INDEX: Final = "dlq.index"


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record, and which part of it was rejected and why."""

    record: Record
    rejection: Rejection


def letter_of_failure(failed: FailedItem[Record], reason: str, mend: str) -> DeadLetter:
    """Return the dead letter of a record that our code or the store fails on, and log an error: a person must act."""
    what, where = describe_error(failed.error), describe_position(failed.item)
    log.error(LogEvent.RECORD_AT_FAULT, what=what, where=where, mend=mend)
    detail = f"{type(failed.error).__name__}: {failed.error}"
    return DeadLetter(failed.item, Rejection(reason, detail, failed.item.value or b"", None))


class LetterWriter(Protocol):
    """What parks dead letters: `DeadLetters`, and in tests a fake with the same contract (tests/contracts)."""

    async def park(self, letters: Sequence[DeadLetter]) -> None:
        """Return when all of them are stored. Raises BrokerError; then each may be stored or not."""


class DeadLetters:
    """Writes dead letters for one processor (`ledger` or `gate`), with metrics and log lines."""

    def __init__(self, kafka: RecordProducer, processor: str, telemetry: Telemetry) -> None:
        self._kafka, self._processor, self._telemetry = kafka, processor, telemetry

    async def park(self, letters: Sequence[DeadLetter]) -> None:
        """Return when Kafka has acknowledged all of them. Raises BrokerError."""
        if not letters:
            return
        failed_at = time.time()
        await self._write([_output(letter, _headers(letter, self._processor, failed_at)) for letter in letters])
        for (topic, reason), count in Counter((x.record.topic, x.rejection.reason) for x in letters).items():
            _count(self._telemetry, topic, reason, count)
            first = next(x.record for x in letters if (x.record.topic, x.rejection.reason) == (topic, reason))
            log.warning(
                LogEvent.RECORDS_PARKED,
                count=count,
                reason=reason,
                where=describe_position(first),
                mend="Fix the producer of this topic, or our code; the records are in dead-letters",
            )

    async def _write(self, outputs: Sequence[Output]) -> None:
        """Write them. A dead letter that is too large is written with fewer parts, at last with our headers alone.

        A record at the size limit has no room for our headers. They contain its source position, where its bytes are.
        """
        for reduce in _REDUCTIONS:
            try:
                await self._kafka.send_batches(outputs)
            except RecordRefused as refused:
                outputs = [reduce(outputs[n]) for n in refused.refused]
            else:
                return
        await self._kafka.send_batches(outputs)


def _output(letter: DeadLetter, our_headers: Mapping[str, bytes]) -> Output:
    record, rejection = letter.record, letter.rejection
    # The record may be an element that was sent back and fails as a whole now: it has the index of its first letter.
    source_headers = [
        (name, value) for name, value in record.headers or () if name not in our_headers and name != _INDEX
    ]
    value = rejection.value if rejection.position is not None else record.value
    if value is None and record.key is None:
        value = b""  # Kafka accepts a record without key and value; aiokafka does not
    # aiokafka hashes keys in Python, one second per MiB: a long key does not determine the partition.
    partition = 0 if record.key is not None and len(record.key) > _MAX_HASHED_BYTES else None
    return Output(DEAD_LETTERS.name, record.key, value, [*source_headers, *our_headers.items()], partition)


def _without_value(output: Output) -> Output:
    return output._replace(value=b"")


def _without_headers(output: Output) -> Output:
    return output._replace(headers=[(name, value) for name, value in output.headers if name.startswith("dlq.")])


def _without_key(output: Output) -> Output:
    return output._replace(key=None)


_REDUCTIONS: Final = (_without_value, _without_headers, _without_key)


class LetterOutputs:
    """Makes dead letters of one processor outputs of a transaction, for an agent with state, and counts them."""

    def __init__(self, processor: str, telemetry: Telemetry) -> None:
        self._processor, self._telemetry = processor, telemetry

    def of(self, letter: DeadLetter) -> Output:
        """Return the output of a dead letter, with as much of the source record as Kafka accepts."""
        output = _output(letter, _headers(letter, self._processor, time.time()))
        for reduce in _REDUCTIONS:
            if size_of(output) <= MAX_MESSAGE_BYTES:
                break
            output = reduce(output)
        _count(self._telemetry, letter.record.topic, letter.rejection.reason, 1)
        return output


def _count(telemetry: Telemetry, topic: str, reason: str, letters: int) -> None:
    telemetry.counter(DEAD_LETTERS_TOTAL, topic=topic, reason=reason).inc(letters)


def _headers(letter: DeadLetter, processor: str, failed_at: float) -> Mapping[str, bytes]:
    """Return the headers that are added to those of the source record (docs/reference/topics.md)."""
    record, rejection = letter.record, letter.rejection
    headers = {
        "dlq.topic": record.topic,
        "dlq.partition": str(record.partition),
        "dlq.offset": str(record.offset),
        "dlq.reason": rejection.reason,
        "dlq.detail": rejection.detail[:2000],
        "dlq.processor": processor,
        "dlq.failed_at": rfc3339(round(failed_at * 1e6)),
    }
    if rejection.position is not None:
        headers[_INDEX] = str(rejection.position)
    return {name: text.encode("utf-8", "replace") for name, text in headers.items()}


async def recent_failures(bootstrap: KafkaAddress, processor: str, within_seconds: float, most: int) -> list[float]:
    """Return how many seconds ago records were parked because of our code or the store (`OUR_FAILURES`).

    Only within the last `within_seconds`, and at most `most` + 1 of them. Raises BrokerError.
    """
    now = time.time()
    found: list[float] = []
    since = AtTime(int((now - within_seconds) * 1000))
    async with aclosing(read_topic(bootstrap, DEAD_LETTERS.name, since=since)) as records:
        async for record in records:
            headers = dict(record.headers)
            ours = headers.get("dlq.processor") == processor.encode()
            if ours and (headers.get("dlq.reason") or b"").decode("ascii", "replace") in OUR_FAILURES:
                found.append(max(0.0, now - record.timestamp / 1000))
            if len(found) > most:
                break
    return found
