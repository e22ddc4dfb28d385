"""Bodies of requests: read up to a limit, taken for JSON, and checked as the records that they are to become.

A record is checked twice: by its published model, which names every field that is wrong, and by the decoder of the
worker that will read it, which knows sizes and how far ahead a time may be. So what we take, no worker parks.
"""

from collections.abc import Callable
from typing import Any, Final, Generic, NamedTuple, TypeVar

import orjson
from fastapi import Request
from pydantic import ValidationError

from gateway.problems import Fault, Invalid, Problem
from schemas.errors import RecordInvalid
from schemas.events import Place
from schemas.records import Record
from schemas.topics import Topic

__all__ = ["Checked", "body_of", "checked", "faults_of", "json_of", "object_of"]

R = TypeVar("R", bound=Record)

_VALUE_ERROR: Final = "Value error, "


class Checked(NamedTuple, Generic[R]):
    """A record that is good, and its bytes as they go into Kafka."""

    record: R
    value: bytes


async def body_of(request: Request, limit: int) -> bytes:
    """Return the body as it came over the wire. Raises Problem 413 as soon as it is known to be too large."""
    stated = request.headers.get("content-length", "")
    if stated.isdecimal() and int(stated) > limit:
        raise Problem(413, f"The body has {stated} bytes; {limit} are taken")
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise Problem(413, f"The body has more than the {limit} bytes that are taken")
        chunks.append(chunk)
    return b"".join(chunks)


def json_of(body: bytes) -> Any:
    """Return the JSON value of a body. Raises Invalid."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Invalid([Fault("body", f"must be JSON in UTF-8: {error}")]) from None


def object_of(body: bytes) -> dict[str, Any]:
    """Return the JSON object of a body. Raises Invalid."""
    value = json_of(body)
    if not isinstance(value, dict):
        raise Invalid([Fault("body", "must be an object")])
    return value


def checked(
    kind: type[R], raw: object, topic: Topic, decode: Callable[[bytes, Place], object], *, now_us: int
) -> Checked[R]:
    """Return `raw` as a record of `topic`, without the fields that its model does not know.

    `decode` is what its worker reads it with; it measures times from `now_us`. Raises Invalid.
    """
    if not isinstance(raw, dict):
        raise Invalid([Fault("", "must be an object")])
    try:
        record = kind.model_validate(raw)
        value = orjson.dumps(record.model_dump(by_alias=True, exclude_none=True))
    except ValidationError as error:
        raise Invalid(faults_of(error)) from None
    except orjson.JSONEncodeError:  # half a surrogate pair: no JSON has one, an argument of a command may
        raise Invalid([Fault("", "must be text that UTF-8 can hold")]) from None
    try:
        decode(value, Place(topic.name, 0, 0, now_us))
    except RecordInvalid as error:
        raise Invalid([_fault(error, value)]) from None
    return Checked(record, value)


def faults_of(error: ValidationError) -> list[Fault]:
    """Return what a model refuses, without the value that was wrong."""
    said = error.errors(include_input=False, include_url=False)
    return [Fault(".".join(map(str, e["loc"])), e["msg"].removeprefix(_VALUE_ERROR)) for e in said]


def _fault(error: RecordInvalid, value: bytes) -> Fault:
    """What a worker would refuse: `field: problem`, or the size, of which the largest field is to blame."""
    if error.reason == "record_too_large":
        fields = orjson.loads(value)
        return Fault(max(fields, key=lambda name: len(orjson.dumps(fields[name]))), f"is too long: {error.detail}")
    field, _, problem = error.detail.partition(": ")
    return Fault(field, problem)
