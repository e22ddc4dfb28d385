"""A list as a file, written while it is read.

In:  chunks of columns, each asked for when the one before has been sent. Out: CSV or NDJSON, in UTF-8.
Promise: what no chunk could be read of answers as any other error does; a later error cuts the file short in a way
that the client's HTTP notices, so a part is never taken for the whole.

Spreadsheets run a cell that begins like a formula. In CSV every cell is quoted, and such a cell gets an apostrophe in
front; so does what looks like a formula behind a separator inside a cell, since a spreadsheet that takes another
separator than the comma would begin a cell there, quoted or not. NDJSON has the text as it is. A number is no formula:
neither is a phone number.
"""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Annotated, Any, Final, Literal

import orjson
from fastapi import Query, Response
from fastapi.responses import StreamingResponse

from application.principals import Principal
from gateway.openapi import LIST_CODES, Answer
from gateway.reads import Reads

__all__ = ["EXPORT_PAGE", "EXPORT_ROWS", "FILE", "FILE_CODES", "Format", "exported", "in_columns"]

Items = Sequence[Mapping[str, Any]]
Columns = Sequence[Sequence[Any]]
Format = Annotated[Literal["csv", "ndjson"], Query(alias="format", description="What the file is")]

EXPORT_PAGE: Final = 5_000
"""How many rows of a list are asked for at once."""
EXPORT_ROWS: Final = 20_000
"""How many rows are asked for at once where the server makes them."""
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
_TO_LOOK_AT: Final = re.compile(rf'\0[\s"]*{_SIGNS}|[,;|\t\r\n]')
"""In the values of a column behind a NUL each: what may be a formula, or begin another cell."""
_SEPARATORS: Final = frozenset(",;|\t\r\n")
_BEHIND_SEPARATOR: Final = re.compile(rf'([,;|\t\r\n][\s"]*)(?={_SIGNS})(?!{_NUMBER}\s*(?:[,;|\t\r\n]|\Z))')


async def exported(
    reads: Reads, principal: Principal, chunks: Iterator[Columns], names: Sequence[str], format_: str, name: str
) -> Response:
    """Return the answer that streams `chunks`, of the columns `names`, as the file `name`.

    Raises what the first chunk raises.
    """
    first: Columns = await reads.run(principal, next, chunks, ())
    every = chain([first], chunks)
    body: Iterator[str | bytes] = (
        _csv(every, names) if format_ == "csv" else (_ndjson(columns, names) for columns in every)
    )
    headers = {"Content-Disposition": f'attachment; filename="{name}.{format_}"'}
    return StreamingResponse(reads.through(principal, body), media_type=_TYPES[format_], headers=headers)


def in_columns(pages: Iterable[Items], names: Sequence[str]) -> Iterator[Columns]:
    """Yield the columns `names` of each page."""
    return ([[item[name] for item in items] for name in names] for items in pages)


def _ndjson(columns: Columns, names: Sequence[str]) -> bytes:
    rows = zip(*columns, strict=True)
    return b"".join(orjson.dumps(dict(zip(names, row, strict=True)), option=orjson.OPT_APPEND_NEWLINE) for row in rows)


def _csv(chunks: Iterable[Columns], names: Sequence[str]) -> Iterator[str]:
    yield _lines([names])
    for columns in chunks:
        yield _lines(zip(*map(_cells, columns), strict=True))


def _lines(rows: Iterable[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows(rows)
    return text.getvalue()


def _cells(values: Sequence[object]) -> Sequence[str]:
    """Return the cells of a column. Most columns need no look at each value: none of theirs could be a formula."""
    texts = [value if type(value) is str else _text(value) for value in values]
    return [_cell(text) for text in texts] if _TO_LOOK_AT.search("\0".join(["", *texts])) else texts


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _cell(text: str) -> str:
    if not text or (text[0].isalnum() and _SEPARATORS.isdisjoint(text)):
        return text  # most: no formula begins so, and there is nothing that would begin another cell
    text = _BEHIND_SEPARATOR.sub(r"\1'", text)
    return f"'{text}" if _FORMULA.match(text) and not _IS_NUMBER.fullmatch(text) else text
