"""Policies and preferences as rows of the tables `policies` and `preferences`.

In:  records as they were decoded, each with its text. Out: Arrow tables of one row a record.
The tables keep the record in force: which of two that is, is said by `projections.gate.account.rank`.
"""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import pyarrow as pa

from projections.gate.account import rank
from projections.messages.arrow_types import struct
from schemas.gate_facts import Policy, Preference

__all__ = ["StatedPolicy", "StatedPreference", "policies_table", "preferences_table"]

_STATED: Final = pa.struct([("updated_us", pa.int64()), ("packed", pa.binary()), ("record", pa.string())])


class StatedPolicy(NamedTuple):
    """A policy, and the JSON text that states it."""

    policy: Policy
    record: str


class StatedPreference(NamedTuple):
    """A preference, and the JSON text that states it."""

    preference: Preference
    record: str


def policies_table(stated: Sequence[StatedPolicy]) -> Any:
    """Return a row for each policy."""
    return pa.table(
        {
            "account_id": pa.array([one.policy.account_id for one in stated], pa.string()),
            "stated": _stated([one.policy for one in stated], [one.record for one in stated]),
        }
    )


def preferences_table(stated: Sequence[StatedPreference]) -> Any:
    """Return a row for each preference."""
    return pa.table(
        {
            **{
                name: pa.array([getattr(one.preference, name) for one in stated], pa.string())
                for name in ("account_id", "recipient_kind", "recipient_id")
            },
            "stated": _stated([one.preference for one in stated], [one.record for one in stated]),
        }
    )


def _stated(wishes: Sequence[Policy | Preference], records: Sequence[str]) -> Any:
    ranks = [rank(wish) for wish in wishes]
    return struct(_STATED, [updated_us for updated_us, _ in ranks], [packed for _, packed in ranks], records)
