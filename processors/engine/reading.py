"""A Kafka consumer that reads what any client may have written, and says where it can't.

In:  the settings of an `AIOKafkaConsumer`.
Out: one that differs in two things, both of them about a record batch that aiokafka 0.14 fails on:

- A header whose key is not UTF-8 (librdkafka and others write any bytes) is read, with its key escaped: `b"a\\xff"`
  becomes the text `a\\xff`, with a backslash. aiokafka raises UnicodeDecodeError, at each fetch, for ever.
- A batch that can't be decoded (damaged, or of an unknown codec) raises `RecordsUnreadable`, which names topic,
  partition and offset. All records before it are handed out first, so that nothing is skipped with it.

aiokafka has no setting for either, so two classes of its fetcher are replaced, for the process, when the first consumer
is made. Costs nothing where every batch can be decoded. The format: https://kafka.apache.org/documentation/#recordbatch
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, Final, NamedTuple, NoReturn, SupportsIndex, cast, overload

import aiokafka
from aiokafka.consumer import fetcher
from aiokafka.errors import UnsupportedCodecError
from aiokafka.record.default_records import _DefaultRecordBatchPy
from aiokafka.record.memory_records import MemoryRecords

from processors.engine.errors import RecordsUnreadable

_FRAME: Final = struct.Struct(">qi")  # base offset, length of what follows
_LAST_OFFSET_DELTA: Final = struct.Struct(">i")
_LAST_OFFSET_DELTA_AT: Final = 23
_HEADER_BYTES: Final = 61


def new_consumer(*topics: str, **settings: Any) -> aiokafka.AIOKafkaConsumer:
    """Return an `AIOKafkaConsumer` that reads what any client may have written. Every consumer is made here."""
    fetcher.MemoryRecords = _KeptRecords
    fetcher.PartitionRecords = _PartitionRecords
    return aiokafka.AIOKafkaConsumer(*topics, **settings)


class _KeptRecords(MemoryRecords):  # type: ignore[misc]  # a class at run time, a variable to mypy
    """The batches of one partition in one fetch, and their bytes."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.data = memoryview(data)


class _PartitionRecords(fetcher.PartitionRecords):  # type: ignore[misc]  # aiokafka is untyped
    """The records of one partition in one fetch."""

    _records: _KeptRecords | _Leniently
    _records_iterator: Iterator[Any] | None
    _tp: aiokafka.TopicPartition
    next_fetch_offset: int

    def __init__(
        self, tp: aiokafka.TopicPartition, records: _KeptRecords, aborted: Any, fetch_offset: int, *settings: Any
    ) -> None:
        super().__init__(tp, records, aborted, fetch_offset, *settings)
        self._fetch_offset = fetch_offset

    def __next__(self) -> Any:
        # For each record: nothing may be added here. What an `except` does costs nothing until it is entered.
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
        self._records = _Leniently(self._records.data[batch.begins :])
        # The same code of aiokafka's as before. It passes over records below `next_fetch_offset`, so that it goes on
        # where it stopped; and it still knows which producers' transactions were aborted.
        self._records_iterator = self._unpack_records()

    def _end(self, error: Exception) -> NoReturn:
        self._records_iterator = None
        if self.next_fetch_offset > self._fetch_offset:
            raise StopIteration from error  # hand out what came before; the next fetch begins with the batch at fault
        batch = _batch_at(self._records.data, self.next_fetch_offset)
        raise RecordsUnreadable(
            f"a batch of records can't be decoded: {type(error).__name__}: {error}",
            where=f"topic {self._tp.topic}, partition {self._tp.partition}, "
            f"offsets {self.next_fetch_offset} to {batch.next_offset - 1}",
            mend=_mend(error, batch.next_offset),
        ) from error


def _of_a_header(error: Exception) -> bool:
    """Whether a header's key was not UTF-8. aiokafka decodes nothing else; its parser in Python wraps the error."""
    return isinstance(error, UnicodeDecodeError) or isinstance(error.__cause__, UnicodeDecodeError)


def _mend(error: Exception, next_offset: int) -> str:
    if isinstance(error, UnsupportedCodecError):
        return (
            "Nothing was skipped. Install what decodes it (gzip, snappy, lz4 and zstd need the package cramjam), or "
            "have its producer use one of these; then start again."
        )
    return (
        "Nothing was skipped. If another replica of the partition is sound, make it the leader and start again. "
        f"Otherwise these records are lost. To go on behind them: stop the group's workers, set its offset there to "
        f"{next_offset} with kafka-consumer-groups.sh --reset-offsets, and start again; where it is a command that "
        f"reads and no group, delete what is before {next_offset} with kafka-delete-records.sh."
    )


class _Batch(NamedTuple):
    """Where a batch lies in the bytes of a fetch, and the offset of the record that follows it."""

    begins: int
    ends: int
    next_offset: int


def _batch_at(data: memoryview, offset: int) -> _Batch:
    """Return the first batch that is not wholly below `offset`: all before it have been read."""
    begins = 0
    while begins + _HEADER_BYTES <= len(data):
        base, length = _FRAME.unpack_from(data, begins)
        ends = begins + _FRAME.size + length
        (last,) = _LAST_OFFSET_DELTA.unpack_from(data, begins + _LAST_OFFSET_DELTA_AT)
        if base + last >= offset or length <= 0:
            return _Batch(begins, ends, max(base + last, offset) + 1)
        begins = ends
    return _Batch(begins, len(data), offset + 1)


class _Leniently:
    """The batches of a fetch from one on whose header is not UTF-8. All of them are parsed in Python from there on.

    Several times slower, and linear: to parse one batch so and to go on in C would copy the rest for each such batch.
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


class _LenientBatch(_DefaultRecordBatchPy):  # type: ignore[misc]  # final, for other reasons than ours
    """aiokafka's parser in Python, over bytes that are decoded whatever they are. For format 2, as all that Kafka 4
    gives is; only that one has headers.
    """

    def _maybe_uncompress(self) -> None:
        super()._maybe_uncompress()
        self._buffer: bytearray = _AnyText(self._buffer)


class _AnyText(bytearray):
    """Bytes whose slices decode whatever they are: what is not UTF-8 is escaped."""

    @overload
    def __getitem__(self, key: SupportsIndex, /) -> int: ...
    @overload
    def __getitem__(self, key: slice, /) -> _AnyText: ...
    def __getitem__(self, key: SupportsIndex | slice, /) -> int | bytearray:
        found = super().__getitem__(key)
        return found if isinstance(found, int) else _AnyText(found)

    def decode(self, encoding: str = "utf-8", errors: str = "backslashreplace") -> str:  # noqa: ARG002
        return bytes(self).decode(encoding, "backslashreplace")
