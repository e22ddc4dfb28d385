"""The state that a command is about to change: asked of the tables, which follow the log within a moment.

In:  a command that is about to be written. Out: whether that which it is about is suppressed, and for an opt-in whether
there is an opt-out that it lifts; None where the tables can't tell now. A command does not wait for them: to close an
address matters more than to know how it was.
"""

import asyncio
from typing import Final, NamedTuple

import structlog

from application import deadlines
from application.lookups import UNANSWERED, Run
from application.suppression_commands import Made
from projections.accounts import queries as accounts
from projections.gate.addressing import sender_key
from projections.store import Store
from projections.suppressions import queries
from schemas.errors import StoreError, StoreRefused
from schemas.suppressions import EVERYWHERE, SuppressionCommand

__all__ = ["CurrentState", "current_state", "is_known_scope"]

_TOLD_WITHIN_SECONDS: Final = 3.0

log = structlog.get_logger()


class CurrentState(NamedTuple):
    """How it was; None is unknown, or of `was_opted_out` that the command is no opt-in."""

    was_suppressed: bool | None = None
    was_opted_out: bool | None = None

    def effect(self, action: str) -> str:
        """What the command does, in words."""
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


async def current_state(store: Store, made: Made, run: Run = asyncio.to_thread) -> CurrentState:
    """Return how it is now.

    `run` runs what blocks: in any thread where nothing else is done.
    """
    try:
        async with asyncio.timeout(deadlines.at_most_half(_TOLD_WITHIN_SECONDS)):
            return CurrentState(*await run(_state, store, made))
    except UNANSWERED as error:
        log.warning("suppression.state_unknown", error=type(error).__name__)
        return CurrentState()


def is_known_scope(store: Store, scope: str) -> bool:
    """Return whether the account of a scope has any message or policy; True also where that is not to be known."""
    if scope == EVERYWHERE:
        return True
    query = accounts.traces_of(scope)
    try:
        return bool(store.tuples(query.sql, query.parameters))
    except (StoreError, StoreRefused):
        return True


def _state(store: Store, made: Made) -> CurrentState:
    command, key = made.command, made.key
    query = queries.was_suppressed(command.action, key.channel, key.address, command.scope)
    [(suppressed,)] = store.tuples(query.sql, query.parameters)
    if command.action != "opt_in":
        return CurrentState(bool(suppressed))
    query = queries.opt_outs(None, key.channel, [key.address])
    lifted = [row for row in store.rows(query.sql, query.parameters) if _lifts(command, row["scope"], row)]
    return CurrentState(bool(suppressed), bool(lifted))


def _lifts(command: SuppressionCommand, scope: str, out: dict[str, str]) -> bool:
    """Whether an opt-in lifts an opt-out, as the gate sees it: what it names, or all of exactly its scope."""
    if scope != command.scope:
        return False
    if not command.group and not command.sender:
        return True
    of_group = bool(command.group) and command.group == out["group"]
    return of_group or (bool(command.sender) and _sender(command.sender) == _sender(out["sender"]))


def _sender(text: str | None) -> str:
    return sender_key(text or "").casefold()
