"""States of addresses as rows of the table `suppression_changes`.

In:  SuppressionStates, as the gate publishes them. Out: an Arrow table of one row for each scope of each.
"""

from collections.abc import Sequence
from typing import Any, Final

import pyarrow as pa

from schemas.suppressions import ScopeState, SuppressionState
from schemas.times import rfc3339_us

__all__ = ["changes_table"]

_TIME: Final = pa.timestamp("us", tz="UTC")
_TYPES: Final = {
    "channel": pa.string(),
    "address": pa.string(),
    "version": pa.uint64(),
    "scope": pa.string(),
    "suppressed": pa.bool_(),
    "reason": pa.string(),
    "since": _TIME,
    "released_at": _TIME,
    "actor": pa.string(),
    "evidence": pa.list_(pa.string()),
    "changed_at": _TIME,
}


def changes_table(states: Sequence[SuppressionState]) -> Any:
    """Return a row for each scope of each state; there may be none, where a state has opt-outs alone."""
    rows = [_row(state, scope) for state in states for scope in state.scopes]
    return pa.table({name: pa.array([row[name] for row in rows], kind) for name, kind in _TYPES.items()})


def _row(state: SuppressionState, scope: ScopeState) -> dict[str, object]:
    released = scope.released
    return {
        "channel": state.channel,
        "address": state.address,
        "version": state.version,
        "scope": scope.scope,
        "suppressed": scope.suppressed,
        "reason": scope.reason,
        "since": rfc3339_us(scope.since),
        "released_at": rfc3339_us(released.at) if released else None,
        "actor": released.actor if released else "",
        "evidence": scope.evidence,
        "changed_at": rfc3339_us(state.changed_at),
    }
