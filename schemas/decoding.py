"""What the decoders of our own records share: the checks of single fields, and the refusal of a whole record.

A check returns the value, or raises ValueError with the field's name in front; `decoder` makes a RecordInvalid of it.
"Ahead" is measured from the record's Kafka timestamp, never from a clock, so that a rebuild judges as the first
reading did.
"""

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Concatenate, Final, ParamSpec, TypeVar

import msgspec
import orjson

from schemas.errors import RecordInvalid
from schemas.events import Place
from schemas.identity import sent_at_us
from schemas.json_values import nests_deeper_than, text_of
from schemas.records import valid_account_id, valid_message_id, valid_nonblank
from schemas.times import DAY_US, rfc3339_us

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
"""Characters of a refusal's reason: it goes into the headers of a dead letter."""
MAX_NESTING: Final = 200
"""How deep the JSON of a record may nest, unknown fields included: what pydantic reads, too.

Python's own limit counts the frames of the caller as well, so that one worker would accept what another refuses.
"""

_CAUSED_BY_BYTES: Final = (ValueError, ArithmeticError, RecursionError, msgspec.DecodeError)
"""What reading bytes raises. ValueError includes what json, orjson, pydantic and the UTF-8 codec raise."""


def decoder(
    decode: Callable[Concatenate[bytes, Place, P], Fact],
) -> Callable[Concatenate[bytes, Place, P], Fact]:
    """Make a decoder total: whatever the bytes are, it returns a fact or raises RecordInvalid, and nothing else."""

    @wraps(decode)
    def guarded(value: bytes, place: Place, /, *args: P.args, **kwargs: P.kwargs) -> Fact:
        if nests_deeper_than(MAX_NESTING, value):
            raise RecordInvalid("record_invalid", f"it nests deeper than {MAX_NESTING} levels", place)
        try:
            return decode(value, place, *args, **kwargs)
        except _CAUSED_BY_BYTES as error:
            raise _invalid(value, error, place) from error

    return guarded


Id = str | int | float
"""An id or a group as it may be written. msgspec takes no truth value for a number, and no number beyond a float."""


def id_text(value: Id) -> str:
    """Return an id or a group as text: 4711 and 4711.0 are `4711`, as in the published models."""
    return value if type(value) is str else text_of(value)


def id_or_blank(value: Id | None) -> str:
    """Return an id or a group as text; a blank where there is none."""
    return "" if value is None else id_text(value)


def id_texts(values: Sequence[Id]) -> list[str]:
    """Return ids as texts."""
    return [id_text(value) for value in values]


def account_id(value: Id) -> str:
    """Return an account id as text."""
    try:
        return valid_account_id(id_text(value))
    except ValueError as error:
        raise ValueError(f"account_id: {error}") from None


def message_id(text: str, place: Place) -> str:
    """Return a message id in lower case, whose time is not more than a day ahead of its record."""
    try:
        known = valid_message_id(text)
    except ValueError as error:
        raise ValueError(f"message_id: {error}") from None
    not_ahead("message_id", sent_at_us(known), place)
    return known


def nonblank(field: str, text: str) -> str:
    """Return a text that has more in it than blanks."""
    try:
        return valid_nonblank(text)
    except ValueError as error:
        raise ValueError(f"{field}: {error}") from None


def at_most(field: str, text: str, characters: int) -> str:
    """Return a text that is not longer than that."""
    if len(text) > characters:
        raise ValueError(f"{field}: has {len(text)} characters; it may have {characters}")
    return text


def time_us(field: str, text: str, place: Place) -> int:
    """Return the microseconds of an RFC 3339 time that is not more than a day ahead of its record."""
    us = rfc3339_us(text)
    if us is None:
        raise ValueError(f"{field}: must be an RFC 3339 time, like 2026-11-24T09:30:00Z")
    not_ahead(field, us, place)
    return us


def not_ahead(field: str, us: int, place: Place) -> None:
    """Check that a time is not more than a day ahead of its record."""
    if us > place.received_us + DAY_US:
        raise ValueError(f"{field}: is more than a day ahead of the record's own time")


def _invalid(value: bytes, error: Exception, place: Place) -> RecordInvalid:
    """Return the refusal of a record: is it not JSON at all, or JSON that says something wrong?"""
    try:
        orjson.loads(value)
    except orjson.JSONDecodeError as not_json:
        return RecordInvalid("record_not_json", str(not_json), place)
    return RecordInvalid("record_invalid", _shortened(str(error)), place)


def _shortened(detail: str) -> str:
    """Cut a long detail in its middle: msgspec quotes a wrong enum value whole, and names the field after it."""
    if len(detail) <= _MAX_DETAIL:
        return detail
    half = _MAX_DETAIL // 2
    return f"{detail[:half]} … {detail[-half:]}"
