"""ClickHouse: the one way in and out, the tables and views, and how they are made."""

from projections.store.clickhouse import DATABASE, Store

__all__ = ["DATABASE", "Store"]
