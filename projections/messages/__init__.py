"""The row of a message: a fold over its facts and events."""
