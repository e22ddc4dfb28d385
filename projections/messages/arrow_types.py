"""The Arrow types of the tables' columns, and how columns of them are made.

ClickHouse reads them as the types of migrations/0001: a map as Map, a struct as Tuple, 16 bytes as FixedString or UUID.
"""

from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Any, Final

import pyarrow as pa

__all__ = [
    "HASH",
    "INVERSE",
    "KNOWN_AS",
    "MARK",
    "STATE",
    "Columns",
    "complements",
    "hash_array",
    "hashes_of",
    "identities",
    "offsets",
    "singles",
    "struct",
]

Columns = dict[str, Any]
"""Arrow arrays of one length, by name."""

INVERSE: Final = 1 << 62
"""Times are kept as this less the time: the greater is then the earlier, and 0 is none."""

HASH: Final = pa.binary(16)

_ORDERED: Final = [("present", pa.uint8()), ("inverse_at", pa.uint64()), ("inverse_hash", HASH)]


def _texts(*names: str) -> list[tuple[str, Any]]:
    return [(name, pa.string()) for name in names]


KNOWN_AS: Final = pa.struct(_ORDERED + _texts("provider", "provider_message_id"))
MARK: Final = pa.struct(
    [("inverse_received", pa.uint64()), ("inverse_partition", pa.uint32()), ("inverse_place", pa.uint64())]
    + [("rank", pa.uint8()), ("at", pa.int64())]
    + _texts("address", "code", "enhanced_code", "reason", "classification", "sub_status")
)
STATE: Final = {
    "account_id": pa.string(),
    "message_id": pa.string(),
    "decision": pa.struct(_ORDERED + _texts("outcome", "reason", "detail")),
    "request": pa.struct(
        _ORDERED
        + _texts("channel", "template_id", "template_name", "recipient_kind", "recipient_id", "to_address", "to_key")
        + [("cc", pa.list_(pa.string())), ("cc_keys", pa.list_(pa.string()))]
        + _texts("subject", "appointment_id")
    ),
    "contents": pa.list_(HASH),
    "dispatch": KNOWN_AS,
    "seen": KNOWN_AS,
    "provider_ids": pa.list_(pa.string()),
    "firsts": pa.map_(pa.string(), pa.uint64()),
    "counted": pa.map_(pa.string(), pa.list_(pa.uint64())),
    "marks": pa.map_(HASH, MARK),
    "strangers": pa.list_(pa.string()),
    "content": pa.uint8(),
}
"""The columns of `message_state`; each but the first two is an axis."""


def struct(kind: Any, *columns: Sequence[object]) -> Any:
    """Return a struct array of `kind` from its columns."""
    arrays = [pa.array(values, field.type) for values, field in zip(columns, kind, strict=True)]
    return pa.StructArray.from_arrays(arrays, fields=list(kind))


def offsets(lengths: Iterable[int]) -> Any:
    """Return the offsets of a column of lists or maps, from the length of each."""
    return pa.array(accumulate(lengths, initial=0), pa.int32())


def singles(values: Any) -> Any:
    """Return a column of lists, each of one value."""
    return pa.ListArray.from_arrays(pa.array(range(len(values) + 1), pa.int32()), values)


def identities(kind: Any, size: int) -> Any:
    """Return `size` times the identity of an axis: zeros, blanks and empty collections."""
    if pa.types.is_struct(kind):
        return pa.StructArray.from_arrays([identities(field.type, size) for field in kind], fields=list(kind))
    if pa.types.is_map(kind) or pa.types.is_list(kind):
        return pa.array([[]] * size, kind)
    zero: object = "" if pa.types.is_string(kind) else bytes(16) if kind == HASH else 0
    return pa.repeat(pa.scalar(zero, kind), size)


def hashes_of(hexadecimal: Sequence[str]) -> list[bytes]:
    """Return the 16 bytes of each hash: one conversion for all."""
    joined = bytes.fromhex("".join(hexadecimal))
    return [joined[at : at + 16] for at in range(0, len(joined), 16)]


def hash_array(joined: bytes) -> Any:
    """Return an array of hashes from their bytes, 16 each: no object is made of any."""
    return pa.FixedSizeBinaryArray.from_buffers(HASH, len(joined) // 16, [None, pa.py_buffer(joined)])


def complements(hashes: Sequence[bytes]) -> list[bytes]:
    """Return each hash with its bits turned, so that the greater is the smaller."""
    joined = b"".join(hashes)
    turned = (int.from_bytes(joined, "big") ^ ((1 << 8 * len(joined)) - 1)).to_bytes(len(joined), "big")
    return [turned[at : at + 16] for at in range(0, len(turned), 16)]
