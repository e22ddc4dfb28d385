"""Durations in microseconds, the unit of all times in this package."""

from typing import Final

__all__ = ["DAY", "HOUR", "MINUTE", "MS", "SECOND"]

MS: Final = 1_000
SECOND: Final = 1_000 * MS
MINUTE: Final = 60 * SECOND
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR
