"""The gate's memory as bytes: the rows of its changelogs, and what its two agents tell each other.

In and out: the values of `projections.gate`; decoding what was encoded gives the same again.

The first byte is a version; MessagePack follows, lists of values without their names. A row of a version that we don't
know was written by a newer gate: to start all the same would be to forget what it says, so it is refused.
"""

from typing import Final, Generic, NamedTuple, TypeVar

import msgspec

from projections.gate.decide import Verdict
from projections.gate.evidence import Evidence
from projections.gate.published import Written
from projections.gate.suppression import AddressState, SuppressionView
from projections.gate.trial import Usage
from schemas.errors import ConfigError
from schemas.gate_facts import Policy, Preference

__all__ = [
    "EVIDENCE",
    "POLICY",
    "PREFERENCE",
    "REMEMBERED",
    "USAGE",
    "VIEW",
    "Codec",
    "Remembered",
    "decode_address",
    "encode_address",
]

_VERSION: Final = b"\x01"
T = TypeVar("T")


class Remembered(NamedTuple):
    """What is remembered of a decided message."""

    decided_us: int
    verdict: Verdict
    written: Written | None
    """The request that was decided; None where it is too large to be remembered, …"""
    content_hash: str
    """… and then its hash; else blank."""


class Codec(Generic[T]):
    """Values of one kind as bytes, and back."""

    def __init__(self, kind: type[T]) -> None:
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(kind).decode

    def encode(self, value: T) -> bytes:
        """Return a value as bytes."""
        return _VERSION + self._encode(value)

    def decode(self, row: bytes) -> T:
        """Return the value of a row. Raises ConfigError for a row of another version."""
        if row[:1] != _VERSION:
            raise ConfigError(
                f"a row of the gate's memory has version {row[:1].hex() or 'none'}; this gate knows {_VERSION.hex()}",
                "the gate's changelogs",
                "run the gate that wrote it, or a newer one",
            )
        return self._decode(memoryview(row)[1:])


POLICY: Final = Codec(Policy)
PREFERENCE: Final = Codec(Preference)
USAGE: Final = Codec(Usage)
REMEMBERED: Final = Codec(Remembered)
EVIDENCE: Final = Codec(Evidence)
VIEW: Final = Codec(SuppressionView)


class _Address(NamedTuple):
    version: int
    evidence: tuple[Evidence, ...]


_ADDRESS: Final = Codec(_Address)


def encode_address(state: AddressState) -> bytes:
    """Return the row of an address."""
    return _ADDRESS.encode(_Address(state.version, tuple(state.evidence[key] for key in sorted(state.evidence))))


def decode_address(row: bytes) -> AddressState:
    """Return the state that a row holds. Raises ConfigError for a row of another version."""
    version, evidence = _ADDRESS.decode(row)
    return AddressState({e.key: e for e in evidence}, version)
