"""Rows of Bounced Emails: first which addresses there are, then what is told of those of the page alone.

In:  what reads from a store; a `Filter`. Out: rows with the columns of the view `bounced_emails`, and the same values.
"""

from collections.abc import Sequence
from typing import Any, Protocol

from projections.bounces import queries
from projections.bounces.queries import COLUMNS, Cursor, Filter, Order
from schemas.suppressions import EVERYWHERE

__all__ = ["BounceReader", "read_bounces"]

Row = dict[str, Any]


class BounceReader(Protocol):
    """What reads rows, as `projections.store.Store` does."""

    def rows(self, sql: str, parameters: dict[str, Any]) -> list[Row]:
        """Return the rows of a query by their columns' names."""

    def tuples(self, sql: str, parameters: dict[str, Any]) -> Sequence[Sequence[Any]]:
        """Return the rows of a query."""


def read_bounces(
    store: BounceReader, wanted: Filter, *, limit: int, order: Order = "newest", after: Cursor | None = None
) -> list[Row]:
    """Return the rows of one page, by the last bounce, and one more where there are more than `limit`."""
    query = queries.bounces_page(wanted, limit=limit, order=order, after=after)
    rows = store.rows(query.sql, query.parameters)
    if rows and not queries.is_complete(wanted):
        _complete(store, rows)
    return [{name: row[name] for name in COLUMNS} for row in rows]


def _complete(store: BounceReader, rows: Sequence[Row]) -> None:
    """Add `recipient_id` and `suppressed` to each row."""
    accounts = [row["account_id"] for row in rows]
    query = queries.recipients(accounts, [str(row["recipient_of"]) for row in rows if row["recipient_of"].int])
    ids = {(account, message): id_ for account, message, id_ in store.tuples(query.sql, query.parameters)}
    query = queries.suppressed(accounts, [row["address"] for row in rows])
    held = {tuple(row) for row in store.tuples(query.sql, query.parameters)}
    for row in rows:
        row["recipient_id"] = ids.get((row["account_id"], row["recipient_of"]), "")
        address = (row["channel"], row["address"])
        row["suppressed"] = not held.isdisjoint({(*address, EVERYWHERE), (*address, row["account_id"])})
