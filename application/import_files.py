"""Parses a file of addresses to suppress, line by line.

In:  CSV with a header line, or NDJSON (one object per line), in UTF-8.
Out: for each line its fields and its line number as an editor counts it; or its fault.

The columns are the fields of a single suppression. `email` is an alias of `address`; `channel` may be left out and then
follows from the address. The separator of a CSV is a comma or a semicolon: the header line decides.

The work is bounded by the size of the file and its number of lines, blank ones included.
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
"""In the whole file, including blank lines and line ends inside quoted cells."""
COLUMNS: Final = ("address", "channel", "scope", "reason", "note")

_ALIASES: Final = {"email": "address"}
_SEPARATORS: Final = (",", ";")

_BOM: Final = b"\xef\xbb\xbf"


class Line(NamedTuple):
    """One line: its fields, or its fault."""

    number: int
    fields: Mapping[str, Any]
    fault: ValidationFault | None = None

    @property
    def place(self) -> dict[str, int]:
        """The place of a fault in this line."""
        return {"line": self.number}


def is_ndjson(body: bytes) -> bool:
    """Return whether a file looks like NDJSON: it begins with `{`."""
    return body.removeprefix(_BOM).lstrip().startswith(b"{")


def lines_of(body: bytes, *, ndjson: bool) -> list[Line]:
    """Return the lines of a file, without blank ones. Raises FieldsInvalid for another format, or too many lines."""
    body = body.removeprefix(_BOM)
    if max(body.count(b"\n"), body.count(b"\r")) > MAX_LINE_ENDS:
        raise FieldsInvalid([ValidationFault("body", f"must have at most {MAX_LINE_ENDS} lines, blank ones included")])
    found: list[Line] = []
    for line in _ndjson(body) if ndjson else _csv(_text(body)):
        if len(found) == MAX_LINES:
            raise FieldsInvalid([ValidationFault("body", f"must have at most {MAX_LINES} lines with an address")])
        found.append(line if line.fault else _normalised(line))
    if not found:
        raise FieldsInvalid([ValidationFault("body", "must have a line with an address")])
    return found


def _normalised(line: Line) -> Line:
    """The line with aliases resolved and its channel filled in."""
    fields = dict(line.fields)
    for alias, name in _ALIASES.items():
        if alias in fields and name in fields:
            return line._replace(
                fault=ValidationFault(alias, f"is given together with `{name}`: they are the same", line.place)
            )
        if alias in fields:
            fields[name] = fields.pop(alias)
    address = fields.get("address")
    if fields.get("channel") is None and isinstance(address, str):
        fields["channel"] = channel_of(address)
    return line._replace(fields=fields)


def _ndjson(body: bytes) -> Iterator[Line]:
    for number, text in enumerate(body.split(b"\n"), start=1):
        if not text.strip():
            continue
        try:
            value = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            yield _invalid(number, f"must be JSON in UTF-8: {error}")
            continue
        if isinstance(value, dict):
            yield Line(number, value)
        else:
            yield _invalid(number, "must be an object")


def _csv(text: str) -> Iterator[Line]:
    rows = _rows(text, _separator(text))
    head = next(rows, _Row(1, []))
    columns = [name.strip().lower() for name in head.cells]
    if faults := _column_faults(columns):
        raise FieldsInvalid([fault._replace(place={"line": head.number}) for fault in faults])
    for row in rows:
        if row.problem:
            yield _invalid(row.number, f"must be CSV: {row.problem}")
        elif len(row.cells) != len(columns):
            yield _invalid(row.number, f"must have {len(columns)} values, as the first line; it has {len(row.cells)}")
        else:
            yield Line(row.number, _filled_cells(columns, row.cells))


def _separator(text: str) -> str:
    """The separator: whichever the first non-blank line has more of."""
    head = text.lstrip().partition("\n")[0]
    return max(_SEPARATORS, key=head.count)


def _column_faults(columns: Sequence[str]) -> list[ValidationFault]:
    """The faults of the column names."""
    named = [_ALIASES.get(name, name) for name in columns]
    if not {"address", "reason"} <= set(named):
        problem = (
            "must name the columns, at least `address` (or `email`) and `reason`, with commas or semicolons between"
        )
        return [ValidationFault("body", problem)]
    unknown = [name for name in columns if _ALIASES.get(name, name) not in COLUMNS]
    if unknown:
        return [unknown_fault(name, COLUMNS, what="column") for name in unknown[:MAX_FAULTS]]
    return [ValidationFault(name, "must be one column only") for name in COLUMNS if named.count(name) > 1]


def _filled_cells(columns: Sequence[str], row: Sequence[str]) -> dict[str, str]:
    """The cells that are not blank."""
    return {name: cell.strip() for name, cell in zip(columns, row, strict=True) if cell.strip()}


class _Row(NamedTuple):
    """A row, and the line on which it begins. `problem` is the CSV error at which parsing stopped."""

    number: int
    cells: Sequence[str]
    problem: str = ""


def _rows(text: str, separator: str) -> Iterator[_Row]:
    """The rows, without blank ones."""
    # Without `newline`, line ends inside a quoted cell would be changed.
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
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


def _invalid(number: int, problem: str) -> Line:
    return Line(number, {}, ValidationFault("", problem, {"line": number}))
