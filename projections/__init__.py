"""Pure folds, and the tables and queries of ClickHouse."""
