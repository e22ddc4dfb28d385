"""Parameters and paging, shared by all lists.

In:  query parameters as text. Out: values for a query, and pages `{items, next}`; or Problem 400, which names the
parameter.
Promise: keyset paging. A page begins after the key of the previous page's last row, so rows that are inserted meanwhile
never make a row appear twice or be skipped. A cursor contains that key, and a hash of its filters and order: with other
filters it would skip rows, so it is refused.
"""

import base64
import binascii
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from hashlib import blake2b
from typing import Annotated, Any, Final, Generic, Literal, TypeVar
from uuid import UUID

import orjson
from fastapi import Query

from application.fields import MAX_ADDRESS_CHARACTERS, is_one_line
from gateway.problems import Problem
from projections.suppressions.addressing import is_address
from schemas.decoding.addresses import address_key
from schemas.decoding.ids import message_id_or_blank
from schemas.decoding.times import rfc3339_us

__all__ = [
    "MAX_LIMIT",
    "Account",
    "Address",
    "Channel",
    "CursorText",
    "Limit",
    "OfChannel",
    "Order",
    "Paginator",
    "Row",
    "address_keys",
    "all_pages",
    "email_id_of",
    "json_row",
    "period",
]

MAX_LIMIT: Final = 500

Channel = Literal["email", "sms"]
Order = Literal["newest", "oldest"]
Row = dict[str, Any]

Account = Annotated[
    str | None,
    Query(
        description="The account id, or `*` for all that the token covers. May be omitted with a token of one account"
    ),
]
OfChannel = Annotated[Channel | None, Query(description="Rows of one channel")]
Address = Annotated[str | None, Query(description="An email address, or a phone number in E.164 (its `+` as `%2B`)")]
Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT, description="Maximum number of items of a page")]
CursorText = Annotated[str | None, Query(description="`next` of the previous page, with the same filters and order")]

K = TypeVar("K", bound=tuple[Any, ...])

_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_UNESCAPED_PLUS: Final = re.compile(r"\A (?=\d[^@]*\Z)")
_UNESCAPED_OFFSET_PLUS: Final = re.compile(r" (?=\d\d:?\d\d\Z)")
"""An unescaped `+` arrives as a space."""
_HASH_BYTES: Final = 8


class Paginator(Generic[K]):
    """The pages of one list, for one set of filters and one order.

    `make` builds a key from the parts of a cursor, which must have the types `kinds`; `is_valid` says whether a query
    can use the key. Any other cursor is refused.
    """

    def __init__(
        self,
        name: str,
        make: Callable[..., K],
        kinds: tuple[type, ...],
        *inputs: object,
        is_valid: Callable[[K], bool] = lambda _: True,
    ) -> None:
        self._make = make
        self._kinds = (str, *kinds)
        self._is_valid = is_valid
        scope = orjson.dumps([name, *inputs])
        self._scope_hash = base64.urlsafe_b64encode(blake2b(scope, digest_size=_HASH_BYTES).digest()).decode()

    def after(self, cursor: str | None) -> K | None:
        """Return the key after which a page begins; None for the first page. Raises Problem."""
        if cursor is None:
            return None
        scope_hash, *parts = self._parts(cursor)
        if scope_hash != self._scope_hash:
            raise _bad_cursor("belongs to other filters or another order")
        key = self._make(*parts)
        if not self._is_valid(key):
            raise _bad_cursor("is not a cursor of this list")
        return key

    def page(
        self, rows: Sequence[Row], limit: int, key: Callable[[Row], K], shown: Sequence[Row] | None = None
    ) -> dict[str, Any]:
        """Return the response. A row beyond `limit` means that there is a next page; `shown` has the rendered rows."""
        following = self.cursor(key(rows[limit - 1])) if len(rows) > limit else None
        return {"items": [*(rows if shown is None else shown)[:limit]], "next": following}

    def cursor(self, key: K) -> str:
        """Return the cursor of the page behind a key."""
        return base64.urlsafe_b64encode(orjson.dumps([self._scope_hash, *key])).decode().rstrip("=")

    def _parts(self, cursor: str) -> list[Any]:
        try:
            parts = orjson.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True))
        except (ValueError, binascii.Error):
            raise _bad_cursor("is not a cursor of this list") from None
        if not isinstance(parts, list) or tuple(map(type, parts)) != self._kinds:
            raise _bad_cursor("is not a cursor of this list")
        return parts


def all_pages(
    read: Callable[[K | None, int], Sequence[Row]], key: Callable[[Row], K], rows_at_once: int
) -> Iterator[Sequence[Row]]:
    """Yield all rows of a list, page by page. `read(after, limit)` returns up to `limit` + 1 rows after a key."""
    after: K | None = None
    while True:
        rows = read(after, rows_at_once)
        yield rows[:rows_at_once]
        if len(rows) <= rows_at_once:
            return
        after = key(rows[rows_at_once - 1])


def period(from_: str | None, to: str | None) -> tuple[int | None, int | None]:
    """Return `from` (included) and `to` (excluded) in microseconds. Equal values are an empty period."""
    from_us, to_us = _time_us("from", from_), _time_us("to", to)
    if from_us is not None and to_us is not None and from_us > to_us:
        raise Problem("invalid-parameter", "`from` must not be after `to`")
    return from_us, to_us


def address_keys(text: str | None, channel: str | None = None) -> list[str]:
    """Return the normalised forms of an address, for one channel or both; an empty list without an address."""
    if text is None:
        return []
    found: set[str] = set()
    if len(text) <= MAX_ADDRESS_CHARACTERS and is_one_line(text):
        text = _UNESCAPED_PLUS.sub("+", text)
        keys = {c: address_key(text, c) for c in ("email", "sms") if channel in (None, c)}
        found = {key for c, key in keys.items() if is_address(key, c)}
    if not found:
        raise Problem(
            "invalid-parameter", "`address` must be an email address, or a phone number in E.164 (with its `+` as %2B)"
        )
    return sorted(found)


def email_id_of(text: str | None) -> str | None:
    """Return a message id in lower case."""
    if text is None:
        return None
    known = message_id_or_blank(text)
    if not known:
        raise Problem("invalid-parameter", "`email_id` must be a UUID of version 7")
    return known


def json_row(row: Mapping[str, Any]) -> Row:
    """Return a row as JSON values: times in RFC 3339."""
    return {name: _plain(value) for name, value in row.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return f"{value.replace(tzinfo=None).isoformat(timespec='microseconds')}Z"  # twice as fast as strftime
    return str(value) if isinstance(value, UUID) else value


def _time_us(name: str, text: str | None) -> int | None:
    """The microseconds of a time, or of a date's midnight in UTC."""
    if text is None:
        return None
    us = rfc3339_us(f"{text}T00:00:00Z" if _DATE.fullmatch(text) else _UNESCAPED_OFFSET_PLUS.sub("+", text))
    if us is None:
        raise Problem(
            "invalid-parameter", f"`{name}` must be a time like 2026-11-24T09:30:00Z or a date like 2026-11-24"
        )
    return us


def _bad_cursor(what: str) -> Problem:
    return Problem("invalid-cursor", f"`cursor` {what}; use `next` of the previous page with the same filters")
