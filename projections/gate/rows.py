"""The gate's memory as bytes: the rows of its changelogs, and what its two agents tell each other.

In and out: the values of `projections.gate`; decoding what was encoded gives the same again.

The first byte is a version; MessagePack follows, lists of values without their names. A row of a version that we don't
know was written by a newer gate: to start all the same would be to forget what it says, so it is refused.
"""

from collections.abc import Sequence
from typing import Any, Final, Generic, NamedTuple, TypeVar

import msgspec

from projections.gate.decide import Verdict
from projections.gate.evidence import Evidence
from projections.gate.published import Written
from projections.gate.suppression import UNPUBLISHED, AddressState, Published, ScopeView
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

    def __init__(
        self, kind: Any, version: int = 1
    ) -> None:  # a type[T], or a union of types, which mypy takes for none
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
                f"a row of the gate's memory has version {found}; this gate knows {known}",
                "the gate's changelogs",
                "run the gate that wrote it, or a newer one; or start over: docs/explanation/gate.md#after-a-loss",
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


class _Published(NamedTuple):
    scopes: tuple[ScopeView, ...]
    evidence: tuple[tuple[int | str, ...], ...]
    """Of each scope: where in the row the evidence stands, or its id, if it is not remembered any more."""
    opt_outs: bytes


class _Address(NamedTuple):
    version: int
    evidence: tuple[Evidence, ...]
    published: _Published | None


_ADDRESS: Final = Codec[_Address](_Address, version=2)


def row_of_address(state: AddressState) -> bytes:
    """Return the row of an address."""
    evidence = tuple(state.evidence[key] for key in sorted(state.evidence))
    return _ADDRESS.encode(_Address(state.version, evidence, _packed(state.published, evidence)))


def address_of_row(row: bytes) -> AddressState:
    """Return the state that a row holds. Raises ConfigError for a row of another version."""
    version, evidence, published = _ADDRESS.decode(row)
    return AddressState({e.key: e for e in evidence}, version, _unpacked(published, evidence))


def _packed(published: Published, evidence: Sequence[Evidence]) -> _Published | None:
    """What was published, without the ids that stand in the row anyway: they are most of it."""
    if published == UNPUBLISHED:
        return None
    places = {e.id: place for place, e in enumerate(evidence)}
    return _Published(
        tuple(scope._replace(evidence=()) for scope in published.scopes),
        tuple(tuple(places.get(id_, id_) for id_ in scope.evidence) for scope in published.scopes),
        published.opt_outs,
    )


def _unpacked(packed: _Published | None, evidence: Sequence[Evidence]) -> Published:
    if packed is None:
        return UNPUBLISHED
    scopes = (
        scope._replace(evidence=tuple(evidence[place].id if isinstance(place, int) else place for place in places))
        for scope, places in zip(packed.scopes, packed.evidence, strict=True)
    )
    return Published(tuple(scopes), packed.opt_outs)
