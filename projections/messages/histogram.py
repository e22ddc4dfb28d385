"""Count the messages that match a filter by time and status: for the histogram of the log and its counts by status.

In:  a store to read from; a `Filter`; the width of a bar. Out: rows of counts. Outside values are bound parameters.
"""

from collections.abc import Sequence
from typing import Any

from projections.messages.counts import has_withdrawn_events
from projections.messages.filters import Filter
from projections.messages.queries import Query, matching
from projections.store.ports import Reader

__all__ = ["histogram", "read_histogram"]


def histogram(wanted: Filter, step_seconds: int, *, any_withdrawn: bool = True) -> Query:
    """Return the query of (start, status, messages): the messages of each status, by the time of their Date Sent.

    `start` is in seconds since 1970, and a multiple of `step_seconds`. `any_withdrawn`: see `queries.facets`.
    """
    rows, parameters = matching(wanted, ("date_sent", "status"), any_withdrawn=any_withdrawn)
    return Query(
        "SELECT intDiv(toUnixTimestamp(date_sent), {step:UInt32}) * {step:UInt32} AS start, status, count()"  # noqa: S608
        f" FROM ({rows}) GROUP BY start, status",
        parameters | {"step": step_seconds},
    )


def read_histogram(store: Reader, wanted: Filter, step_seconds: int) -> Sequence[Sequence[Any]]:
    """Return the rows of `histogram`."""
    query = histogram(wanted, step_seconds, any_withdrawn=has_withdrawn_events(store, wanted))
    return store.tuples(query.sql, query.parameters)
