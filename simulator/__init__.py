"""Life-like traffic."""
