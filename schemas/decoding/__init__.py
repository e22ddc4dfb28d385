"""Bytes of our topics, and single values in them, to facts: ids, times, addresses, JSON, forms."""
