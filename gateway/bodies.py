"""Bodies of requests: read up to a limit, taken for JSON, and checked as the records that they are to become.

A record is checked three times: its fields by the rules that hold for HTTP alone and bound what the rest may cost
(`gateway.fields`), then by its published model, which names every field that is wrong, and by the decoder of the
worker that will read it, which knows how far ahead a time may be. So what we take, no worker parks.

A body that is no JSON is 400, whatever the route; one whose fields are wrong is 422.
"""

import asyncio
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Final, Generic, NamedTuple, ParamSpec, TypeVar

import anyio
import orjson
from fastapi import Request
from pydantic import ValidationError

from gateway import deadlines
from gateway.fields import container_faults, faults_of, size_faults, text_faults, unknown_faults
from gateway.problems import RETRY_SECONDS, Fault, Invalid, Problem
from gateway.uploads import Uploads
from schemas.errors import RecordInvalid
from schemas.events import Place
from schemas.records import MAX_REQUEST_BYTES, Record
from schemas.topics import Topic

__all__ = ["Checked", "body_of", "checked", "in_turn", "json_of", "object_of", "off_the_loop"]

R = TypeVar("R", bound=Record)
D = TypeVar("D")
T = TypeVar("T")
P = ParamSpec("P")

_IN_PLACE_BYTES: Final = 64 * 1024
_THREADS: Final = 2
_TURN_SECONDS: Final = 8.0
"""How long a large body waits for a thread where no request's deadline is shorter."""


class Checked(NamedTuple, Generic[R, D]):
    """A record that is good, its bytes as they go into Kafka, and what its worker will read in them."""

    record: R
    value: bytes
    decoded: D


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
    """Return the JSON object of a body. Raises Problem 400, or Invalid."""
    value = json_of(body)
    if not isinstance(value, dict):
        raise Invalid([Fault("body", "must be an object")])
    return value


def checked(
    kind: type[R],
    raw: object,
    topic: Topic,
    decode: Callable[[bytes, Place], D],
    *,
    now_us: int,
    known: Sequence[str] = (),
    max_bytes: int = MAX_REQUEST_BYTES,
) -> Checked[R, D]:
    """Return `raw` as a record of `topic`. `decode` is what its worker reads it with; it measures from `now_us`.

    `known` are the fields that the body may have, if these are not all of the model and no other. Raises Invalid with
    up to MAX_FAULTS faults.
    """
    if not isinstance(raw, dict):
        raise Invalid([Fault("", "must be an object")])
    _refuse(size_faults(raw, max_bytes))
    _refuse(container_faults(kind, raw))
    faults = [*unknown_faults(kind, raw, known=known), *text_faults(raw)]
    try:
        record = kind.model_validate(raw)
        value = orjson.dumps(record.model_dump(by_alias=True, exclude_none=True))
    except ValidationError as error:
        raise Invalid(faults + faults_of(error)) from None
    _refuse(faults)
    try:
        return Checked(record, value, decode(value, Place(topic.name, 0, 0, now_us)))
    except RecordInvalid as error:
        field, _, problem = error.detail.partition(": ") if ": " in error.detail else ("", "", error.detail)
        raise Invalid([Fault(field, problem)]) from None


def _refuse(faults: Sequence[Fault]) -> None:
    """Raise Invalid if there is a fault."""
    if faults:
        raise Invalid(faults)


@lru_cache
def _limiter() -> anyio.CapacityLimiter:
    """What bounds the threads that check bodies: they are not those that wait for ClickHouse."""
    return anyio.CapacityLimiter(_THREADS)
