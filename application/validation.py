"""Validates a request as the record that it will be stored as.

In:  a JSON object, the model of a record, its topic, and the decoder that the topic's worker uses.
Out: the record, its bytes for Kafka, and the decoded value that the worker will see; or FieldsInvalid.

Three checks: the rules that apply only to requests and bound the cost of the other checks (`application.fields`); the
published model, which names every invalid field; and the worker's decoder, which knows how far in the future a time
may be. A record that passes here is never parked by a worker.
"""

from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple, TypeVar

import orjson
from pydantic import ValidationError

from application.errors import FieldsInvalid, ValidationFault
from application.fields import container_faults, faults_of, size_faults, text_faults, unknown_faults
from schemas.errors import RecordInvalid
from schemas.events import SourcePosition
from schemas.records import MAX_REQUEST_BYTES, Record
from schemas.topics import Topic

__all__ = ["ValidRecord", "validate_record"]

R = TypeVar("R", bound=Record)
D = TypeVar("D")


class ValidRecord(NamedTuple, Generic[R, D]):
    """A valid record, its bytes for Kafka, and the value that the worker decodes from them."""

    record: R
    value: bytes
    decoded: D


def validate_record(
    kind: type[R],
    raw: object,
    topic: Topic,
    decode: Callable[[bytes, SourcePosition], D],
    *,
    now_us: int,
    known: Sequence[str] = (),
    max_bytes: int = MAX_REQUEST_BYTES,
) -> ValidRecord[R, D]:
    """Return `raw` as a record of `topic`. `decode` is the worker's decoder; `now_us` is the receive time that it gets.

    `known` lists the allowed fields where they differ from those of the model. Raises FieldsInvalid with up to
    MAX_FAULTS faults.
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
        return ValidRecord(record, value, decode(value, SourcePosition(topic.name, 0, 0, now_us)))
    except RecordInvalid as error:
        field, _, problem = error.detail.partition(": ") if ": " in error.detail else ("", "", error.detail)
        raise FieldsInvalid([ValidationFault(field, problem)]) from None


def _refuse(faults: Sequence[ValidationFault]) -> None:
    """Raise FieldsInvalid if there is a fault."""
    if faults:
        raise FieldsInvalid(faults)
