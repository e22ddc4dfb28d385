"""The ledger: what flows in Kafka becomes rows in ClickHouse, and nothing else.

Stateless and idempotent: it may be run again over any part of the log, by anyone, with no effect but the right rows.
"""
