"""The state of an address as bytes: a row of the changelog of `gate.by-address`.

In and out: an `AddressState`; decoding what was encoded gives an equal state. Format: `projections.versioned_codec`.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from projections.suppressions.evidence import Evidence
from projections.suppressions.state import UNPUBLISHED, AddressState, Published, ScopeSnapshot
from projections.versioned_codec import VersionedCodec

__all__ = ["decode_address", "encode_address"]


class _PublishedRow(NamedTuple):
    scopes: tuple[ScopeSnapshot, ...]
    evidence: tuple[tuple[int | str, ...], ...]
    """For each scope: the index of the evidence in the row, or its id where the row no longer has it."""
    opt_outs: bytes


class _AddressRow(NamedTuple):
    version: int
    evidence: tuple[Evidence, ...]
    published: _PublishedRow | None


_ADDRESS: Final = VersionedCodec[_AddressRow](_AddressRow, version=2)


def encode_address(state: AddressState) -> bytes:
    """Return the row of an address."""
    evidence = tuple(state.evidence[key] for key in sorted(state.evidence))
    return _ADDRESS.encode(_AddressRow(state.version, evidence, _packed(state.published, evidence)))


def decode_address(row: bytes) -> AddressState:
    """Return the state that a row holds. Raises ConfigError for a row of another version."""
    version, evidence, published = _ADDRESS.decode(row)
    return AddressState({e.key: e for e in evidence}, version, _unpacked(published, evidence))


def _packed(published: Published, evidence: Sequence[Evidence]) -> _PublishedRow | None:
    """What was published, with indexes instead of ids that the row holds anyway: ids are most of its size."""
    if published == UNPUBLISHED:
        return None
    indexes = {e.id: index for index, e in enumerate(evidence)}
    return _PublishedRow(
        tuple(scope._replace(evidence=()) for scope in published.scopes),
        tuple(tuple(indexes.get(id_, id_) for id_ in scope.evidence) for scope in published.scopes),
        published.opt_outs,
    )


def _unpacked(packed: _PublishedRow | None, evidence: Sequence[Evidence]) -> Published:
    if packed is None:
        return UNPUBLISHED
    scopes = (
        scope._replace(evidence=tuple(evidence[item].id if isinstance(item, int) else item for item in items))
        for scope, items in zip(packed.scopes, packed.evidence, strict=True)
    )
    return Published(tuple(scopes), packed.opt_outs)
