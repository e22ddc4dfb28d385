"""What was so before a command: asked of the tables, which follow the log within a moment.

In:  a command that is about to be written. Out: whether that which it is about is suppressed, and for an opt-in whether
there is an opt-out that it lifts; None where the tables can't tell now. A command does not wait for them: to close an
address matters more than to know how it was.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final, NamedTuple

import structlog

from application import deadlines
from gateway.problems import Problem
from gateway.suppressions.commands import Made
from projections.gate.addressing import sender_key
from projections.store import Store
from projections.suppressions import queries
from schemas.errors import StoreError, StoreRefused
from schemas.suppressions import SuppressionCommand

__all__ = ["Before", "state_before"]

Run = Callable[..., Coroutine[Any, Any, Any]]

_TOLD_WITHIN_SECONDS: Final = 3.0

log = structlog.get_logger()


class Before(NamedTuple):
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


async def state_before(store: Store, made: Made, run: Run = asyncio.to_thread) -> Before:
    """Return how it is now.

    `run` runs what blocks: the gateway's reads, or any thread in a command that does nothing else.
    """
    try:
        async with asyncio.timeout(deadlines.at_most_half(_TOLD_WITHIN_SECONDS)):
            return Before(*await run(_state, store, made))
    except (Problem, StoreError, StoreRefused, TimeoutError) as error:
        log.warning("suppression.state_unknown", error=type(error).__name__)
        return Before()


def _state(store: Store, made: Made) -> Before:
    command, key = made.command, made.key
    query = queries.was_suppressed(command.action, key.channel, key.address, command.scope)
    [(suppressed,)] = store.tuples(query.sql, query.parameters)
    if command.action != "opt_in":
        return Before(bool(suppressed))
    query = queries.opt_outs(None, key.channel, [key.address])
    lifted = [row for row in store.rows(query.sql, query.parameters) if _lifts(command, row["scope"], row)]
    return Before(bool(suppressed), bool(lifted))


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
