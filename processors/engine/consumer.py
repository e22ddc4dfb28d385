"""A Kafka consumer that reads records of any client, and reports the position of records that it can't decode.

In:  the settings of an `AIOKafkaConsumer`.
Out: a consumer that differs from aiokafka 0.14 in two cases:

- A header key that is not UTF-8 (librdkafka and others write any bytes) is escaped: `b"a\\xff"` becomes the text
  `a\\xff`, with a backslash. aiokafka raises UnicodeDecodeError, at every fetch.
- A batch that can't be decoded (damaged, or of an unknown codec) raises `RecordsUnreadable`, which contains topic,
  partition and offset. All records before it are delivered first, so that none is skipped.

aiokafka has no setting for either. So two classes of its fetcher are replaced, for the whole process, when the first
consumer is created. There is no cost while every batch can be decoded.
The format: https://kafka.apache.org/documentation/#recordbatch
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, Final, NamedTuple, NoReturn, SupportsIndex, cast, overload

import aiokafka
from aiokafka.consumer import fetcher
from aiokafka.errors import UnsupportedCodecError
from aiokafka.record.memory_records import MemoryRecords

from processors.engine.errors import RecordsUnreadable
from processors.engine.internals import PythonRecordBatch

_FRAME: Final = struct.Struct(">qi")  # base offset, length of what follows
_LAST_OFFSET_DELTA: Final = struct.Struct(">i")
_LAST_OFFSET_DELTA_AT: Final = 23
_HEADER_BYTES: Final = 61


def new_consumer(*topics: str, **settings: Any) -> aiokafka.AIOKafkaConsumer:
    """Return an `AIOKafkaConsumer` that reads records of any client. Every consumer is created here."""
    fetcher.MemoryRecords = _RecordsWithBytes
    fetcher.PartitionRecords = _PartitionRecords
    return aiokafka.AIOKafkaConsumer(*topics, **settings)


class _RecordsWithBytes(MemoryRecords):  # type: ignore[misc]  # a class at run time, a variable to mypy
    """The batches of one partition in one fetch, and their bytes."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.data = memoryview(data)


class _PartitionRecords(fetcher.PartitionRecords):  # type: ignore[misc]  # aiokafka is untyped
    """The records of one partition in one fetch."""

    _records: _RecordsWithBytes | _LenientRecords
    _records_iterator: Iterator[Any] | None
    _tp: aiokafka.TopicPartition
    next_fetch_offset: int

    def __init__(
        self, tp: aiokafka.TopicPartition, records: _RecordsWithBytes, aborted: Any, fetch_offset: int, *settings: Any
    ) -> None:
        super().__init__(tp, records, aborted, fetch_offset, *settings)
        self._fetch_offset = fetch_offset

    def __next__(self) -> Any:
        # Called for each record, so it must stay minimal. An `except` costs nothing until it is entered.
        try:
            return next(self._records_iterator)  # type: ignore[arg-type]
        except StopIteration:
            self._records_iterator = None
            raise
        except Exception as error:
            if not _of_a_header(error):
                self._end(error)
        self._read_leniently()
        return next(self)

    def _read_leniently(self) -> None:
        batch = _batch_at(self._records.data, self.next_fetch_offset)
        self._records = _LenientRecords(self._records.data[batch.begins :])
        # The same code of aiokafka as before. It skips records below `next_fetch_offset`, so it continues where it
        # stopped, and it still knows which transactions were aborted.
        self._records_iterator = self._unpack_records()

    def _end(self, error: Exception) -> NoReturn:
        self._records_iterator = None
        if self.next_fetch_offset > self._fetch_offset:
            raise StopIteration from error  # deliver the records before it; the next fetch starts with this batch
        batch = _batch_at(self._records.data, self.next_fetch_offset)
        raise RecordsUnreadable(
            f"a batch of records can't be decoded: {type(error).__name__}: {error}",
            where=f"topic {self._tp.topic}, partition {self._tp.partition}, "
            f"offsets {self.next_fetch_offset} to {batch.next_offset - 1}",
            mend=_mend(error, batch.next_offset),
        ) from error


def _of_a_header(error: Exception) -> bool:
    """Whether a header key was not UTF-8. aiokafka decodes nothing else; its Python parser wraps the error."""
    return isinstance(error, UnicodeDecodeError) or isinstance(error.__cause__, UnicodeDecodeError)


def _mend(error: Exception, next_offset: int) -> str:
    if isinstance(error, UnsupportedCodecError):
        return (
            "Nothing was skipped. Install the decoder (gzip, snappy, lz4 and zstd need the package cramjam), or make "
            "the producer use one of these; then start again."
        )
    return (
        "Nothing was skipped. If another replica of the partition is intact, make it the leader and start again. "
        f"Otherwise these records are lost. To continue after them: stop the workers of the group, set its offset to "
        f"{next_offset} with kafka-consumer-groups.sh --reset-offsets, and start again. If a command without a group "
        f"reads the topic, delete the records before {next_offset} with kafka-delete-records.sh."
    )


class _Batch(NamedTuple):
    """The position of a batch in the bytes of a fetch, and the offset of the record after it."""

    begins: int
    ends: int
    next_offset: int


def _batch_at(data: memoryview, offset: int) -> _Batch:
    """Return the first batch that does not end below `offset`: all batches before it have been read."""
    begins = 0
    while begins + _HEADER_BYTES <= len(data):
        base, length = _FRAME.unpack_from(data, begins)
        ends = begins + _FRAME.size + length
        (last,) = _LAST_OFFSET_DELTA.unpack_from(data, begins + _LAST_OFFSET_DELTA_AT)
        if base + last >= offset or length <= 0:
            return _Batch(begins, ends, max(base + last, offset) + 1)
        begins = ends
    return _Batch(begins, len(data), offset + 1)


class _LenientRecords:
    """The batches of a fetch, starting with one that has a header key that is not UTF-8; all are parsed in Python.

    This is several times slower, but linear. Returning to the C parser would copy the rest for each such batch.
    """

    def __init__(self, data: memoryview) -> None:
        self.data = data
        self._at = 0

    def has_next(self) -> bool:
        return self._at + _HEADER_BYTES <= len(self.data) and self._end() <= len(self.data)

    def next_batch(self) -> _LenientBatch:
        begins, self._at = self._at, self._end()
        return _LenientBatch(self.data[begins : self._at])

    def _end(self) -> int:
        _, length = _FRAME.unpack_from(self.data, self._at)
        return self._at + _FRAME.size + cast(int, length)


class _LenientBatch(PythonRecordBatch):  # type: ignore[misc]  # marked final for unrelated reasons
    """aiokafka's Python parser, over bytes that always decode.

    For record format 2: Kafka 4 returns no other, and only that one has headers.
    """

    def _maybe_uncompress(self) -> None:
        super()._maybe_uncompress()
        self._buffer: bytearray = _EscapingBytes(self._buffer)


class _EscapingBytes(bytearray):
    """Bytes whose slices always decode: what is not UTF-8 is escaped."""

    @overload
    def __getitem__(self, key: SupportsIndex, /) -> int: ...
    @overload
    def __getitem__(self, key: slice, /) -> _EscapingBytes: ...
    def __getitem__(self, key: SupportsIndex | slice, /) -> int | bytearray:
        found = super().__getitem__(key)
        return found if isinstance(found, int) else _EscapingBytes(found)

    def decode(self, encoding: str = "utf-8", errors: str = "backslashreplace") -> str:  # noqa: ARG002
        return bytes(self).decode(encoding, "backslashreplace")
