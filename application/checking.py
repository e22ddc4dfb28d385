"""A request, checked as the record that it is to become.

In:  an object as JSON has it, the model of a record, its topic, and what the topic's worker reads the record with.
Out: the record, its bytes as they go into Kafka, and what the worker will read in them; or FieldsInvalid.

It is checked three times: its fields by the rules that hold for requests alone and bound what the rest may cost
(`application.fields`), then by the published model, which names every field that is wrong, and by the decoder of the
worker, which knows how far ahead a time may be. So what we take, no worker parks.
"""

from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple, TypeVar

import orjson
from pydantic import ValidationError

from application.errors import FieldsInvalid, ValidationFault
from application.fields import container_faults, faults_of, size_faults, text_faults, unknown_faults
from schemas.errors import RecordInvalid
from schemas.events import Place
from schemas.records import MAX_REQUEST_BYTES, Record
from schemas.topics import Topic

__all__ = ["Checked", "checked"]

R = TypeVar("R", bound=Record)
D = TypeVar("D")


class Checked(NamedTuple, Generic[R, D]):
    """A record that is good, its bytes as they go into Kafka, and what its worker will read in them."""

    record: R
    value: bytes
    decoded: D


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

    `known` are the fields that may be there, if these are not all of the model and no other. Raises FieldsInvalid with
    up to MAX_FAULTS faults.
    """
    if not isinstance(raw, dict):
        raise FieldsInvalid([ValidationFault("", "must be an object")])
    _refuse(size_faults(raw, max_bytes))
    _refuse(container_faults(kind, raw))
    faults = [*unknown_faults(kind, raw, known=known), *text_faults(raw)]
    try:
        record = kind.model_validate(raw)
        value = orjson.dumps(record.model_dump(by_alias=True, exclude_none=True))
    except ValidationError as error:
        raise FieldsInvalid(faults + faults_of(error)) from None
    _refuse(faults)
    try:
        return Checked(record, value, decode(value, Place(topic.name, 0, 0, now_us)))
    except RecordInvalid as error:
        field, _, problem = error.detail.partition(": ") if ": " in error.detail else ("", "", error.detail)
        raise FieldsInvalid([ValidationFault(field, problem)]) from None


def _refuse(faults: Sequence[ValidationFault]) -> None:
    """Raise FieldsInvalid if there is a fault."""
    if faults:
        raise FieldsInvalid(faults)
