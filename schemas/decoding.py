"""What the decoders of our own records share: the checks of single fields, and the refusal of a whole record.

A check returns the value, or raises ValueError with the field's name in front; `invalid` makes a RecordInvalid of it.
"Ahead" is measured from the record's Kafka timestamp, never from a clock, so that a rebuild judges as the first
reading did.
"""

import orjson

from schemas.errors import RecordInvalid
from schemas.events import Place
from schemas.records import valid_account_id, valid_message_id, valid_nonblank
from schemas.times import DAY_US, rfc3339_us

__all__ = ["account_id", "invalid", "message_id", "nonblank", "not_ahead", "time_us"]


def account_id(text: str) -> str:
    """Return an account id as it is."""
    try:
        return valid_account_id(text)
    except ValueError as error:
        raise ValueError(f"account_id: {error}") from None


def message_id(text: str) -> str:
    """Return a message id in lower case."""
    try:
        return valid_message_id(text)
    except ValueError as error:
        raise ValueError(f"message_id: {error}") from None


def nonblank(field: str, text: str) -> str:
    """Return a text that has more in it than blanks."""
    try:
        return valid_nonblank(text)
    except ValueError as error:
        raise ValueError(f"{field}: {error}") from None


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


def invalid(value: bytes, error: Exception, place: Place) -> RecordInvalid:
    """Return the refusal of a record: is it no JSON at all, or JSON that says something wrong?"""
    try:
        orjson.loads(value)
    except orjson.JSONDecodeError as not_json:
        return RecordInvalid("record_not_json", str(not_json), place)
    return RecordInvalid("record_invalid", str(error), place)
