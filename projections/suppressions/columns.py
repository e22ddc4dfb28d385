"""Rows of `suppression_changes`, `opt_outs` and `commands`.

In:  SuppressionStates, as the gate publishes them, and Commands. Out: Arrow tables with one row for each scope of each
state, for each opt-out of each state, and for each command.

A version without any scope, or without any opt-out, gives one row with a blank scope, so that the rows of the version
before it are no longer the newest.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import pyarrow as pa

from schemas.decoding.gate_inputs import Command
from schemas.decoding.times import rfc3339_us
from schemas.suppressions import OptOut, ScopeState, SuppressionState

__all__ = ["changes_table", "commands_table", "opt_outs_table"]

_TIME: Final = pa.timestamp("us", tz="UTC")
_CHANGES: Final[dict[str, pa.DataType]] = {
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
_OPT_OUTS: Final[dict[str, pa.DataType]] = {
    "channel": pa.string(),
    "address": pa.string(),
    "version": pa.uint64(),
    **dict.fromkeys(("scope", "group", "sender", "reason"), pa.string()),
    "since": _TIME,
}
_COMMAND_TEXTS: Final = (
    *("command_id", "action", "channel", "address", "scope", "sender", "group", "reason", "note", "actor"),
)
_COMMANDS: Final[dict[str, pa.DataType]] = {
    **dict.fromkeys(_COMMAND_TEXTS, pa.string()),
    "at": _TIME,
    "received_at": _TIME,
    "partition": pa.uint32(),
    "offset": pa.uint64(),
}


def changes_table(states: Sequence[SuppressionState]) -> pa.Table:
    """Return a row for each scope of each state; for a state without scopes one row with a blank scope."""
    rows = [
        row for state in states for row in ([_change(state, scope) for scope in state.scopes] or [_no_scope(state)])
    ]
    return _table(_CHANGES, rows)


def opt_outs_table(states: Sequence[SuppressionState]) -> pa.Table:
    """Return a row for each opt-out of each state; for a state without opt-outs one row with a blank scope."""
    rows = [
        row for state in states for row in ([_opt_out(state, out) for out in state.opt_outs] or [_no_opt_out(state)])
    ]
    return _table(_OPT_OUTS, rows)


def commands_table(commands: Sequence[Command]) -> pa.Table:
    """Return a row for each command."""
    return _table(_COMMANDS, [_command(command) for command in commands])


def _table(types: Mapping[str, pa.DataType], rows: Sequence[Mapping[str, object]]) -> pa.Table:
    return pa.table({name: pa.array([row[name] for row in rows], kind) for name, kind in types.items()})


def _version(state: SuppressionState) -> dict[str, object]:
    return {"channel": state.channel, "address": state.address, "version": state.version}


def _no_scope(state: SuppressionState) -> dict[str, object]:
    changed_us = rfc3339_us(state.changed_at)
    nothing = {"scope": "", "suppressed": False, "reason": "", "released_at": None, "actor": "", "evidence": []}
    return _version(state) | nothing | {"since": changed_us, "changed_at": changed_us}


def _no_opt_out(state: SuppressionState) -> dict[str, object]:
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
    source = command.source
    texts = {name: getattr(command, name) for name in _COMMAND_TEXTS}
    received = {"received_at": source.received_us, "partition": source.partition, "offset": source.offset}
    return texts | {"at": command.at_us} | received


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
