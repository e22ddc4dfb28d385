"""Polls a list: shows all rows first, then each row that is new or has changed.

In:  functions that read the list, show rows, and wait (False stops it).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import typer

from schemas.errors import StoreDenied, StoreError

__all__ = ["EVERY_SECONDS", "follow"]

EVERY_SECONDS: Final = 2.0

Row = Mapping[str, Any]
_KEY: Final = ("account_id", "email_id")
_WATCHED: Final = ("status", "sub_status")


def follow(read: Callable[[], Sequence[Row]], show: Callable[[Sequence[Row]], None], wait: Callable[[], bool]) -> None:
    """Show the rows, the newest last, then each that is new or has changed. Retries while the store is unreachable.

    Raises StoreDenied.
    """
    known: dict[tuple[Any, ...], tuple[Any, ...]] = {}
    while True:
        try:
            rows = read()
        except StoreDenied:
            raise
        except StoreError as error:
            typer.echo(f"{error.what} ({error.where}); trying again", err=True)
        else:
            now = {_part(row, _KEY): _part(row, _WATCHED) for row in rows}
            if known and now and known.keys().isdisjoint(now):
                typer.echo(
                    f"More than {len(now)} are new since the last poll, and not all are shown: raise --limit", err=True
                )
            if new := [row for row in reversed(rows) if known.get(_part(row, _KEY)) != _part(row, _WATCHED)]:
                show(new)
            known = now  # rows that left the list are forgotten, so that it does not grow
        if not wait():
            return


def _part(row: Row, names: Sequence[str]) -> tuple[Any, ...]:
    return tuple(row[name] for name in names)
