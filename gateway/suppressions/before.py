"""What was so before a command: asked of the tables, which follow the log within a moment.

In:  a command that is about to be written. Out: whether that which it is about is suppressed; None where the tables
can't tell now. A command does not wait for them: to close an address matters more than to know how it was.
"""

import asyncio
from typing import Final

import structlog

from gateway.suppressions.commands import Made
from projections.store import Store
from projections.suppressions import queries
from schemas.errors import StoreError, StoreRefused

__all__ = ["was_suppressed"]

_TOLD_WITHIN_SECONDS: Final = 3.0

log = structlog.get_logger()


async def was_suppressed(store: Store, made: Made) -> bool | None:
    """Return whether what the command is about is suppressed now; None if that is not to be known."""
    command = made.command
    query = queries.was_suppressed(command.action, made.key.channel, made.key.address, command.scope)
    try:
        async with asyncio.timeout(_TOLD_WITHIN_SECONDS):
            [(held,)] = await asyncio.to_thread(store.tuples, query.sql, query.parameters)
    except (StoreError, StoreRefused, TimeoutError) as error:
        log.warning("suppression.state_unknown", error=type(error).__name__)
        return None
    return bool(held)
