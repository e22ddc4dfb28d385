"""Exports a list as a file, streamed while it is read.

In:  chunks of columns, of which one is read ahead: at most three are in memory. Out: CSV or NDJSON, in UTF-8.
Promise: an error before the first chunk is answered like any other; a later error breaks the connection, so that the
client never takes a part for the whole file.

Spreadsheets execute a cell that begins like a formula. In CSV every cell is quoted, and such a cell is prefixed with an
apostrophe; so is text after a separator inside a cell that looks like a formula, since a spreadsheet that expects
another separator than the comma would begin a cell there, quoted or not. NDJSON has the text unchanged. A number is not
a formula, nor is a phone number.
"""

import asyncio
import csv
import io
import re
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from itertools import chain
from typing import Annotated, Any, Final, Literal

import orjson
from fastapi import Query, Response
from fastapi.responses import StreamingResponse

from application.principals import Principal
from gateway.openapi import LIST_CODES, ResponseSpec
from gateway.read_pool import ReadPool

__all__ = [
    "EXPORT_PAGE",
    "EXPORT_ROWS",
    "FILE_CODES",
    "FILE_RESPONSE",
    "Format",
    "csv_lines",
    "export_response",
    "to_columns",
]

Items = Sequence[Mapping[str, Any]]
Columns = Sequence[Sequence[Any]]
Format = Annotated[Literal["csv", "ndjson"], Query(alias="format", description="The format of the file")]

EXPORT_PAGE: Final = 5_000
"""Rows of a list that are read at once."""
EXPORT_ROWS: Final = 20_000
"""Rows that are read at once, where ClickHouse renders the columns."""
FILE_RESPONSE: Final = ResponseSpec(
    "All rows, streamed. In CSV every cell is quoted, and one that begins like a formula is prefixed with `'`",
    media=("text/csv", "application/x-ndjson"),
)
FILE_CODES: Final = tuple(code for code in LIST_CODES if code != "invalid-cursor")
"""The problem codes of an export route."""

_TYPES: Final = {"csv": "text/csv; charset=utf-8", "ndjson": "application/x-ndjson"}
_SIGNS: Final = "[=+\\-@＝＋－＠]"
_FORMULA: Final = re.compile(rf'[\s"]*{_SIGNS}|[\t\r\n]')
_NUMBER: Final = r"[+-]?[0-9]+(?:\.[0-9]+)?"
_IS_NUMBER: Final = re.compile(_NUMBER)
_SUSPICIOUS: Final = re.compile(rf'\0[\s"]*{_SIGNS}|[,;|\t\r\n]')
"""Searched in the values of a column, each after a NUL: what may be a formula, or begin another cell."""
_SEPARATORS: Final = frozenset(",;|\t\r\n")
_FORMULA_AFTER_SEPARATOR: Final = re.compile(rf'([,;|\t\r\n][\s"]*)(?={_SIGNS})(?!{_NUMBER}\s*(?:[,;|\t\r\n]|\Z))')


async def export_response(
    reads: ReadPool, principal: Principal, chunks: Iterator[Columns], names: Sequence[str], format_: str, name: str
) -> Response:
    """Return the response that streams `chunks`, with the columns `names`, as the file `name`.

    Raises what the first chunk raises.
    """
    first: Columns = await reads.run(principal, next, chunks, ())
    every = reads.stream(principal, chain([first], chunks))
    lines = csv_lines if format_ == "csv" else _ndjson
    headers = {"Content-Disposition": f'attachment; filename="{name}.{format_}"'}
    return StreamingResponse(
        _body(every, names, lines, head=_lines([names]) if format_ == "csv" else ""),
        media_type=_TYPES[format_],
        headers=headers,
    )


async def _body(
    chunks: AsyncGenerator[Columns, None],
    names: Sequence[str],
    lines: Callable[[Columns, Sequence[str]], str | bytes],
    *,
    head: str,
) -> AsyncGenerator[str | bytes, None]:
    """Yield the parts of the file. A chunk is rendered in a thread while ClickHouse works on the next one."""
    async with aclosing(chunks):
        if head:
            yield head
        async for columns in chunks:
            yield await asyncio.to_thread(lines, columns, names)


def to_columns(pages: Iterable[Items], names: Sequence[str]) -> Iterator[Columns]:
    """Yield the columns `names` of each page."""
    return ([[item[name] for item in items] for name in names] for items in pages)


def _ndjson(columns: Columns, names: Sequence[str]) -> bytes:
    rows = zip(*columns, strict=True)
    return b"".join(orjson.dumps(dict(zip(names, row, strict=True)), option=orjson.OPT_APPEND_NEWLINE) for row in rows)


def csv_lines(columns: Columns, _: Sequence[str] = ()) -> str:
    """Return the lines of a chunk of columns."""
    return _lines(zip(*map(_cells, columns), strict=True))


def _lines(rows: Iterable[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows(rows)
    return text.getvalue()


def _cells(values: Sequence[object]) -> Sequence[str]:
    """Return the cells of a column. One search over the whole column finds most columns free of formulas."""
    texts = [value if type(value) is str else _text(value) for value in values]
    return [_cell(text) for text in texts] if _SUSPICIOUS.search("\0".join(["", *texts])) else texts


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _cell(text: str) -> str:
    if not text or (text[0].isalnum() and _SEPARATORS.isdisjoint(text)):
        return text  # most cells: not a formula, and no separator inside
    text = _FORMULA_AFTER_SEPARATOR.sub(r"\1'", text)
    return f"'{text}" if _FORMULA.match(text) and not _IS_NUMBER.fullmatch(text) else text
