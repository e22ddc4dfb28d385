"""Each column of `messages` read alone beside the same column read with all others.

ClickHouse gives the first row's value, not the merged one, for a part of an axis that is read as a subcolumn under
FINAL, but only where the axis itself is not read: a query of whole rows never shows it, a dashboard's does.
"""

from collections.abc import Iterator

from cli.verifying.difference import Difference
from projections.messages.fresh_fold import COLUMNS
from projections.store import Store

__all__ = ["compare_columns_alone"]


def compare_columns_alone(store: Store) -> Iterator[Difference]:
    """Yield each column whose values depend on what else is read. Raises StoreError."""
    whole = store.tuples(f"SELECT {', '.join(map(_sum, COLUMNS))} FROM messages")[0]  # noqa: S608 - names of our own
    for column, expected in zip(COLUMNS, whole, strict=True):
        found = store.tuples(f"SELECT {_sum(column)} FROM messages")[0][0]  # noqa: S608 - names of our own
        if found != expected:
            yield Difference("columns alone", "messages", column, f"sum of hashes {expected}", found)


def _sum(column: str) -> str:
    """A number that any other value of any row would change. The key is always read: every row has its own."""
    return f"sum(cityHash64(account_id, email_id, ifNull(toString({column}), '-')))"
