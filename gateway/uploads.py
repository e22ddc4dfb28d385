"""Bodies on their way in: bounded in size, in time, and in what all of them hold together.

In:  a request whose headers were found good. Out: its body, as it came over the wire; or Problem:

    too-large      413   as soon as it is known to be
    body-too-slow  408   it did not come in time
    overloaded     503   all bodies together would hold more than their budget

What a body holds is given back when its request has been answered.
"""

import asyncio
from typing import Final

from fastapi import Request
from starlette.types import Scope

from application import deadlines
from gateway.problems import RETRY_SECONDS, Problem

__all__ = ["Uploads", "check_length"]

_HELD: Final = "sendledger.held_bytes"
_MOST_DIGITS: Final = 18


def check_length(request: Request, limit: int) -> None:
    """Raise Problem 413 if the headers say already that the body is too large."""
    stated = request.headers.get("content-length", "")
    if stated.isdecimal() and (len(stated) > _MOST_DIGITS or int(stated) > limit):
        raise Problem("too-large", f"The body has {stated[:_MOST_DIGITS]} bytes or more; {limit} are taken")


class Uploads:
    """What all bodies hold together."""

    def __init__(self, *, budget_bytes: int, seconds: float) -> None:
        self._budget, self._seconds = budget_bytes, seconds
        self.held = 0

    async def read(self, request: Request, limit: int) -> bytes:
        """Return the body of `request`, of up to `limit` bytes. Raises Problem, or ClientDisconnect."""
        check_length(request, limit)
        try:
            async with asyncio.timeout(self._seconds):
                body = await self._read(request, limit)
        except TimeoutError as error:
            raise Problem("body-too-slow", f"The body did not come within {self._seconds:g} s") from error
        deadlines.restart()
        return body

    def give_back(self, scope: Scope) -> None:
        """Let go of what the request's body held."""
        self.held -= scope.pop(_HELD, 0)

    async def _read(self, request: Request, limit: int) -> bytes:
        chunks: list[bytes] = []
        size = 0
        async for chunk in request.stream():
            size += len(chunk)
            if size > limit:
                raise Problem("too-large", f"The body has more than the {limit} bytes that are taken")
            self._hold(request.scope, len(chunk))
            chunks.append(chunk)
        return b"".join(chunks)

    def _hold(self, scope: Scope, size: int) -> None:
        if self.held + size > self._budget:
            said = "The gateway holds as many bodies as it can; send it again"
            raise Problem("overloaded", said, headers={"Retry-After": RETRY_SECONDS})
        self.held += size
        scope[_HELD] = scope.get(_HELD, 0) + size
