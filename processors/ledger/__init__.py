"""The ledger: writes the records of Kafka topics as rows to ClickHouse, and nothing else.

Stateless and idempotent: it may process any part of the log again, and the rows stay the same.
"""
