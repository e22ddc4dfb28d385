"""Where sendledger runs."""
