"""Request bodies: read up to a limit, and parsed as JSON. `application` validates the fields.

A body that is not JSON is 400, whatever the route; one with invalid fields is 422.
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
from gateway.uploads import UploadBuffers

__all__ = ["parse_json", "parse_object", "read_body", "run_limited", "run_off_loop"]

T = TypeVar("T")
P = ParamSpec("P")

_IN_PLACE_BYTES: Final = 64 * 1024
_THREADS: Final = 2
_TURN_SECONDS: Final = 8.0
"""How long a large body waits for a thread, unless the request's deadline is shorter."""


async def read_body(request: Request, limit: int) -> bytes:
    """Return the body as it came over the wire. Raises Problem, as `gateway.uploads` says."""
    uploads: UploadBuffers = request.app.state.uploads
    return await uploads.read(request, limit)


async def run_off_loop(size: int, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run `work` directly for a small body, and in a thread for one of more than 64 KiB; return its result.

    So a large body delays other requests by no more than the interpreter's switch interval. Raises Problem 503 if no
    thread became free before the request's deadline, and whatever `work` raises.
    """
    if size <= _IN_PLACE_BYTES:
        return work(*args, **kwargs)
    detail = "Too many large bodies are waiting to be checked. Nothing was stored; send it again"
    return await run_limited(_limiter(), "timed-out", detail, lambda: work(*args, **kwargs))


async def run_limited(threads: anyio.CapacityLimiter, code: str, detail: str, work: Callable[[], T]) -> T:
    """Run `work` in one of a limited number of threads; return its result. Raises Problem (`code`, `detail`) if none
    became free before the request's deadline.
    """
    token = object()
    try:
        async with asyncio.timeout(deadlines.within(_TURN_SECONDS)):
            await threads.acquire_on_behalf_of(token)
    except TimeoutError as error:
        raise Problem(code, detail, headers={"Retry-After": RETRY_SECONDS}) from error
    try:  # without a timeout: a thread can't be stopped, and its slot must not be reused before it ends
        return await anyio.to_thread.run_sync(work, limiter=anyio.CapacityLimiter(1))
    finally:
        threads.release_on_behalf_of(token)


def parse_json(body: bytes) -> Any:
    """Return the JSON value of a body. Raises Problem 400."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Problem("malformed-json", f"The body must be JSON in UTF-8: {error}") from None


def parse_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object of a body. Raises Problem 400, or FieldsInvalid."""
    value = parse_json(body)
    if not isinstance(value, dict):
        raise FieldsInvalid([ValidationFault("body", "must be an object")])
    return value


@lru_cache
def _limiter() -> anyio.CapacityLimiter:
    """Limits the threads that check bodies; they are separate from those that wait for ClickHouse."""
    return anyio.CapacityLimiter(_THREADS)
