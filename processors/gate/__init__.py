"""The gate: what may be sent, and which addresses are closed. It decides once, and what it said is fact."""
