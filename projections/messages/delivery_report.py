"""The queries that the delivery report needs beside those of `stats`: why messages bounced, and how long delivery took.

In:  a store to read from; a `Filter`. Out: rows of counts and times. Outside values are bound parameters.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from projections.messages.counts import has_withdrawn_events
from projections.messages.filters import Filter
from projections.messages.queries import Query, matching
from projections.store.ports import Reader

__all__ = ["bounce_reasons", "delivery_times", "read_report"]


def bounce_reasons(wanted: Filter, *, any_withdrawn: bool = True) -> Query:
    """Return the query of (status, sub_status, messages) of messages that bounced or were dropped, most messages first.

    `any_withdrawn`: see `queries.facets`.
    """
    rows, parameters = matching(
        replace(wanted, statuses=("Bounced", "Dropped")), ("status", "sub_status"), any_withdrawn=any_withdrawn
    )
    return Query(
        f"SELECT status, sub_status, count() AS messages FROM ({rows})"  # noqa: S608
        " GROUP BY status, sub_status ORDER BY messages DESC, status, sub_status",
        parameters,
    )


def delivery_times(wanted: Filter, *, any_withdrawn: bool = True) -> Query:
    """Return the query of (provider, messages, p50, p95), where p50 and p95 are seconds from Date Sent to the delivery.

    `any_withdrawn`: see `queries.facets`.
    """
    rows, parameters = matching(wanted, ("provider", "date_sent", "delivered_at"), any_withdrawn=any_withdrawn)
    seconds = "greatest(0, toUnixTimestamp64Micro(assumeNotNull(delivered_at))"
    seconds += " - toUnixTimestamp64Micro(toDateTime64(date_sent, 6, 'UTC'))) / 1000000"
    return Query(
        f"SELECT provider, count() AS messages, quantile(0.5)({seconds}) AS p50, quantile(0.95)({seconds}) AS p95"  # noqa: S608
        f" FROM ({rows}) WHERE delivered_at IS NOT NULL GROUP BY provider ORDER BY provider",
        parameters,
    )


def read_report(store: Reader, wanted: Filter) -> tuple[Sequence[Sequence[Any]], Sequence[Sequence[Any]]]:
    """Return the rows of `bounce_reasons` and of `delivery_times`."""
    any_withdrawn = has_withdrawn_events(store, wanted)
    reasons = bounce_reasons(wanted, any_withdrawn=any_withdrawn)
    times = delivery_times(wanted, any_withdrawn=any_withdrawn)
    return store.tuples(reasons.sql, reasons.parameters), store.tuples(times.sql, times.parameters)
