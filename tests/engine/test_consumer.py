"""Records of any client are read; unreadable ones are reported, and nothing before them is skipped. No broker."""

from __future__ import annotations

import ast
import struct
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.consumer import fetcher
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from hypothesis import given
from hypothesis import strategies as st

from processors.engine.consumer import new_consumer
from processors.engine.errors import RecordsUnreadable
from tests.engine.wire import ATTRIBUTES_AT, RECORDS_AT, Header, a_batch, a_record, damaged, with_crc

TP = TopicPartition("events", 3)
READ_COMMITTED = 1
CODECS = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module", autouse=True)
async def reading() -> None:
    """Patch aiokafka as the product does, by creating a consumer."""
    await new_consumer().stop()


def plain(first: int, count: int = 2) -> bytes:
    return a_batch(first, [a_record(n, b"k", b"%d" % (first + n)) for n in range(count)])


def odd(first: int, count: int = 2) -> bytes:
    """A batch whose last record has a header that is not UTF-8."""
    return a_batch(
        first,
        [a_record(n, b"k", b"%d" % (first + n), [(b"a\xff", b"x")] if n == count - 1 else []) for n in range(count)],
    )


def records_of(data: bytes, *, at: int = 0, aborted: Sequence[tuple[int, int]] = ()) -> Any:
    """The records of a fetch as aiokafka parses it."""
    return fetcher.PartitionRecords(
        TP, fetcher.MemoryRecords(data), list(aborted), at, None, None, True, READ_COMMITTED
    )


def offsets(records: Iterable[Any]) -> list[int]:
    return [record.offset for record in records]


def of_an_unknown_codec(batch: bytes) -> bytes:
    return with_crc(batch[: ATTRIBUTES_AT + 1] + b"\x07" + batch[ATTRIBUTES_AT + 2 :])


def of_a_codec_that_lies(batch: bytes) -> bytes:
    return with_crc(batch[: ATTRIBUTES_AT + 1] + b"\x04" + batch[ATTRIBUTES_AT + 2 :])


def of_no_records(batch: bytes) -> bytes:
    return with_crc(batch[:RECORDS_AT] + b"\xff" * (len(batch) - RECORDS_AT))


UNREADABLE = [damaged, of_an_unknown_codec, of_a_codec_that_lies, of_no_records]


@given(
    st.lists(
        st.tuples(
            st.none() | st.binary(max_size=20),
            st.none() | st.binary(max_size=20),
            st.lists(st.tuples(st.binary(max_size=8), st.none() | st.binary(max_size=8)), max_size=3),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_any_bytes_that_a_client_writes_are_read(
    written: list[tuple[bytes | None, bytes | None, list[Header]]],
) -> None:
    batch = a_batch(7, [a_record(n, *record) for n, record in enumerate(written)])
    read = [(r.key, r.value, list(r.headers)) for r in records_of(batch, at=7)]
    assert read == [
        (key, value, [(name.decode("utf-8", "backslashreplace"), said) for name, said in headers])
        for key, value, headers in written
    ]


@given(st.lists(st.tuples(st.sampled_from([plain, odd]), st.integers(1, 3)), min_size=1, max_size=6), st.data())
def test_every_record_is_read_once_and_in_order_wherever_a_fetch_starts(
    kinds: list[tuple[Callable[[int, int], bytes], int]], data: st.DataObject
) -> None:
    firsts = list(accumulate((count for _, count in kinds), initial=0))
    batches = [make(first, count) for first, (make, count) in zip(firsts, kinds, strict=False)]
    at = data.draw(st.integers(0, firsts[-1] - 1))
    fetched = [batch for batch, end in zip(batches, firsts[1:], strict=True) if end > at]  # as a broker does
    assert offsets(records_of(b"".join(fetched), at=at)) == list(range(at, firsts[-1]))


def test_aborted_records_are_skipped_after_a_header_that_is_not_utf_8() -> None:
    transactional, control = 0x10, 0x30
    taken_back = a_batch(2, [a_record(0, b"k", b"no")], attributes=transactional, producer=9)
    marker = a_batch(5, [a_record(0, struct.pack(">hh", 0, 0), b"")], attributes=control, producer=9)
    again = a_batch(6, [a_record(0, b"k", b"yes")], attributes=transactional, producer=9)
    also = a_batch(4, [a_record(0, b"k", b"no", [(b"\xff", b"")])], attributes=transactional, producer=9)
    fetched = odd(0) + taken_back + odd(3, 1) + also + marker + again
    assert offsets(records_of(fetched, aborted=[(9, 2)])) == [0, 1, 3, 6]


@pytest.mark.parametrize("codec", CODECS)
def test_a_header_that_is_not_utf_8_is_read_in_every_codec(codec: str) -> None:
    builder = DefaultRecordBatchBuilder(2, CODECS[codec], 0, -1, -1, -1, 1 << 20)
    builder.append(0, 1, b"k", b"v" * 5_000, [("name", b"x")])
    whole = bytes(builder.build())
    # aiokafka's builder accepts text only, so the name is changed where possible: without compression
    if codec == "none":
        whole = with_crc(whole.replace(b"name", b"na\xffe"))
        assert [r.headers for r in records_of(whole)] == [(("na\\xffe", b"x"),)]
    else:
        assert [r.headers for r in records_of(whole)] == [(("name", b"x"),)]


@pytest.mark.parametrize("broken", UNREADABLE)
def test_a_batch_that_cannot_be_decoded_is_reported_with_its_offsets(broken: Callable[[bytes], bytes]) -> None:
    with pytest.raises(RecordsUnreadable, match="topic events, partition 3, offsets 40 to 41") as raised:
        list(records_of(broken(plain(40)), at=40))
    assert raised.value.mend


@pytest.mark.parametrize("broken", UNREADABLE)
def test_records_before_an_unreadable_batch_are_delivered_first(broken: Callable[[bytes], bytes]) -> None:
    """The fix is to move the group past the batch, so the records before it must have been processed."""
    fetched = plain(0) + broken(plain(2)) + plain(4)
    records = records_of(fetched)
    assert offsets(records) == [0, 1]
    assert records.next_fetch_offset == 2
    with pytest.raises(RecordsUnreadable, match="offsets 2 to 3"):
        list(records_of(fetched[len(plain(0)) :], at=2))


def test_the_mend_for_an_unknown_codec_does_not_skip_records() -> None:
    with pytest.raises(RecordsUnreadable, match="Install the decoder"):
        list(records_of(of_an_unknown_codec(plain(0))))


def test_every_consumer_of_the_product_is_created_by_new_consumer() -> None:
    """Others stop at the first header that is not UTF-8."""
    made = {
        str(path.relative_to(ROOT))
        for folder in ("processors", "application", "gateway", "verification", "cli")
        for path in (ROOT / folder).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("AIOKafkaConsumer")
    }
    assert made == {"processors/engine/consumer.py"}
