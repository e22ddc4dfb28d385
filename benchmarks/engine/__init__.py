"""The engine's keyed mode: what a transaction for each run of records costs, beside plain idempotent writing."""
