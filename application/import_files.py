"""A file of addresses to suppress, read line by line.

In:  CSV, whose first line names the columns, or NDJSON, an object a line; UTF-8.
Out: what each line asks for, and the number of that line as an editor counts it; or what is wrong with it.

The columns are the fields of a single suppression; `address` may be called `email`, and `channel` may be left out where
the address tells it. A CSV has commas or semicolons between its cells: its first line tells which.

Work is bounded by the file's size and its lines: blank ones cost, too.
"""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import orjson

from application.errors import MAX_FAULTS, FieldsInvalid, ValidationFault
from application.fields import unknown_fault
from application.suppression_commands import channel_of

__all__ = ["COLUMNS", "MAX_LINES", "MAX_LINE_ENDS", "Line", "is_ndjson", "lines_of"]

MAX_LINES: Final = 10_000
MAX_LINE_ENDS: Final = 50_000
"""Of the whole file: also those of blank lines, and inside quoted cells."""
COLUMNS: Final = ("address", "channel", "scope", "reason", "note")

_ALIASES: Final = {"email": "address"}
_SEPARATORS: Final = (",", ";")

_BOM: Final = b"\xef\xbb\xbf"


class Line(NamedTuple):
    """One line: what it asks for, or what is wrong with it."""

    number: int
    asked: Mapping[str, Any]
    fault: ValidationFault | None = None

    @property
    def place(self) -> dict[str, int]:
        """Where a fault of it is."""
        return {"line": self.number}


def is_ndjson(body: bytes) -> bool:
    """Return whether a file is NDJSON, by how it begins."""
    return body.removeprefix(_BOM).lstrip().startswith(b"{")


def lines_of(body: bytes, *, ndjson: bool) -> list[Line]:
    """Return the lines of a file but blank ones. Raises FieldsInvalid where it is no such file, or has too many."""
    body = body.removeprefix(_BOM)
    if max(body.count(b"\n"), body.count(b"\r")) > MAX_LINE_ENDS:
        raise FieldsInvalid([ValidationFault("body", f"must have at most {MAX_LINE_ENDS} lines, blank ones included")])
    found: list[Line] = []
    for line in _ndjson(body) if ndjson else _csv(_text(body)):
        if len(found) == MAX_LINES:
            raise FieldsInvalid([ValidationFault("body", f"must have at most {MAX_LINES} lines with an address")])
        found.append(line if line.fault else _finished(line))
    if not found:
        raise FieldsInvalid([ValidationFault("body", "must have a line with an address")])
    return found


def _finished(line: Line) -> Line:
    """A line with its address under its name, and its channel."""
    asked = dict(line.asked)
    for alias, name in _ALIASES.items():
        if alias in asked and name in asked:
            return line._replace(
                fault=ValidationFault(alias, f"must not stand beside `{name}`: it is the same", line.place)
            )
        if alias in asked:
            asked[name] = asked.pop(alias)
    address = asked.get("address")
    if asked.get("channel") is None and isinstance(address, str):
        asked["channel"] = channel_of(address)
    return line._replace(asked=asked)


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
    rows = _rows(text, _separator(text))
    head = next(rows, _Row(1, []))
    columns = [name.strip().lower() for name in head.cells]
    if faults := _column_faults(columns):
        raise FieldsInvalid([fault._replace(place={"line": head.number}) for fault in faults])
    for row in rows:
        if row.problem:
            yield _bad(row.number, f"must be CSV: {row.problem}")
        elif len(row.cells) != len(columns):
            yield _bad(row.number, f"must have {len(columns)} values, as the first line; it has {len(row.cells)}")
        else:
            yield Line(row.number, _said(columns, row.cells))


def _separator(text: str) -> str:
    """What stands between the cells: that of which the first line that is not blank has more."""
    head = text.lstrip().partition("\n")[0]
    return max(_SEPARATORS, key=head.count)


def _column_faults(columns: Sequence[str]) -> list[ValidationFault]:
    """What is wrong with the names of the columns."""
    named = [_ALIASES.get(name, name) for name in columns]
    if not {"address", "reason"} <= set(named):
        said = "must name the columns, at least `address` (or `email`) and `reason`, with commas or semicolons between"
        return [ValidationFault("body", said)]
    unknown = [name for name in columns if _ALIASES.get(name, name) not in COLUMNS]
    if unknown:
        return [unknown_fault(name, COLUMNS, what="column") for name in unknown[:MAX_FAULTS]]
    return [ValidationFault(name, "must be one column only") for name in COLUMNS if named.count(name) > 1]


def _said(columns: Sequence[str], row: Sequence[str]) -> dict[str, str]:
    """The cells that say something."""
    return {name: cell.strip() for name, cell in zip(columns, row, strict=True) if cell.strip()}


class _Row(NamedTuple):
    """A row, and the line on which it begins; `problem` is what ends the file there."""

    number: int
    cells: Sequence[str]
    problem: str = ""


def _rows(text: str, separator: str) -> Iterator[_Row]:
    """The rows that are not blank."""
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=separator, strict=True
    )  # a quoted cell may have line ends in it
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
        raise FieldsInvalid([ValidationFault("body", "must be UTF-8", {"line": number})]) from None


def _bad(number: int, problem: str) -> Line:
    return Line(number, {}, ValidationFault("", problem, {"line": number}))
