"""Realistic traffic of all providers, and an oracle of what must come out of it."""
