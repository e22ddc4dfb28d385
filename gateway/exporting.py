"""A list as a file, written while it is read.

In:  pages of items, each asked for when the one before has been sent. Out: CSV or NDJSON, in UTF-8.
Promise: what no page could be read of answers as any other error does; a later error cuts the file short in a way
that the client's HTTP notices, so a part is never taken for the whole.

Spreadsheets run a cell that begins like a formula. In CSV every cell is quoted, and such a cell gets an apostrophe in
front; so does what looks like a formula behind a separator inside a cell, since a spreadsheet that takes another
separator than the comma would begin a cell there, quoted or not. NDJSON has the text as it is. A number is no formula:
neither is a phone number.
"""

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Annotated, Any, Final, Literal

import orjson
from fastapi import Query, Response
from fastapi.responses import StreamingResponse

from application.principals import Principal
from gateway.openapi import LIST_CODES, Answer
from gateway.reads import Reads

__all__ = ["EXPORT_PAGE", "FILE", "FILE_CODES", "Format", "exported"]

Items = Sequence[Mapping[str, Any]]
Format = Annotated[Literal["csv", "ndjson"], Query(alias="format", description="What the file is")]

EXPORT_PAGE: Final = 5_000
"""How many rows are asked for at once."""
FILE: Final = Answer(
    "All rows, streamed. In CSV every cell is quoted, and one that begins like a formula has a `'` before it",
    media=("text/csv", "application/x-ndjson"),
)
FILE_CODES: Final = tuple(code for code in LIST_CODES if code != "invalid-cursor")
"""The problems of a route that answers a list as a file."""

_TYPES: Final = {"csv": "text/csv; charset=utf-8", "ndjson": "application/x-ndjson"}
_SIGNS: Final = "[=+\\-@＝＋－＠]"
_FORMULA: Final = re.compile(rf'[\s"]*{_SIGNS}|[\t\r\n]')
_NUMBER: Final = r"[+-]?[0-9]+(?:\.[0-9]+)?"
_IS_NUMBER: Final = re.compile(_NUMBER)
_SEPARATORS: Final = frozenset(",;|\t\r\n")
_BEHIND_SEPARATOR: Final = re.compile(rf'([,;|\t\r\n][\s"]*)(?={_SIGNS})(?!{_NUMBER}\s*(?:[,;|\t\r\n]|\Z))')


async def exported(
    reads: Reads, principal: Principal, pages: Iterator[Items], columns: Sequence[str], format_: str, name: str
) -> Response:
    """Return the answer that streams `pages` as the file `name`. Raises what the first page raises."""
    first: Items = await reads.run(principal, next, pages, ())
    every = chain([first], pages)
    body: Iterator[str | bytes] = _csv(every, columns) if format_ == "csv" else map(_ndjson, every)
    headers = {"Content-Disposition": f'attachment; filename="{name}.{format_}"'}
    return StreamingResponse(reads.through(principal, body), media_type=_TYPES[format_], headers=headers)


def _ndjson(items: Items) -> bytes:
    return b"".join(orjson.dumps(item, option=orjson.OPT_APPEND_NEWLINE) for item in items)


def _csv(pages: Iterator[Items], columns: Sequence[str]) -> Iterator[str]:
    yield _lines([columns])
    for items in pages:
        yield _lines([[_cell(item[name]) for name in columns] for item in items])


def _lines(rows: Sequence[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows(rows)
    return text.getvalue()


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, str) and (not value or (value[0].isalnum() and _SEPARATORS.isdisjoint(value))):
        return value  # most: no formula begins so, and there is nothing that would begin another cell
    if isinstance(value, bool):
        return "true" if value else "false"
    text = " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    text = _BEHIND_SEPARATOR.sub(r"\1'", text)
    return f"'{text}" if _FORMULA.match(text) and not _IS_NUMBER.fullmatch(text) else text
