"""Read the state of a ClickHouse server: its version, its clock, its databases, and their active parts.

In:  a store for the database `system`, which every server has. Out: the values; `sendledger doctor` judges them.
All functions raise StoreError and StoreRefused.
"""

import re
from time import time
from typing import Final

from projections.store.clickhouse import Store

__all__ = ["MIN_VERSION", "TESTED_VERSION", "clock_skew_seconds", "has_database", "parse_version", "parts", "version"]

MIN_VERSION: Final = (25, 8)
"""The first long-term release with every feature that tables and queries use (`merge_selector_base` is from 25.1)."""
TESTED_VERSION: Final = (26, 9)

_NUMBER: Final = re.compile(r"(\d+)\.(\d+)")


def version(server: Store) -> str:
    """Return the server's version as text."""
    return str(server.tuples("SELECT version()")[0][0])


def parse_version(version: str) -> tuple[int, int]:
    """Return year and month of a version; (0, 0) if it can't be parsed."""
    match = _NUMBER.match(version)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def clock_skew_seconds(server: Store) -> float:
    """Return how far the server's clock is ahead of ours, corrected by half of the round-trip time."""
    sent_at = time()
    server_time = int(server.tuples("SELECT toUnixTimestamp64Micro(now64(6))")[0][0]) / 1e6
    return server_time - (sent_at + time()) / 2


def has_database(server: Store, name: str) -> bool:
    """Whether a database of that name exists and is visible to us."""
    return bool(server.tuples("SELECT count() FROM databases WHERE name = {name:String}", {"name": name})[0][0])


def parts(server: Store, database: str) -> dict[str, int]:
    """Return the number of active parts of each table of a database; reads cost more the more there are.

    On a cluster, of the server that has most.
    """
    sql = (
        f"SELECT table, max(number) FROM (SELECT table, count() AS number FROM {server.system('parts')}"  # noqa: S608
        " WHERE active AND database = {name:String} GROUP BY table, hostName()) GROUP BY table ORDER BY table"
    )
    return {str(table): int(count) for table, count in server.tuples(sql, {"name": database})}
