"""How fast the log is read: a large log, made by copying templates, and requests to the gateway and to ClickHouse."""
