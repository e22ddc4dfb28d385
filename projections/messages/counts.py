"""How many messages there are that a filter wants: by status, channel and type, and by what became of them.

In:  what reads from a store; a `Filter`. Out: rows of counts.

A message from which an event was withdrawn is worked out from its events. There is hardly ever one, so whether there is
is asked first, by one narrow column. One that is withdrawn between the two questions is missing in that answer.
"""

from collections.abc import Sequence
from typing import Any, Protocol

from projections.messages import queries
from projections.messages.filters import Filter
from projections.messages.stats import GroupBy, delivery

__all__ = ["CountReader", "read_delivery", "read_facets"]


class CountReader(Protocol):
    """What reads rows, as `projections.store.Store` does."""

    def rows(self, sql: str, parameters: dict[str, Any]) -> list[dict[str, Any]]:
        """Return the rows of a query by their columns' names."""

    def tuples(self, sql: str, parameters: dict[str, Any]) -> Sequence[Sequence[Any]]:
        """Return the rows of a query."""


def read_facets(store: CountReader, wanted: Filter) -> Sequence[Sequence[Any]]:
    """Return rows of (status, channel, type, messages)."""
    query = queries.facets(wanted, any_withdrawn=_any_withdrawn(store, wanted))
    return store.tuples(query.sql, query.parameters)


def read_delivery(store: CountReader, wanted: Filter, group_by: Sequence[GroupBy], limit: int) -> list[dict[str, Any]]:
    """Return the rows of `stats.delivery`."""
    query = delivery(wanted, group_by, limit=limit, any_withdrawn=_any_withdrawn(store, wanted))
    return store.rows(query.sql, query.parameters)


def _any_withdrawn(store: CountReader, wanted: Filter) -> bool:
    query = queries.withdrawn(wanted)
    return bool(store.tuples(query.sql, query.parameters))
