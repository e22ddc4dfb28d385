"""Record batches as bytes, as any client may write them: https://kafka.apache.org/documentation/#recordbatch"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence

from aiokafka.record.util import calc_crc32c

CRC_AT, ATTRIBUTES_AT, RECORDS_AT = 17, 21, 61

Header = tuple[bytes, bytes | None]


def varint(number: int) -> bytes:
    zigzag, out = (number << 1) ^ (number >> 63), b""
    while zigzag > 0x7F:
        out += bytes([zigzag & 0x7F | 0x80])
        zigzag >>= 7
    return out + bytes([zigzag])


def sized(value: bytes | None) -> bytes:
    return varint(-1) if value is None else varint(len(value)) + value


def a_record(delta: int, key: bytes | None, value: bytes | None, headers: Iterable[Header] = ()) -> bytes:
    """A record as any client may write it; aiokafka's builder does not accept such headers."""
    listed = list(headers)
    body = b"\0" + varint(0) + varint(delta) + sized(key) + sized(value) + varint(len(listed))
    return sized(body + b"".join(sized(name) + sized(said) for name, said in listed))


def a_batch(first: int, records: Sequence[bytes], *, attributes: int = 0, producer: int = -1) -> bytes:
    header = struct.pack(">hiqqqhii", attributes, len(records) - 1, 0, 0, producer, 0, -1, len(records))
    checked = header + b"".join(records)
    rest = struct.pack(">ib", 0, 2) + struct.pack(">I", calc_crc32c(checked)) + checked
    return struct.pack(">qi", first, len(rest)) + rest


def damaged(batch: bytes) -> bytes:
    return batch[:-1] + bytes([batch[-1] ^ 1])


def with_crc(batch: bytes) -> bytes:
    """Return a changed batch with the right checksum."""
    return batch[:CRC_AT] + struct.pack(">I", calc_crc32c(batch[ATTRIBUTES_AT:])) + batch[ATTRIBUTES_AT:]
