"""What the decoders of our own records share: checks of single fields, and the rejection of a whole record.

A check returns the value, or raises ValueError with the field's name in front; `decoder` turns it into RecordInvalid.
Whether a time is ahead is measured from the record's Kafka timestamp, never from a clock, so that a rebuild gives the
same result as the first run.
"""

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Concatenate, Final, ParamSpec, TypeVar

import msgspec
import orjson

from schemas.decoding.ids import sent_at_us
from schemas.decoding.json_text import nests_deeper_than, text_of
from schemas.decoding.times import DAY_US, rfc3339_us
from schemas.errors import RecordInvalid
from schemas.events import SourcePosition
from schemas.records import valid_account_id, valid_message_id, valid_nonblank

__all__ = [
    "MAX_NESTING",
    "Id",
    "account_id",
    "at_most",
    "decoder",
    "id_or_blank",
    "id_text",
    "id_texts",
    "message_id",
    "nonblank",
    "not_ahead",
    "time_us",
]

P = ParamSpec("P")
Fact = TypeVar("Fact")

_MAX_DETAIL: Final = 1_000
"""Characters of an error's detail: it goes into the headers of a dead letter."""
MAX_NESTING: Final = 200
"""How deep the JSON of a record may nest, unknown fields included. Pydantic accepts as much.

Python's recursion limit also counts the caller's frames, so that one worker could accept what another rejects.
"""

_CAUSED_BY_BYTES: Final = (ValueError, ArithmeticError, RecursionError, msgspec.DecodeError)
"""Exceptions that invalid bytes cause. ValueError includes those of json, orjson, pydantic and the UTF-8 codec."""


def decoder(
    decode: Callable[Concatenate[bytes, SourcePosition, P], Fact],
) -> Callable[Concatenate[bytes, SourcePosition, P], Fact]:
    """Make a decoder total: for any bytes it returns a fact or raises RecordInvalid, and raises nothing else."""

    @wraps(decode)
    def guarded(value: bytes, source: SourcePosition, /, *args: P.args, **kwargs: P.kwargs) -> Fact:
        if nests_deeper_than(MAX_NESTING, value):
            raise RecordInvalid("record_invalid", f"the JSON nests deeper than {MAX_NESTING} levels", source)
        try:
            return decode(value, source, *args, **kwargs)
        except _CAUSED_BY_BYTES as error:
            raise _invalid(value, error, source) from error

    return guarded


Id = str | int | float
"""An id as it may be written in JSON. msgspec accepts no boolean as a number, and no number beyond a float."""


def id_text(value: Id) -> str:
    """Return an id as a string: 4711 and 4711.0 become `4711`, as in the published models."""
    return value if type(value) is str else text_of(value)


def id_or_blank(value: Id | None) -> str:
    """Return an id as a string; blank if it is None."""
    return "" if value is None else id_text(value)


def id_texts(values: Sequence[Id]) -> list[str]:
    """Return ids as strings."""
    return [id_text(value) for value in values]


def account_id(value: Id) -> str:
    """Return a valid account id as a string. Raises ValueError."""
    try:
        return valid_account_id(id_text(value))
    except ValueError as error:
        raise ValueError(f"account_id: {error}") from None


def message_id(text: str, source: SourcePosition) -> str:
    """Return a message id in lower case. Its time is at most a day ahead of the record. Raises ValueError."""
    try:
        known = valid_message_id(text)
    except ValueError as error:
        raise ValueError(f"message_id: {error}") from None
    not_ahead("message_id", sent_at_us(known), source)
    return known


def nonblank(field: str, text: str) -> str:
    """Return `text` if it has more than whitespace. Raises ValueError."""
    try:
        return valid_nonblank(text)
    except ValueError as error:
        raise ValueError(f"{field}: {error}") from None


def at_most(field: str, text: str, characters: int) -> str:
    """Return `text` if it is not longer than so many characters. Raises ValueError."""
    if len(text) > characters:
        raise ValueError(f"{field}: has {len(text)} characters; at most {characters} are allowed")
    return text


def time_us(field: str, text: str, source: SourcePosition) -> int:
    """Return the microseconds of an RFC 3339 time, at most a day ahead of the record. Raises ValueError."""
    us = rfc3339_us(text)
    if us is None:
        raise ValueError(f"{field}: must be an RFC 3339 time, like 2026-11-24T09:30:00Z")
    not_ahead(field, us, source)
    return us


def not_ahead(field: str, us: int, source: SourcePosition) -> None:
    """Check that a time is not more than a day ahead of the record. Raises ValueError."""
    if us > source.received_us + DAY_US:
        raise ValueError(f"{field}: is more than a day ahead of the record's own time")


def _invalid(value: bytes, error: Exception, source: SourcePosition) -> RecordInvalid:
    """Return the RecordInvalid for a decoder's error: the value is not JSON, or it is JSON that is not valid."""
    try:
        orjson.loads(value)
    except orjson.JSONDecodeError as not_json:
        return RecordInvalid("record_not_json", str(not_json), source)
    return RecordInvalid("record_invalid", _shortened(str(error)), source)


def _shortened(detail: str) -> str:
    """Cut a long detail in the middle: msgspec quotes a wrong enum value in full, with the field's name behind it."""
    if len(detail) <= _MAX_DETAIL:
        return detail
    half = _MAX_DETAIL // 2
    return f"{detail[:half]} … {detail[-half:]}"
