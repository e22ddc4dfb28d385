"""The gate's memory as bytes: the rows of its changelogs, and what its two agents tell each other.

In and out: the values of `projections.gate`; decoding what was encoded gives the same again.

The first byte is a version; MessagePack follows, lists of values without their names. A row of a version that we don't
know was written by a newer gate: to start all the same would be to forget what it says, so it is refused.
"""

from typing import Any, Final, Generic, NamedTuple, TypeVar

import msgspec

from projections.gate.decide import Verdict
from projections.gate.evidence import Evidence
from projections.gate.published import Written
from projections.gate.suppression import AddressState
from projections.gate.trial import Usage
from schemas.errors import ConfigError
from schemas.facts import Request
from schemas.gate_facts import Policy, Preference

__all__ = [
    "POLICY",
    "PREFERENCE",
    "REMEMBERED",
    "REQUEST",
    "RUN",
    "RUNS",
    "USAGE",
    "Codec",
    "Remembered",
    "Run",
    "Runs",
    "address_of_row",
    "row_of_address",
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


class Run(NamedTuple):
    """What one run of records has decided, so that it can be forgotten."""

    last_us: int
    """The latest Date Sent among them."""
    decisions: tuple[bytes, ...]
    """The keys of their rows."""


class Runs(NamedTuple):
    """The runs that are not forgotten yet: numbers from `first` on, below `following`."""

    first: int
    following: int


class Codec(Generic[T]):
    """Values of one kind as bytes, and back."""

    def __init__(self, kind: Any) -> None:  # a type[T], or a union of types, which mypy takes for none
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
        value: T = self._decode(memoryview(row)[1:])
        return value


POLICY: Final = Codec[Policy](Policy)
PREFERENCE: Final = Codec[Preference](Preference)
USAGE: Final = Codec[Usage](Usage)
REMEMBERED: Final = Codec[Remembered](Remembered)
RUN: Final = Codec[Run](Run)
RUNS: Final = Codec[Runs](Runs)
REQUEST: Final = Codec[Request](Request)


class _Address(NamedTuple):
    version: int
    evidence: tuple[Evidence, ...]


_ADDRESS: Final = Codec[_Address](_Address)


def row_of_address(state: AddressState) -> bytes:
    """Return the row of an address."""
    return _ADDRESS.encode(_Address(state.version, tuple(state.evidence[key] for key in sorted(state.evidence))))


def address_of_row(row: bytes) -> AddressState:
    """Return the state that a row holds. Raises ConfigError for a row of another version."""
    version, evidence = _ADDRESS.decode(row)
    return AddressState({e.key: e for e in evidence}, version)
