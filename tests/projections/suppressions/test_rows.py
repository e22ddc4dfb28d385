"""The row of an address: what was encoded is decoded again, rows are small, and unknown versions are refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projections.suppressions.evidence import Evidence
from projections.suppressions.rows import decode_address, encode_address
from projections.suppressions.state import UNPUBLISHED, AddressState, Published
from schemas.errors import ConfigError
from tests.projections.suppressions.building import bounce, evidence_sets, merged, snapshot_after, state_after


@given(evidence_sets(), evidence_sets(), st.integers(0, 2**40))
def test_decoding_an_address_gives_what_was_encoded(
    evidence: list[Evidence], earlier: list[Evidence], version: int
) -> None:
    for published in (
        UNPUBLISHED,
        Published.of(snapshot_after(*evidence)),
        Published.of(snapshot_after(*earlier)),
    ):
        state = AddressState(merged(evidence).evidence, version, published)
        assert decode_address(encode_address(state)) == state


@pytest.mark.parametrize("row", [b"", b"\x03\x90", b"{}"])
def test_a_row_of_another_version_is_refused(row: bytes) -> None:
    with pytest.raises(ConfigError, match="version"):
        decode_address(row)


def test_a_row_of_version_1_which_lacks_what_was_published_is_refused_and_not_misread() -> None:
    with pytest.raises(ConfigError, match="version 01; this gate knows 02"):
        decode_address(b"\x01\x92\x00\x90")


def test_rows_are_small() -> None:
    """An address that bounced once: the memory for a million of them follows from it."""
    event_id, message = "0f343b0931126a20f133d67c2b018a3b", "sendgrid:14c5d75ce93.dfd.64b469"
    assert len(encode_address(merged([bounce(1, message, id=event_id)]))) < 110
    suppressed = state_after(*(bounce(n, f"{message}{n}", id=f"{n}{event_id[1:]}") for n in (1, 2, 3)))
    assert suppressed.version == 1
    assert len(encode_address(suppressed)) - len(encode_address(AddressState(suppressed.evidence))) < 40
