"""Pages of suppressions.

In:  a store to read from; a `SuppressionFilter`. Out: rows with the columns `queries.COLUMNS`.

A first query of one narrow column checks whether an event was withdrawn from any message of the accounts. That is rare.
Only then the page reads all events, which takes ten times as long. An event that is withdrawn between the two queries
may still show the address that it named, in this one page.
"""

from typing import Any

from projections.messages.counts import has_withdrawn_events
from projections.messages.filters import Filter as MessageFilter
from projections.store.ports import Reader
from projections.suppressions import queries
from projections.suppressions.queries import SuppressionCursor, SuppressionFilter

__all__ = ["read_suppressions"]

Row = dict[str, Any]


def read_suppressions(
    store: Reader, wanted: SuppressionFilter, *, limit: int, after: SuppressionCursor | None = None
) -> list[Row]:
    """Return one page, by channel, address and scope: up to `limit` rows, and one more if there are more."""
    any_withdrawn = False
    if wanted.accounts is not None:
        any_withdrawn = has_withdrawn_events(store, MessageFilter(wanted.accounts))
    query = queries.suppressions_page(wanted, limit=limit, after=after, any_withdrawn=any_withdrawn)
    return store.rows(query.sql, query.parameters)
