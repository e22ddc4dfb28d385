"""Values as bytes with a version in front: rows of the gate's changelogs and messages between its agents.

In and out: one value of a fixed type. The first byte is the version; MessagePack follows, with tuples and structs as
arrays, so that field names take no room.
Promise: decoding what was encoded gives an equal value. A row of an unknown version was written by a newer gate. It is
refused, because to start without it would be to lose what it holds.
"""

from typing import Any, Generic, TypeVar

import msgspec

from schemas.errors import ConfigError

__all__ = ["VersionedCodec"]

T = TypeVar("T")


class VersionedCodec(Generic[T]):
    """Encodes and decodes values of one type."""

    def __init__(self, kind: Any, version: int = 1) -> None:
        """`kind` is a type or a union of types; mypy has no type for the latter."""
        self._version = bytes((version,))
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(kind).decode

    def encode(self, value: T) -> bytes:
        """Return a value as bytes."""
        return self._version + self._encode(value)

    def decode(self, row: bytes) -> T:
        """Return the value of a row. Raises ConfigError for a row of another version."""
        if row[:1] != self._version:
            found, known = row[:1].hex() or "none", self._version.hex()
            raise ConfigError(
                f"a row of the gate's state has version {found}; this gate knows {known}",
                "the gate's changelogs",
                "run the gate release that wrote it, or a newer one; or rebuild: docs/explanation/gate.md#after-a-loss",
            )
        value: T = self._decode(memoryview(row)[1:])
        return value
