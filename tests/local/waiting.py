"""Waiting for something that another process does. The limit says when to give up; it is no claim about speed."""

import asyncio
from collections.abc import Awaitable, Callable

PATIENCE_SECONDS = 240.0


async def until(condition: Callable[[], bool | Awaitable[bool]], what: str) -> None:
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not await _holds(condition):  # noqa: ASYNC110 - nothing here could set an event
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"waited in vain for {what}") from None


async def _holds(condition: Callable[[], bool | Awaitable[bool]]) -> bool:
    found = condition()
    return found if isinstance(found, bool) else await found
