"""Reads request bodies, with limits on size, on time, and on the memory of all bodies together.

In:  a request whose headers are valid. Out: its raw body; or Problem:

    too-large      413   as soon as the size is known
    body-too-slow  408   it did not arrive in time
    overloaded     503   all bodies together would exceed the memory budget

The memory of a body is released when its request has been answered.
"""

import asyncio
from typing import Final

from fastapi import Request
from starlette.types import Scope

from application import deadlines
from gateway.problems import RETRY_SECONDS, Problem

__all__ = ["UploadBuffers", "check_length"]

_BUFFERED: Final = "sendledger.held_bytes"
_MOST_DIGITS: Final = 18


def check_length(request: Request, limit: int) -> None:
    """Raise Problem 413 if Content-Length is over the limit."""
    stated = request.headers.get("content-length", "")
    if stated.isdecimal() and (len(stated) > _MOST_DIGITS or int(stated) > limit):
        raise Problem("too-large", f"The body has {stated[:_MOST_DIGITS]} bytes or more; the limit is {limit}")


class UploadBuffers:
    """The bodies of all requests in progress, within a memory budget."""

    def __init__(self, *, budget_bytes: int, seconds: float) -> None:
        self._budget, self._seconds = budget_bytes, seconds
        self.buffered_bytes = 0

    async def read(self, request: Request, limit: int) -> bytes:
        """Return the body of `request`, of up to `limit` bytes. Raises Problem, or ClientDisconnect."""
        check_length(request, limit)
        try:
            async with asyncio.timeout(self._seconds):
                body = await self._read(request, limit)
        except TimeoutError as error:
            raise Problem("body-too-slow", f"The body did not arrive within {self._seconds:g} s") from error
        deadlines.restart()
        return body

    def release(self, scope: Scope) -> None:
        """Release the memory of the request's body."""
        self.buffered_bytes -= scope.pop(_BUFFERED, 0)

    async def _read(self, request: Request, limit: int) -> bytes:
        chunks: list[bytes] = []
        size = 0
        async for chunk in request.stream():
            size += len(chunk)
            if size > limit:
                raise Problem("too-large", f"The body has more than {limit} bytes")
            self._reserve(request.scope, len(chunk))
            chunks.append(chunk)
        return b"".join(chunks)

    def _reserve(self, scope: Scope, size: int) -> None:
        if self.buffered_bytes + size > self._budget:
            detail = "The gateway is at its memory limit for bodies; send it again"
            raise Problem("overloaded", detail, headers={"Retry-After": RETRY_SECONDS})
        self.buffered_bytes += size
        scope[_BUFFERED] = scope.get(_BUFFERED, 0) + size
