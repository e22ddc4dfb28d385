"""Read all rows of Messaging Logs that match a filter, column by column, for files.

In:  a store to read from; a `Filter`, and columns of `messages`.
Out: chunks of rows in the order of the list, each chunk as columns. Times are text (RFC 3339, to the microsecond, UTC),
     ids are text.

pages.py builds rows in Python, which suits fifty rows and is slow for a file; here ClickHouse builds them. Each query
covers a few hours of the log, so that its time and memory are bounded: enough hours for about one chunk of rows, more
if the filter matches few. A first query finds which messages are not simple (views/message_rows.py), because merging
the events of all candidates would double the time. If a message stops being simple between the two queries, both are
repeated.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from projections.messages import queries
from projections.messages.filters import Filter
from projections.messages.queries import Cursor, Order, Window
from projections.store.ports import Reader
from schemas.decoding.times import SECOND_US

__all__ = ["Columns", "read_columns"]

Columns = Sequence[Sequence[Any]]

_MOST_ROWS: Final = 400_000
"""The most rows of the tables that one query reads, for a filter that matches few of them."""
_HOUR_US: Final = 3_600 * SECOND_US


def read_columns(
    store: Reader,
    wanted: Filter,
    names: Sequence[str],
    *,
    order: Order,
    rows_at_once: int,
    after: Cursor | None = None,
) -> Iterator[Columns]:
    """Yield chunks of up to `rows_at_once` rows, none of them empty; optionally only rows after a cursor.

    Uses a keyset, as pages do: rows that are inserted meanwhile cause no duplicate and no gap. The hours with messages
    are read once, at the start: a message that arrives later in an hour that had none is left out.
    """
    query = queries.hours(wanted)
    hours = [*zip(*store.columns(query.sql, query.parameters), strict=True)]
    if order == "newest":
        hours.reverse()
    target_rows = rows_at_once
    while hours:
        number = _hours_within(target_rows, hours)
        (first, _), (last, _) = min(hours[:number]), max(hours[:number])
        row_count = 0
        window = Window(first * _HOUR_US, (last + 1) * _HOUR_US)
        for chunk in _of_window(store, wanted, names, window, order, rows_at_once, after):
            row_count += len(chunk[0])
            yield chunk
        if row_count < rows_at_once // 2:
            target_rows = min(_MOST_ROWS, target_rows * 4)
        elif row_count > rows_at_once:
            target_rows = max(rows_at_once, target_rows // 2)
        del hours[:number]


def _hours_within(target_rows: int, hours: Sequence[tuple[int, int]]) -> int:
    """Return how many hours, from the first, have up to `target_rows` rows to read; at least one."""
    rows = 0
    for number, (_, of_hour) in enumerate(hours):
        rows += of_hour
        if number and rows > target_rows:
            return number
    return len(hours)


def _of_window(
    store: Reader,
    wanted: Filter,
    names: Sequence[str],
    window: Window,
    order: Order,
    rows_at_once: int,
    after: Cursor | None,
) -> Iterator[Columns]:
    non_simple = _non_simple(store, wanted, window, order)
    while True:
        query = queries.columns(wanted, names, window, non_simple, limit=rows_at_once, order=order, after=after)
        *chunk, known, sent_ms, email_ids, accounts = store.columns(query.sql, query.parameters)
        if not sent_ms:
            return
        if not all(known):
            non_simple = _non_simple(store, wanted, window, order)
            continue
        yield chunk
        if len(sent_ms) < rows_at_once:
            return
        after = Cursor(sent_ms[-1], email_ids[-1], accounts[-1])


def _non_simple(store: Reader, wanted: Filter, window: Window, order: Order) -> Sequence[Cursor]:
    query = queries.non_simple_keys(wanted, window, order=order, after=None)
    return [Cursor(*key) for key in zip(*store.columns(query.sql, query.parameters), strict=True)]
