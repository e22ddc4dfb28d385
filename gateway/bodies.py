"""Bodies of requests: read up to a limit, and taken for JSON. What they say is checked by `application`.

A body that is no JSON is 400, whatever the route; one whose fields are wrong is 422.
"""

import asyncio
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final, ParamSpec, TypeVar

import anyio
import orjson
from fastapi import Request

from application import deadlines
from application.errors import FieldsInvalid, ValidationFault
from gateway.problems import RETRY_SECONDS, Problem
from gateway.uploads import Uploads

__all__ = ["body_of", "in_turn", "json_of", "object_of", "off_the_loop"]

T = TypeVar("T")
P = ParamSpec("P")

_IN_PLACE_BYTES: Final = 64 * 1024
_THREADS: Final = 2
_TURN_SECONDS: Final = 8.0
"""How long a large body waits for a thread where no request's deadline is shorter."""


async def body_of(request: Request, limit: int) -> bytes:
    """Return the body as it came over the wire. Raises Problem, as `gateway.uploads` says."""
    uploads: Uploads = request.app.state.uploads
    return await uploads.read(request, limit)


async def off_the_loop(size: int, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Return what `work` returns: of a small body at once, of one with more than 64 KiB in a thread.

    So a large body delays its own answer, and other requests by no more than the interpreter's switch interval.
    Raises Problem 503 where no thread was free before the request's time was up, and whatever `work` raises.
    """
    if size <= _IN_PLACE_BYTES:
        return work(*args, **kwargs)
    said = "Too many large bodies wait for their check, and nothing was stored; send it again"
    return await in_turn(_limiter(), "timed-out", said, lambda: work(*args, **kwargs))


async def in_turn(threads: anyio.CapacityLimiter, code: str, detail: str, work: Callable[[], T]) -> T:
    """Return what `work` returns, run in one of so many threads. Raises Problem (`code`, `detail`) where none was free
    before the request's time was up.
    """
    turn = object()
    try:
        async with asyncio.timeout(deadlines.within(_TURN_SECONDS)):
            await threads.acquire_on_behalf_of(turn)
    except TimeoutError as error:
        raise Problem(code, detail, headers={"Retry-After": RETRY_SECONDS}) from error
    try:  # without a timeout: a thread can't be stopped, and its turn must not go to another one before it ends
        return await anyio.to_thread.run_sync(work, limiter=anyio.CapacityLimiter(1))
    finally:
        threads.release_on_behalf_of(turn)


def json_of(body: bytes) -> Any:
    """Return the JSON value of a body. Raises Problem 400."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Problem("malformed-json", f"The body must be JSON in UTF-8: {error}") from None


def object_of(body: bytes) -> dict[str, Any]:
    """Return the JSON object of a body. Raises Problem 400, or FieldsInvalid."""
    value = json_of(body)
    if not isinstance(value, dict):
        raise FieldsInvalid([ValidationFault("body", "must be an object")])
    return value


@lru_cache
def _limiter() -> anyio.CapacityLimiter:
    """What bounds the threads that check bodies: they are not those that wait for ClickHouse."""
    return anyio.CapacityLimiter(_THREADS)
