"""A file of addresses to suppress, read line by line.

In:  CSV, whose first line names the columns, or NDJSON, an object a line; UTF-8.
Out: what each line asks for, and the number of that line as an editor counts it; or what is wrong with it.

The columns are the fields of a single suppression; `channel` may be left out where the address tells it.
"""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import orjson

from gateway.problems import Fault, Invalid
from gateway.suppressions.commands import channel_of

__all__ = ["MAX_LINES", "Line", "is_ndjson", "lines_of"]

MAX_LINES: Final = 10_000

_BOM: Final = b"\xef\xbb\xbf"


class Line(NamedTuple):
    """One line: what it asks for, or what is wrong with it."""

    number: int
    asked: Mapping[str, Any]
    fault: Fault | None = None

    @property
    def place(self) -> dict[str, int]:
        """Where a fault of it is."""
        return {"line": self.number}


def is_ndjson(body: bytes) -> bool:
    """Return whether a file is NDJSON, by how it begins."""
    return body.removeprefix(_BOM).lstrip().startswith(b"{")


def lines_of(body: bytes, *, ndjson: bool) -> list[Line]:
    """Return the lines of a file but blank ones. Raises Invalid where it is no such file, or has too many."""
    body = body.removeprefix(_BOM)
    found: list[Line] = []
    for line in _ndjson(body) if ndjson else _csv(_text(body)):
        if len(found) == MAX_LINES:
            raise Invalid([Fault("body", f"must have at most {MAX_LINES} lines with an address")])
        found.append(line if line.fault else line._replace(asked=_with_channel(line.asked)))
    if not found:
        raise Invalid([Fault("body", "must have a line with an address")])
    return found


def _with_channel(asked: Mapping[str, Any]) -> Mapping[str, Any]:
    address = asked.get("address")
    if asked.get("channel") is not None or not isinstance(address, str):
        return asked
    return {**asked, "channel": channel_of(address)}


def _ndjson(body: bytes) -> Iterator[Line]:
    for number, text in enumerate(body.split(b"\n"), start=1):
        if not text.strip():
            continue
        try:
            value = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            yield _bad(number, f"must be JSON in UTF-8: {error}")
            continue
        if isinstance(value, dict):
            yield Line(number, value)
        else:
            yield _bad(number, "must be an object")


def _csv(text: str) -> Iterator[Line]:
    rows = _rows(text)
    head = next(rows, _Row(1, []))
    columns = [name.strip().lower() for name in head.cells]
    if not {"address", "reason"} <= set(columns):
        said = "must name the columns, at least address and reason, with commas between them"
        raise Invalid([Fault("body", said, {"line": head.number})])
    for row in rows:
        if row.problem:
            yield _bad(row.number, f"must be CSV: {row.problem}")
        elif len(row.cells) != len(columns):
            yield _bad(row.number, f"must have {len(columns)} values, as the first line; it has {len(row.cells)}")
        else:
            yield Line(row.number, _said(columns, row.cells))


def _said(columns: Sequence[str], row: Sequence[str]) -> dict[str, str]:
    """The cells that say something."""
    return {name: cell.strip() for name, cell in zip(columns, row, strict=True) if cell.strip()}


class _Row(NamedTuple):
    """A row, and the line on which it begins; `problem` is what ends the file there."""

    number: int
    cells: Sequence[str]
    problem: str = ""


def _rows(text: str) -> Iterator[_Row]:
    """The rows that are not blank."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)  # a quoted cell may have line ends in it
    while True:
        begins = reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield _Row(begins, [], str(error))
            return
        if any(cell.strip() for cell in row):
            yield _Row(begins, row)


def _text(body: bytes) -> str:
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError as error:
        number = body.count(b"\n", 0, error.start) + 1
        raise Invalid([Fault("body", "must be UTF-8", {"line": number})]) from None


def _bad(number: int, problem: str) -> Line:
    return Line(number, {}, Fault("", problem, {"line": number}))
