"""States of addresses, and commands about them, as rows of `suppression_changes`, `opt_outs` and `commands`.

In:  SuppressionStates, as the gate publishes them, and Commands. Out: Arrow tables of one row for each scope of each
state, for each opt-out of each, and for each command.

A version that states no scope, or no opt-out, gives one row of a blank scope: it voids what the version before stated.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import pyarrow as pa

from schemas.gate_facts import Command
from schemas.suppressions import OptOut, ScopeState, SuppressionState
from schemas.times import rfc3339_us

__all__ = ["changes_table", "commands_table", "opt_outs_table"]

_TIME: Final = pa.timestamp("us", tz="UTC")
_CHANGES: Final = {
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
_OPT_OUTS: Final = {
    "channel": pa.string(),
    "address": pa.string(),
    "version": pa.uint64(),
    **dict.fromkeys(("scope", "group", "sender", "reason"), pa.string()),
    "since": _TIME,
}
_COMMAND_TEXTS: Final = (
    *("command_id", "action", "channel", "address", "scope", "sender", "group", "reason", "note", "actor"),
)
_COMMANDS: Final = {
    **dict.fromkeys(_COMMAND_TEXTS, pa.string()),
    "at": _TIME,
    "received_at": _TIME,
    "partition": pa.uint32(),
    "offset": pa.uint64(),
}


def changes_table(states: Sequence[SuppressionState]) -> Any:
    """Return a row for each scope of each state; of one that states none, a row of a blank scope."""
    rows = [
        row for state in states for row in ([_change(state, scope) for scope in state.scopes] or [_no_scope(state)])
    ]
    return _table(_CHANGES, rows)


def opt_outs_table(states: Sequence[SuppressionState]) -> Any:
    """Return a row for each opt-out of each state; of one that has none, a row of a blank scope."""
    rows = [row for state in states for row in ([_opt_out(state, out) for out in state.opt_outs] or [_no_wish(state)])]
    return _table(_OPT_OUTS, rows)


def commands_table(commands: Sequence[Command]) -> Any:
    """Return a row for each command."""
    return _table(_COMMANDS, [_command(command) for command in commands])


def _table(types: Mapping[str, Any], rows: Sequence[Mapping[str, object]]) -> Any:
    return pa.table({name: pa.array([row[name] for row in rows], kind) for name, kind in types.items()})


def _version(state: SuppressionState) -> dict[str, object]:
    return {"channel": state.channel, "address": state.address, "version": state.version}


def _no_scope(state: SuppressionState) -> dict[str, object]:
    changed_us = rfc3339_us(state.changed_at)
    nothing = {"scope": "", "suppressed": False, "reason": "", "released_at": None, "actor": "", "evidence": []}
    return _version(state) | nothing | {"since": changed_us, "changed_at": changed_us}


def _no_wish(state: SuppressionState) -> dict[str, object]:
    nothing = {"scope": "", "group": "", "sender": "", "reason": ""}
    return _version(state) | nothing | {"since": rfc3339_us(state.changed_at)}


def _opt_out(state: SuppressionState, out: OptOut) -> dict[str, object]:
    return _version(state) | {
        "scope": out.scope,
        "group": out.group or "",
        "sender": out.sender or "",
        "reason": out.reason,
        "since": rfc3339_us(out.since),
    }


def _command(command: Command) -> dict[str, object]:
    place = command.place
    said = {name: getattr(command, name) for name in _COMMAND_TEXTS}
    placed = {"received_at": place.received_us, "partition": place.partition, "offset": place.offset}
    return said | {"at": command.at_us} | placed


def _change(state: SuppressionState, scope: ScopeState) -> dict[str, object]:
    released = scope.released
    return _version(state) | {
        "scope": scope.scope,
        "suppressed": scope.suppressed,
        "reason": scope.reason,
        "since": rfc3339_us(scope.since),
        "released_at": rfc3339_us(released.at) if released else None,
        "actor": released.actor if released else "",
        "evidence": scope.evidence,
        "changed_at": rfc3339_us(state.changed_at),
    }
