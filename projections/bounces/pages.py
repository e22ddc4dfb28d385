"""Read a page of Bounced Emails: first its addresses, then the costly columns of these addresses alone.

In:  a store to read from; a `Filter`. Out: rows with the columns and values of the view `bounced_emails`.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from projections.bounces import queries
from projections.bounces.queries import COLUMNS, Cursor, Filter, Order
from projections.store.ports import Reader
from schemas.decoding.ids import ALL

__all__ = ["read_bounces", "read_counted_bounces"]

Row = dict[str, Any]


def read_bounces(
    store: Reader, wanted: Filter, *, limit: int, order: Order = "newest", after: Cursor | None = None
) -> list[Row]:
    """Return the rows of one page, sorted by last bounce, and one more if there are more than `limit`."""
    query = queries.bounces_page(wanted, limit=limit, order=order, after=after)
    rows = store.rows(query.sql, query.parameters)
    if rows and not queries.is_complete(wanted):
        _complete(store, rows)
    return [{name: row[name] for name in COLUMNS} for row in rows]


def read_counted_bounces(
    store: Reader,
    accounts: Sequence[str] | None,
    channel: str,
    address: str,
    *,
    days: int,
    released_at: datetime | None,
) -> int:
    """Return how many bounced messages count against an address now: of the last `days`, and since its last release.

    Of the given accounts; None means all of them.
    """
    query = queries.counted_bounces(accounts, channel, address, days=days, released_at=released_at)
    return int(store.tuples(query.sql, query.parameters)[0][0])


def _complete(store: Reader, rows: Sequence[Row]) -> None:
    """Add `recipient_id` and `suppressed` to each row."""
    accounts = [row["account_id"] for row in rows]
    query = queries.recipients(accounts, [str(row["recipient_of"]) for row in rows if row["recipient_of"].int])
    ids = {(account, message): id_ for account, message, id_ in store.tuples(query.sql, query.parameters)}
    query = queries.suppressed(accounts, [row["address"] for row in rows])
    suppressed = {tuple(row) for row in store.tuples(query.sql, query.parameters)}
    for row in rows:
        row["recipient_id"] = ids.get((row["account_id"], row["recipient_of"]), "")
        address = (row["channel"], row["address"])
        row["suppressed"] = not suppressed.isdisjoint({(*address, ALL), (*address, row["account_id"])})
