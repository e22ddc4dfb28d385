"""What ClickHouse says of itself: its version, its clock, its databases, and how far they are merged.

In:  a store of the database `system`, which every server has. Out: what is so; whether it is right is for the doctor
to judge. All raise StoreError and StoreRefused.
"""

import re
from time import time
from typing import Final

from projections.store.clickhouse import Store

__all__ = ["OLDEST", "TESTED", "clock_skew_seconds", "has_database", "number_of", "parts", "version"]

OLDEST: Final = (25, 8)
"""The first long-term release that has all that tables and queries use (`merge_selector_base` came in 25.1)."""
TESTED: Final = (26, 9)

_NUMBER: Final = re.compile(r"(\d+)\.(\d+)")


def version(server: Store) -> str:
    """Return the server's version, as it says it."""
    return str(server.tuples("SELECT version()")[0][0])


def number_of(version: str) -> tuple[int, int]:
    """Return year and month of a version; (0, 0) where it has none."""
    match = _NUMBER.match(version)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def clock_skew_seconds(server: Store) -> float:
    """Return how far the server's clock is ahead of ours; half of the answer's way is taken off."""
    asked = time()
    theirs = int(server.tuples("SELECT toUnixTimestamp64Micro(now64(6))")[0][0]) / 1e6
    return theirs - (asked + time()) / 2


def has_database(server: Store, name: str) -> bool:
    """Whether there is such a database that we may see."""
    return bool(server.tuples("SELECT count() FROM databases WHERE name = {name:String}", {"name": name})[0][0])


def parts(server: Store, database: str) -> dict[str, int]:
    """Return how many active parts each table of a database has: their number rules the cost of reading."""
    sql = "SELECT table, count() FROM parts WHERE active AND database = {name:String} GROUP BY table ORDER BY table"
    return {str(table): int(count) for table, count in server.tuples(sql, {"name": database})}
