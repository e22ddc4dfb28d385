"""Kafka, a ClickHouse endpoint and a supervisor, for one machine."""
