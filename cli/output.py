"""Rows on stdout: a table on a terminal, tab-separated values in a pipe, or JSON with one object per line.

A value is never wrapped, so that an id can be selected and copied. Columns that may be cut are cut with `…`, only on a
terminal, and only as far as needed; if they still do not fit, the line is longer than the terminal.
"""

import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import orjson
import typer
from rich.cells import cell_len, set_cell_size

__all__ = ["Column", "lines", "show", "shown"]

GAP: Final = " "
ANY_WIDTH: Final = 1 << 20
"""A width at which every line fits."""
LEAST_WIDTH: Final = 6
"""The width to which a column is cut at most."""

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table. `cut`: values may be truncated; `optional`: it is dropped if there is no room."""

    name: str
    cut: bool = False
    optional: bool = False
    title: str = ""

    @property
    def head(self) -> str:
        """The heading of the column."""
        return self.title or self.name


def show(
    rows: Sequence[Row],
    *,
    as_json: bool,
    none: str = "Nothing.",
    upright: bool = False,
    columns: Sequence[Column] | None = None,
    wide: bool = False,
    last_heading: str = "",
) -> str:
    """Print `rows`; `upright` prints one row as a list of its fields. On a terminal only `columns` are shown.

    `wide` cuts and drops nothing, however long the lines. Returns the heading: the names of the columns. It is not
    printed if it equals `last_heading`, the heading of the previous rows.
    """
    heading = ""
    if as_json:
        for row in rows:
            sys.stdout.write(orjson.dumps({k: _plain(v) for k, v in row.items()}, default=str).decode() + "\n")
    elif not rows:
        typer.echo(none, err=True)
    elif upright:
        for line in _upright(rows, for_people=sys.stdout.isatty()):
            typer.echo(line)
    elif sys.stdout.isatty():
        width = ANY_WIDTH if wide else shutil.get_terminal_size().columns
        table = list(lines(rows, columns or [Column(name) for name in rows[0]], width))
        heading = " ".join(table[0].split())
        for line in table if heading != last_heading else table[1:]:
            typer.echo(line)
    else:
        heading = "\t".join(rows[0])
        if heading != last_heading:
            typer.echo(heading)
        for row in rows:
            typer.echo("\t".join(map(shown, row.values())))
    return heading


def lines(rows: Sequence[Row], columns: Sequence[Column], width: int) -> Iterator[str]:
    """Yield the lines of a table, the heading first, for a terminal of `width` cells."""
    columns = _with_room(rows, columns, width)
    texts = [[column.head for column in columns], *([shown(row[c.name], brief=True) for c in columns] for row in rows)]
    widths = [max(cell_len(text[n]) for text in texts) for n in range(len(columns))]
    for n in reversed(range(len(columns))):
        too_wide = sum(widths) + len(GAP) * (len(widths) - 1) - width
        if columns[n].cut and too_wide > 0:
            widths[n] = max(_least(rows, columns[n]), widths[n] - too_wide)
    for text in texts:
        yield GAP.join(map(_fitted, text, widths)).rstrip()


def shown(value: Any, *, brief: bool = False) -> str:
    """Return the text of a value; `brief` shortens a time to minutes.

    Text from outside may contain escape sequences: they are escaped, not sent to the terminal.
    """
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M") if brief else value.strftime("%Y-%m-%d %H:%M:%S.%f")[:-3] + "Z"
    text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)


def _upright(rows: Sequence[Row], *, for_people: bool) -> Iterator[str]:
    width = max(len(name) for row in rows for name in row)
    for row in rows:
        for name, value in row.items():
            yield f"{name:{width}}  {shown(value)}" if for_people else f"{name}\t{shown(value)}"


def _with_room(rows: Sequence[Row], columns: Sequence[Column], width: int) -> Sequence[Column]:
    """The columns that fit: optional ones are dropped from the right."""
    kept = list(columns)
    for column in reversed(columns):
        if sum(_least(rows, one) for one in kept) + len(GAP) * (len(kept) - 1) <= width:
            break
        if column.optional:
            kept.remove(column)
    return kept


def _least(rows: Sequence[Row], column: Column) -> int:
    whole = max(cell_len(shown(row[column.name], brief=True)) for row in rows)
    return max(cell_len(column.head), min(whole, LEAST_WIDTH) if column.cut else whole)


def _fitted(text: str, width: int) -> str:
    return set_cell_size(text, width) if cell_len(text) <= width else set_cell_size(text, width - 1) + "…"


def _plain(value: Any) -> Any:
    return value.replace(tzinfo=UTC) if isinstance(value, datetime) else value
