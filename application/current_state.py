"""The state that a command is about to change, read from ClickHouse, which follows Kafka with a short delay.

In:  a command that is about to be written.
Out: whether its address is suppressed, and for an opt-in whether there is an opt-out that it lifts; None if ClickHouse
can't answer now. The command is written in any case: suppressing an address matters more than reporting its state.
"""

import asyncio
from typing import Final, NamedTuple

import structlog

from application import deadlines
from application.lookups import LOOKUP_ERRORS, RunBlocking
from application.suppression_commands import PreparedCommand
from projections.accounts import queries as accounts
from projections.store import Store
from projections.suppressions import queries
from projections.suppressions.addressing import sender_key
from schemas.decoding.ids import ALL
from schemas.errors import StoreError, StoreRefused
from schemas.log_events import LogEvent
from schemas.suppressions import SuppressionCommand

__all__ = ["CurrentState", "current_state", "is_known_scope"]

_LOOKUP_SECONDS: Final = 3.0

log = structlog.get_logger()


class CurrentState(NamedTuple):
    """The state before the command. None is unknown; `was_opted_out` is also None if the command is not an opt-in."""

    was_suppressed: bool | None = None
    was_opted_out: bool | None = None

    def effect(self, action: str) -> str:
        """Return a sentence about what the command does."""
        if action == "opt_in":
            return _OPT_INS[self.was_opted_out]
        return _COMMANDS[action][self.was_suppressed]


_OPT_INS: Final = {
    None: "Lifts the opt-outs that it names, if there are any",
    False: "There is no opt-out to lift: nothing changes",
    True: "Lifts the opt-out",
}
_COMMANDS: Final = {
    "suppress": {
        None: "Suppresses the address",
        False: "Suppresses the address",
        True: "The address is suppressed already; the command is kept as evidence",
    },
    "release": {
        None: "Releases the address, if it is suppressed",
        False: "The address is not suppressed: nothing changes",
        True: "Releases the address",
    },
}


async def current_state(store: Store, prepared: PreparedCommand, run: RunBlocking = asyncio.to_thread) -> CurrentState:
    """Return the current state.

    `run` runs blocking functions; the default is any thread.
    """
    try:
        async with asyncio.timeout(deadlines.at_most_half(_LOOKUP_SECONDS)):
            return CurrentState(*await run(_state, store, prepared))
    except LOOKUP_ERRORS as error:
        log.warning(LogEvent.SUPPRESSION_STATE_UNKNOWN, error=type(error).__name__)
        return CurrentState()


def is_known_scope(store: Store, scope: str) -> bool:
    """Return whether the account of a scope has any message or policy; True if ClickHouse can't answer."""
    if scope == ALL:
        return True
    query = accounts.account_exists(scope)
    try:
        return bool(store.tuples(query.sql, query.parameters))
    except (StoreError, StoreRefused):
        return True


def _state(store: Store, prepared: PreparedCommand) -> CurrentState:
    command, key = prepared.command, prepared.key
    query = queries.was_suppressed(command.action, key.channel, key.address, command.scope)
    [(suppressed,)] = store.tuples(query.sql, query.parameters)
    if command.action != "opt_in":
        return CurrentState(bool(suppressed))
    query = queries.opt_outs(None, key.channel, [key.address])
    lifted = [row for row in store.rows(query.sql, query.parameters) if _lifts(command, row["scope"], row)]
    return CurrentState(bool(suppressed), bool(lifted))


def _lifts(command: SuppressionCommand, scope: str, out: dict[str, str]) -> bool:
    """Whether an opt-in lifts an opt-out, by the gate's rule: of its group or sender, else all of exactly its scope."""
    if scope != command.scope:
        return False
    if not command.group and not command.sender:
        return True
    of_group = bool(command.group) and command.group == out["group"]
    return of_group or (bool(command.sender) and _sender(command.sender) == _sender(out["sender"]))


def _sender(text: str | None) -> str:
    return sender_key(text or "").casefold()
