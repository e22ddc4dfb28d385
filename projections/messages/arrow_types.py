"""The Arrow types of the tables' columns, and how columns of them are made.

ClickHouse reads a struct as Tuple, and 16 bytes as FixedString.
"""

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any, Final

import pyarrow as pa

__all__ = [
    "CHANGE",
    "INVERSE",
    "KNOWN_AS",
    "NOTHING",
    "ORDERED_TEXTS",
    "STATE",
    "TYPE_SIZE",
    "WINNER",
    "Columns",
    "address_hash",
    "hash_array",
    "hash_prefixes",
    "identity",
    "struct",
]

Columns = dict[str, Any]
"""Arrow arrays of one length, by name."""

INVERSE: Final = 1 << 62
"""Times are kept as this less the time: the greater is then the earlier, and 0 is none."""

TYPE_SIZE: Final = 5
"""So many bits has the number of a type, below an address's hash."""

_HASH: Final = pa.binary(16)
_BLAKE2B_64: Final = blake2b(digest_size=8)

NOTHING: Final = 2**64 - 1
"""The identity of a column that keeps the smallest of numbers."""

_ORDERED: Final = [("known", pa.uint8()), ("inverse_at", pa.uint64()), ("inverse_hash", pa.uint64())]


def _texts(*names: str) -> list[tuple[str, Any]]:
    return [(name, pa.string()) for name in names]


KNOWN_AS: Final = pa.struct(_ORDERED + _texts("provider", "provider_message_id"))
WINNER: Final = pa.struct(
    [("rank", pa.uint8()), ("has_code", pa.uint8()), ("inverse_at", pa.uint64()), ("inverse_id", pa.uint64())]
    + [("inverse_received", pa.uint64()), ("inverse_partition", pa.uint32()), ("inverse_place", pa.uint64())]
    + _texts("code", "enhanced_code", "reason", "classification", "sub_status")
)
CHANGE: Final = pa.struct([("inverse_at", pa.uint64()), *_texts("state")])
_IDS: Final = pa.list_(pa.uint64())
ORDERED_TEXTS: Final = ("to_key", "domain", "template_id", "template_name")
"""The axes that are texts behind 16 bytes: the order of their request or decision."""
STATE: Final = {
    "account_id": pa.string(),
    "message_id": pa.string(),
    "intent": pa.binary(32),
    **dict.fromkeys(ORDERED_TEXTS, pa.binary()),
    "request": pa.struct(
        _ORDERED
        + _texts("recipient_id", "to_address")
        + [("cc", pa.list_(pa.string())), ("cc_keys", pa.list_(pa.string()))]
        + _texts("subject", "appointment_id", "reason", "detail")
    ),
    "copied_to": pa.list_(pa.string()),
    "told": _IDS,
    "flags": pa.uint8(),
    "heard": pa.uint64(),
    "first_content": pa.uint64(),
    "last_content": pa.uint64(),
    "dispatch": KNOWN_AS,
    "seen": KNOWN_AS,
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
"""The columns of `message_state`; each but the first two is an axis."""

SMALLEST: Final = "first_content"
"""The axis that keeps the smallest number, so that its identity is the greatest."""


def struct(kind: Any, *columns: Sequence[object]) -> Any:
    """Return a struct array of `kind` from its columns."""
    arrays = [pa.array(values, field.type) for values, field in zip(columns, kind, strict=True)]
    return pa.StructArray.from_arrays(arrays, fields=list(kind))


def identity(axis: str, size: int) -> Any:
    """Return `size` times the identity of an axis: what changes nothing when it is joined."""
    if axis == SMALLEST:
        return pa.repeat(pa.scalar(NOTHING, pa.uint64()), size)
    return _zeros(STATE[axis], size)


def _zeros(kind: Any, size: int) -> Any:
    """Zeros, blanks and empty lists."""
    if pa.types.is_struct(kind):
        return pa.StructArray.from_arrays([_zeros(field.type, size) for field in kind], fields=list(kind))
    if pa.types.is_list(kind) or pa.types.is_map(kind):
        return pa.array([[]] * size, kind)
    zero: object = "" if pa.types.is_string(kind) else b"" if pa.types.is_binary(kind) else 0
    if pa.types.is_fixed_size_binary(kind):
        zero = bytes(kind.byte_width)
    return pa.repeat(pa.scalar(zero, kind), size)


def hash_prefixes(hexadecimal: Sequence[str]) -> list[int]:
    """Return the first 8 bytes of each hash as a number that sorts as the hash does."""
    return [int(text[:16], 16) for text in hexadecimal]


def address_hash(key: str) -> int:
    """Return the number of 59 bits by which an address key is known in the state; for a blank one 0, which no key has.

    Schemas, Python and SQL must agree on it for ever, so it is a hash that is specified: the first bits of BLAKE2b.
    """
    if not key:
        return 0
    digest = _BLAKE2B_64.copy()  # cheaper than one made anew
    digest.update(key.encode())
    return int.from_bytes(digest.digest(), "big") >> TYPE_SIZE or 1


def hash_array(joined: bytes) -> Any:
    """Return an array of hashes from their bytes, 16 each: no object is made of any."""
    return pa.FixedSizeBinaryArray.from_buffers(_HASH, len(joined) // 16, [None, pa.py_buffer(joined)])
