"""`sendledger verify`: the tables beside an oracle, and beside a fresh fold of their own event log."""
