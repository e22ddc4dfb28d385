"""The row of a message: a fold over the set of its facts and events."""
