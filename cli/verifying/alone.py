"""Each column of `messages` read alone beside the same column read with all others.

ClickHouse gives the first row's value, not the merged one, for a part of an axis that is read as a subcolumn under
FINAL, but only where the axis itself is not read: a query of whole rows never shows it, a dashboard's does.

Rows may change between two questions. So where sums differ, the rows are looked at in buckets, by a hash of their key,
and only those buckets count whose whole rows are the same before and after: nothing in them has changed meanwhile.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from cli.verifying.difference import Difference
from projections.messages.fresh_fold import COLUMNS
from projections.store import Store

__all__ = ["compare_columns_alone"]

BUCKETS: Final = 16_384
"""With traffic of some hundred messages a second most buckets stand still while two questions are answered."""

Sums = Mapping[int, Any]
"""By bucket."""


def compare_columns_alone(store: Store) -> Iterator[Difference]:
    """Yield each column whose values depend on what else is read. Raises StoreError."""
    whole = store.tuples(f"SELECT {', '.join(map(_sum, COLUMNS))} FROM messages")[0]  # noqa: S608 - names of our own
    for column, expected in zip(COLUMNS, whole, strict=True):
        found = store.tuples(f"SELECT {_sum(column)} FROM messages")[0][0]  # noqa: S608 - names of our own
        if found != expected:
            yield from _in_buckets(store, column)


def _in_buckets(store: Store, column: str) -> Iterator[Difference]:
    place = COLUMNS.index(column)
    before = _sums(store, COLUMNS)
    alone = _sums(store, (column,))
    after = _sums(store, COLUMNS)
    still = [bucket for bucket, sums in before.items() if after.get(bucket) == sums]
    wrong = [bucket for bucket in still if alone.get(bucket) != (before[bucket][place],)]
    if wrong:
        expected, found = before[wrong[0]][place], alone.get(wrong[0])
        yield Difference("columns alone", "messages", column, f"sum of hashes {expected}", found)


def _sums(store: Store, columns: Sequence[str]) -> Sums:
    rows = store.tuples(
        f"SELECT cityHash64(account_id, email_id) % {BUCKETS}, {', '.join(map(_sum, columns))}"  # noqa: S608
        " FROM messages GROUP BY 1"
    )
    return {row[0]: tuple(row[1:]) for row in rows}


def _sum(column: str) -> str:
    """A number that any other value of any row would change. The key is always read: every row has its own."""
    return f"sum(cityHash64(account_id, email_id, ifNull(toString({column}), '-')))"
