"""The ledger, measured: events/s and CPU beside a stock Faust agent, delay, and where the time goes."""
