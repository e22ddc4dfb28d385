"""All rows of Messaging Logs that a filter wants, by columns: for files.

In:  what reads from a store; a `Filter`, and columns of `messages`.
Out: chunks of rows in the order of the list, each as its columns. Times are texts (RFC 3339, to the microsecond, UTC),
     ids are texts.

pages.py builds each row in Python, which is right for fifty rows and slow for a file. Here ClickHouse builds them. Each
query covers only some hours of the log, so that its time and memory are bounded: enough hours for about one
chunk of rows, more where a filter finds little. Which messages of these are not simple is asked first: to join all that
might be would take as long as the rest. If one ceases to be simple between the two, both are asked again.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final, Protocol

from projections.messages import queries
from projections.messages.filters import Filter
from projections.messages.queries import Cursor, Order, Window
from schemas.times import SECOND_US

__all__ = ["ColumnReader", "Columns", "read_columns"]

Columns = Sequence[Sequence[Any]]

_MOST_ROWS: Final = 400_000
"""For a filter that finds little one query looks at no more rows of the tables."""
_HOUR_US: Final = 3_600 * SECOND_US


class ColumnReader(Protocol):
    """What reads columns, as `projections.store.Store` does."""

    def columns(self, sql: str, parameters: dict[str, Any]) -> Columns:
        """Return the columns of what a query gives, each with a value for each row."""


def read_columns(
    store: ColumnReader, wanted: Filter, names: Sequence[str], *, order: Order, rows_at_once: int
) -> Iterator[Columns]:
    """Yield chunks of up to `rows_at_once` rows, none of them empty.

    Keyset, as pages are: rows that are inserted meanwhile never make one appear twice or not at all. Which hours there
    are is asked first: a message that comes meanwhile, in an hour that had none, is not among them.
    """
    query = queries.hours(wanted)
    hours = [*zip(*store.columns(query.sql, query.parameters), strict=True)]
    if order == "newest":
        hours.reverse()
    most = rows_at_once
    while hours:
        number = _up_to(most, hours)
        (first, _), (last, _) = min(hours[:number]), max(hours[:number])
        held = 0
        window = Window(first * _HOUR_US, (last + 1) * _HOUR_US)
        for chunk in _of_window(store, wanted, names, window, order, rows_at_once):
            held += len(chunk[0])
            yield chunk
        if held < rows_at_once // 2:
            most = min(_MOST_ROWS, most * 4)
        elif held > rows_at_once:
            most = max(rows_at_once, most // 2)
        del hours[:number]


def _up_to(most: int, hours: Sequence[tuple[int, int]]) -> int:
    """Return how many of the hours have up to `most` rows to look at; at least one."""
    rows = 0
    for number, (_, of_hour) in enumerate(hours):
        rows += of_hour
        if number and rows > most:
            return number
    return len(hours)


def _of_window(
    store: ColumnReader, wanted: Filter, names: Sequence[str], window: Window, order: Order, rows_at_once: int
) -> Iterator[Columns]:
    others = _others(store, wanted, window, order)
    after: Cursor | None = None
    while True:
        query = queries.columns(wanted, names, window, others, limit=rows_at_once, order=order, after=after)
        *chunk, known, sent_ms, email_ids, accounts = store.columns(query.sql, query.parameters)
        if not sent_ms:
            return
        if not all(known):
            others = _others(store, wanted, window, order)
            continue
        yield chunk
        if len(sent_ms) < rows_at_once:
            return
        after = Cursor(sent_ms[-1], email_ids[-1], accounts[-1])


def _others(store: ColumnReader, wanted: Filter, window: Window, order: Order) -> Sequence[Cursor]:
    query = queries.others_of(wanted, window, order=order, after=None)
    return [Cursor(*key) for key in zip(*store.columns(query.sql, query.parameters), strict=True)]
