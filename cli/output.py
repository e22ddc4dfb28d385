"""Rows on stdout: a table for people, an object a line for programs."""

import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import orjson
import typer

__all__ = ["show"]


def show(rows: Sequence[Mapping[str, Any]], *, as_json: bool, none: str = "Nothing.", upright: bool = False) -> None:
    """Print `rows`; `upright` prints one row as a list of its fields."""
    if as_json:
        for row in rows:
            sys.stdout.write(orjson.dumps({k: _plain(v) for k, v in row.items()}, default=str).decode() + "\n")
        return
    if not rows:
        typer.echo(none, err=True)
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(show_header=not upright, box=None, pad_edge=False)
    if upright:
        for row in rows:
            for name, value in row.items():
                table.add_row(f"{name} ", _text(value))
    else:
        for name in rows[0]:
            table.add_column(name, overflow="fold")
        for row in rows:
            table.add_row(*(_text(value) for value in row.values()))
    Console(markup=False, highlight=False, soft_wrap=upright).print(table)


def _plain(value: Any) -> Any:
    return value.replace(tzinfo=UTC) if isinstance(value, datetime) else value


def _text(value: Any) -> str:
    """What a cell shows. Text from outside may hold escape sequences: they are shown, not sent to the terminal."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S.%f")[:-3] + "Z"
    text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)
