"""Count the messages that match a filter: by status, channel and type, or as delivery statistics.

In:  a store to read from; a `Filter`. Out: rows of counts.

A message from which an event was withdrawn is counted from its events. Such messages are rare, so a cheap query on one
narrow column first checks whether there is any. A message whose event is withdrawn between the two queries is missing
from that answer.
"""

from collections.abc import Sequence
from typing import Any

from projections.messages import queries
from projections.messages.filters import Filter
from projections.messages.stats import GroupBy, delivery
from projections.store.ports import Reader

__all__ = ["has_withdrawn_events", "read_delivery", "read_facets"]


def read_facets(store: Reader, wanted: Filter) -> Sequence[Sequence[Any]]:
    """Return rows of (status, channel, type, messages)."""
    query = queries.facets(wanted, any_withdrawn=has_withdrawn_events(store, wanted))
    return store.tuples(query.sql, query.parameters)


def read_delivery(store: Reader, wanted: Filter, group_by: Sequence[GroupBy], limit: int) -> list[dict[str, Any]]:
    """Return the rows of `stats.delivery`."""
    query = delivery(wanted, group_by, limit=limit, any_withdrawn=has_withdrawn_events(store, wanted))
    return store.rows(query.sql, query.parameters)


def has_withdrawn_events(store: Reader, wanted: Filter) -> bool:
    """Return whether an event was withdrawn from a message of the accounts and time of the filter."""
    query = queries.withdrawn(wanted)
    return bool(store.tuples(query.sql, query.parameters))
