"""Caches of what comes from outside: bounded by bytes, because only short texts are remembered.

A cache that is bounded by its entries alone keeps for good what one post of megabytes puts into it.
"""

from collections.abc import Callable
from typing import Final, TypeVar

__all__ = ["LONGEST_CACHED", "caching_short"]

T = TypeVar("T")

LONGEST_CACHED: Final = 320
"""Characters. No address is longer, and so no entry of any cache takes more than some 4 KiB."""


class _Remembered(dict[str, T]):
    """What a function of one text returned lately: `lru_cache` behind a guard would take three times as long."""

    def __init__(self, work_out: Callable[[str], T], entries: int) -> None:
        super().__init__()
        self._work_out, self._entries = work_out, entries

    def __missing__(self, text: str) -> T:
        result = self._work_out(text)
        if len(text) <= LONGEST_CACHED:
            if len(self) >= self._entries:
                self.clear()  # what is in use is back soon
            self[text] = result
        return result


def caching_short(entries: int) -> Callable[[Callable[[str], T]], Callable[[str], T]]:
    """Remember the results of a pure function of one text, but never those of a text over LONGEST_CACHED."""

    def decorate(work_out: Callable[[str], T]) -> Callable[[str], T]:
        return _Remembered(work_out, entries).__getitem__

    return decorate
