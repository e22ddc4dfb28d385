"""Compare each column of `messages` read alone with the same column read together with all others.

Under FINAL, ClickHouse returns the first row's value instead of the merged one for a tuple element that is read as a
subcolumn, but only if the tuple itself is not read. A query of whole rows never shows that; a dashboard's query does.

Rows may change between two queries. So if sums differ, the rows are split into buckets by a hash of their key, and
whole rows are read before and after the single column: only buckets that are the same both times count.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from projections.messages.recomputation import COLUMNS
from projections.store import Store
from verification.difference import Difference

__all__ = ["compare_columns_alone"]

BUCKETS: Final = 16_384
"""So many that, at some hundred messages per second, most buckets don't change between two queries."""

Sums = Mapping[int, Any]
"""Sums of hashes by bucket."""


def compare_columns_alone(store: Store) -> Iterator[Difference]:
    """Yield each column whose values depend on which other columns are read. Raises StoreError."""
    whole = store.tuples(f"SELECT {', '.join(map(_sum, COLUMNS))} FROM messages")[0]  # noqa: S608 - our own names
    for column, expected in zip(COLUMNS, whole, strict=True):
        found = store.tuples(f"SELECT {_sum(column)} FROM messages")[0][0]  # noqa: S608 - our own names
        if found != expected:
            yield from _in_buckets(store, column)


def _in_buckets(store: Store, column: str) -> Iterator[Difference]:
    index = COLUMNS.index(column)
    before = _sums(store, COLUMNS)
    alone = _sums(store, (column,))
    after = _sums(store, COLUMNS)
    unchanged = [bucket for bucket, sums in before.items() if after.get(bucket) == sums]
    wrong = [bucket for bucket in unchanged if alone.get(bucket) != (before[bucket][index],)]
    if wrong:
        expected, found = before[wrong[0]][index], alone.get(wrong[0])
        yield Difference("columns alone", "messages", column, f"sum of hashes {expected}", found)


def _sums(store: Store, columns: Sequence[str]) -> Sums:
    rows = store.tuples(
        f"SELECT cityHash64(account_id, email_id) % {BUCKETS}, {', '.join(map(_sum, columns))}"  # noqa: S608
        " FROM messages GROUP BY 1"
    )
    return {row[0]: tuple(row[1:]) for row in rows}


def _sum(column: str) -> str:
    """Return the SQL of a sum that changes with any value of the column. It includes the key, so that rows differ."""
    return f"sum(cityHash64(account_id, email_id, ifNull(toString({column}), '-')))"
