"""`sendledger verify`: compare the tables with an oracle, and with a recomputation from the event log."""
