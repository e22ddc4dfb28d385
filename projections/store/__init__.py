"""ClickHouse: the client, the tables and views, and their migrations."""

from projections.store.clickhouse import DATABASE, Store

__all__ = ["DATABASE", "Store"]
