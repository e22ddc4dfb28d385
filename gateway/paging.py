"""What lists share: cursors, the times, addresses and accounts of their filters, and rows as JSON.

In:  the query string's texts. Out: values that a query can take; or Problem 400, which names the parameter.
"""

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Annotated, Any, Final, Literal, TypeVar
from uuid import UUID

import orjson
from fastapi import Query

from gateway.problems import Problem
from projections.gate.addressing import is_address
from schemas.addresses import address_key
from schemas.times import rfc3339_us

__all__ = ["Channel", "CursorText", "Limit", "address_keys", "cursor_text", "key_of", "plain", "time_us"]

Channel = Literal["email", "sms"]
Limit = Annotated[int, Query(ge=1, le=500)]
CursorText = Annotated[str | None, Query(description="`next` of the page before")]

K = TypeVar("K")

_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d")
_LOST_PLUS: Final = re.compile(r"\A (?=\d[^@]*\Z)")


def time_us(name: str, text: str | None) -> int | None:
    """Return the microseconds of a time or a date, which begins at midnight in UTC."""
    if text is None:
        return None
    # A `+` of an offset arrives as a blank where it was not escaped.
    us = rfc3339_us(f"{text}T00:00:00Z" if _DATE.fullmatch(text) else text.replace(" ", "+"))
    if us is None:
        raise Problem(400, f"`{name}` must be a time like 2026-11-24T09:30:00Z or a date like 2026-11-24")
    return us


def address_keys(text: str | None, channel: str | None = None) -> list[str]:
    """Return the keys that an address may have, on either channel or on one; none for no address at all."""
    if text is None:
        return []
    text = _LOST_PLUS.sub("+", text)  # a number's `+`, likewise not escaped
    keys = {c: address_key(text, c) for c in ("email", "sms") if channel in (None, c)}
    found = sorted(key for c, key in keys.items() if is_address(key, c))
    if not found:
        raise Problem(400, "`address` must be an email address, or a phone number in E.164 (with its `+` as %2B)")
    return found


def cursor_text(key: tuple[str | int, ...]) -> str:
    """Return the cursor that stands for the key of a page's last row."""
    return base64.urlsafe_b64encode(orjson.dumps([*key])).decode().rstrip("=")


def key_of(text: str | None, kinds: tuple[type, ...], make: Callable[..., K]) -> K | None:
    """Return the key that a cursor stands for: `make` of its parts, which have these kinds."""
    if text is None:
        return None
    try:
        parts = orjson.loads(base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True))
        if not isinstance(parts, list) or tuple(map(type, parts)) != kinds:
            raise ValueError(text)
    except (ValueError, binascii.Error):
        raise Problem(400, "`cursor` is none of ours; take `next` of the page before") from None
    return make(*parts)


def plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row as JSON has it: times in RFC 3339."""
    return {name: _plain(value) for name, value in row.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return str(value) if isinstance(value, UUID) else value
