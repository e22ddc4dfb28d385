"""The Arrow types of the tables' columns, and functions that build such columns.

ClickHouse reads a struct as a Tuple, and 16 bytes as a FixedString.
"""

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any, Final, TypeAlias

import pyarrow as pa

__all__ = [
    "CHANGE",
    "INVERSE",
    "MAX_UINT64",
    "ORDERED_TEXTS",
    "PROVIDER_ID",
    "REQUEST",
    "STATE",
    "TYPE_SIZE",
    "WINNER",
    "Array",
    "Columns",
    "address_hash",
    "hash_array",
    "hash_prefixes",
    "identity",
    "struct",
]

Array: TypeAlias = "pa.Array[Any]"
"""An Arrow array of any type."""
Columns: TypeAlias = "dict[str, Array]"
"""Arrow arrays of equal length, by column name."""

INVERSE: Final = 1 << 62
"""Times are stored as INVERSE - time, so that `max` keeps the earliest; 0 means no time."""

TYPE_SIZE: Final = 5
"""The bits of an event type's number, below the hash of the address."""

_HASH: Final = pa.binary(16)
_BLAKE2B_64: Final = blake2b(digest_size=8)

MAX_UINT64: Final = 2**64 - 1
"""The default of a column that is merged with `min`."""

_Fields = list[tuple[str, pa.DataType]]
_ORDERED: Final[_Fields] = [("known", pa.uint8()), ("inverse_at", pa.uint64()), ("inverse_hash", pa.uint64())]


def _texts(*names: str) -> _Fields:
    return [(name, pa.string()) for name in names]


PROVIDER_ID: Final = pa.struct(_ORDERED + _texts("provider", "provider_message_id"))
WINNER: Final = pa.struct(
    [
        *(("rank", pa.uint8()), ("has_code", pa.uint8()), ("inverse_at", pa.uint64()), ("inverse_id", pa.uint64())),
        *(("inverse_received", pa.uint64()), ("inverse_partition", pa.uint32()), ("inverse_place", pa.uint64())),
        *_texts("code", "enhanced_code", "reason", "classification", "sub_status"),
    ]
)
CHANGE: Final = pa.struct([("inverse_at", pa.uint64()), *_texts("state")])
_IDS: Final = pa.list_(pa.uint64())
ORDERED_TEXTS: Final = ("to_key", "domain", "template_id", "template_name")
"""The columns that are texts after a 16-byte prefix, which orders them by their request or decision."""
REQUEST: Final = pa.struct(
    [
        *_ORDERED,
        *_texts("recipient_id", "to_address"),
        *(("cc", pa.list_(pa.string())), ("cc_keys", pa.list_(pa.string()))),
        *_texts("subject", "appointment_id", "reason", "detail"),
    ]
)
STATE: Final[dict[str, pa.DataType]] = {
    "account_id": pa.string(),
    "message_id": pa.string(),
    "intent": pa.binary(32),
    **dict.fromkeys(ORDERED_TEXTS, pa.binary()),
    "request": REQUEST,
    "copied_to": pa.list_(pa.string()),
    "told": _IDS,
    "flags": pa.uint8(),
    "heard": pa.uint64(),
    "first_content": pa.uint64(),
    "last_content": pa.uint64(),
    "dispatch": PROVIDER_ID,
    "seen": PROVIDER_ID,
    "provider_ids": pa.list_(pa.string()),
    "processed": pa.uint64(),
    "delivered": pa.uint64(),
    "bounced": pa.uint64(),
    "opened": pa.uint64(),
    "clicked": pa.uint64(),
    "deliveries": pa.map_(pa.uint64(), pa.uint64()),
    "opens": _IDS,
    "machine_opens": _IDS,
    "clicks": _IDS,
    "deferrals": _IDS,
    "winner": WINNER,
    "changes": pa.map_(pa.uint64(), CHANGE),
}
"""The columns of `message_state`. All but the first two (the key) are axes: columns with a merge function."""

SMALLEST: Final = "first_content"
"""The only axis that is merged with `min`, so its default is the greatest number."""


def struct(kind: pa.StructType, *columns: Sequence[object]) -> Array:
    """Return a struct array of `kind` from its columns."""
    arrays = [pa.array(values, field.type) for values, field in zip(columns, kind, strict=True)]
    return pa.StructArray.from_arrays(arrays, fields=list(kind))


def identity(axis: str, size: int) -> Array:
    """Return an array of `size` identity values of an axis: its default, which changes nothing when merged."""
    if axis == SMALLEST:
        return pa.repeat(pa.scalar(MAX_UINT64, pa.uint64()), size)
    return _zeros(STATE[axis], size)


def _zeros(kind: pa.DataType, size: int) -> Array:
    """An array of zeros, empty strings or empty lists."""
    if pa.types.is_struct(kind):
        return pa.StructArray.from_arrays([_zeros(field.type, size) for field in kind], fields=list(kind))
    if pa.types.is_list(kind) or pa.types.is_map(kind):
        return pa.array([[]] * size, kind)
    zero: object = "" if pa.types.is_string(kind) else b"" if pa.types.is_binary(kind) else 0
    if pa.types.is_fixed_size_binary(kind):
        zero = bytes(kind.byte_width)
    scalar: Any = pa.scalar(zero, kind)
    zeros: Array = pa.repeat(scalar, size)
    return zeros


def hash_prefixes(hexadecimal: Sequence[str]) -> list[int]:
    """Return the first 8 bytes of each hash as a number; numbers sort as the hashes do."""
    return [int(text[:16], 16) for text in hexadecimal]


def address_hash(key: str) -> int:
    """Return the 59-bit hash that stands for an address key in the state; 0 for an empty key, and only for that.

    Stored rows depend on it, so it must never change: it is the first bits of BLAKE2b.
    """
    if not key:
        return 0
    digest = _BLAKE2B_64.copy()  # cheaper than creating a new one
    digest.update(key.encode())
    return int.from_bytes(digest.digest(), "big") >> TYPE_SIZE or 1


def hash_array(joined: bytes) -> Array:
    """Return an array of hashes from their joined bytes, 16 each, without a Python object per hash."""
    return pa.FixedSizeBinaryArray.from_buffers(_HASH, len(joined) // 16, [None, pa.py_buffer(joined)])
