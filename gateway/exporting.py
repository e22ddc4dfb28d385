"""A list as a file, written while it is read.

In:  pages of items, each asked for when the one before has been sent. Out: CSV or NDJSON, in UTF-8.
Promise: what no page could be read of answers as any other error does; a later error cuts the file short in a way
that the client's HTTP notices, so a part is never taken for the whole.

Spreadsheets run a cell that begins like a formula. Such a cell gets an apostrophe in front in CSV; NDJSON has the
text as it is. A number is no formula: neither is a phone number.
"""

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Annotated, Any, Final, Literal

import orjson
from fastapi import Query, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse

__all__ = ["EXPORT_PAGE", "FILES", "Format", "exported"]

Items = Sequence[Mapping[str, Any]]
Format = Annotated[Literal["csv", "ndjson"], Query(alias="format", description="What the file is")]

EXPORT_PAGE: Final = 5_000
"""How many rows are asked for at once."""
FILES: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "All rows, streamed. In CSV, a cell that begins like a formula has a `'` before it",
        "content": {"text/csv": {"schema": {"type": "string"}}, "application/x-ndjson": {"schema": {"type": "string"}}},
    }
}

_TYPES: Final = {"csv": "text/csv; charset=utf-8", "ndjson": "application/x-ndjson"}
_FORMULA: Final = re.compile(r"\s*[=+\-@＝＋－＠]|[\t\r\n]")
_NUMBER: Final = re.compile(r"[+-]?\d+(?:\.\d+)?", re.ASCII)


async def exported(pages: Iterator[Items], columns: Sequence[str], format_: str, name: str) -> Response:
    """Return the answer that streams `pages` as the file `name`. Raises what the first page raises."""
    first = await run_in_threadpool(next, pages, ())
    every = chain([first], pages)
    body = _csv(every, columns) if format_ == "csv" else map(_ndjson, every)
    headers = {"Content-Disposition": f'attachment; filename="{name}.{format_}"'}
    return StreamingResponse(body, media_type=_TYPES[format_], headers=headers)


def _ndjson(items: Items) -> bytes:
    return b"".join(orjson.dumps(item, option=orjson.OPT_APPEND_NEWLINE) for item in items)


def _csv(pages: Iterator[Items], columns: Sequence[str]) -> Iterator[str]:
    yield _lines([columns])
    for items in pages:
        yield _lines([[_cell(item[name]) for name in columns] for item in items])


def _lines(rows: Sequence[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    text = " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text
