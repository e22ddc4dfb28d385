"""The value of a `suppressions.changed` record.

In:  the snapshot of an address.
Out: JSON that the published model (`schemas.suppressions.SuppressionState`) accepts.
Promise: the same input gives the same bytes.
"""

from typing import Any

import orjson

from projections.suppressions.addressing import AddressKey
from projections.suppressions.opt_outs import ActiveOptOut
from projections.suppressions.state import AddressSnapshot, ScopeSnapshot
from schemas.decoding.times import rfc3339

__all__ = ["suppression_state_value"]


def suppression_state_value(key: AddressKey, snapshot: AddressSnapshot, version: int, changed_us: int) -> bytes:
    """Return the value of the record that publishes the snapshot of an address."""
    return orjson.dumps(
        {
            "channel": key.channel,
            "address": key.address,
            "scopes": [_scope(scope) for scope in snapshot.scopes],
            "opt_outs": [_opt_out(out) for out in snapshot.opt_outs],
            "version": version,
            "changed_at": rfc3339(changed_us),
        }
    )


def _scope(scope: ScopeSnapshot) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "scope": scope.scope,
        "suppressed": scope.suppressed,
        "reason": scope.reason,
        "since": rfc3339(scope.since_us),
        "evidence": scope.evidence,
    }
    if scope.released_us is not None:
        fields["released"] = {"at": rfc3339(scope.released_us), "actor": scope.released_by}
    return fields


def _opt_out(out: ActiveOptOut) -> dict[str, Any]:
    named = {name: value for name, value in (("group", out.group), ("sender", out.sender)) if value}
    return {"scope": out.scope, **named, "reason": out.reason, "since": rfc3339(out.since_us)}
