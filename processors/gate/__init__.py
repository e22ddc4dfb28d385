"""The gate: decides once whether a message may be sent, and keeps which addresses are suppressed."""
