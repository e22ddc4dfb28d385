"""Policies and preferences as rows of the tables `policies` and `preferences`.

In:  decoded records, each with its JSON text. Out: Arrow tables with one row per record.
The tables keep the record in force, by the order of `projections.decisions.account.precedence`.
"""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import pyarrow as pa

from projections.decisions.account import precedence
from projections.messages.arrow_types import struct
from schemas.decoding.gate_inputs import Policy, Preference

__all__ = ["PolicyRow", "PreferenceRow", "policies_table", "preferences_table"]

_STATED: Final = pa.struct([("updated_us", pa.int64()), ("packed", pa.binary()), ("record", pa.string())])


class PolicyRow(NamedTuple):
    """A policy and its JSON text."""

    policy: Policy
    record: str


class PreferenceRow(NamedTuple):
    """A preference and its JSON text."""

    preference: Preference
    record: str


def policies_table(rows: Sequence[PolicyRow]) -> pa.Table:
    """Return one row per policy."""
    return pa.table(
        {
            "account_id": pa.array([row.policy.account_id for row in rows], pa.string()),
            "stated": _packed([row.policy for row in rows], [row.record for row in rows]),
        }
    )


def preferences_table(rows: Sequence[PreferenceRow]) -> pa.Table:
    """Return one row per preference."""
    return pa.table(
        {
            **{
                name: pa.array([getattr(row.preference, name) for row in rows], pa.string())
                for name in ("account_id", "recipient_kind", "recipient_id")
            },
            "stated": _packed([row.preference for row in rows], [row.record for row in rows]),
        }
    )


def _packed(decoded: Sequence[Policy | Preference], records: Sequence[str]) -> "pa.Array[Any]":
    ranks = [precedence(record) for record in decoded]
    return struct(_STATED, [updated_us for updated_us, _ in ranks], [packed for _, packed in ranks], records)
