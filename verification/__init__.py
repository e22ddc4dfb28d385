"""`sendledger verify`: compare the tables with an oracle, a recomputation from the event table, or the log."""
