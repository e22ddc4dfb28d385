"""Caches for functions of text from outside. Their size in bytes is bounded, because only short texts are cached.

If only the number of entries were bounded, a cache could keep several megabytes of a single post indefinitely.
"""

from collections.abc import Callable
from typing import Final, TypeVar

__all__ = ["LONGEST_CACHED", "cache_short_texts"]

T = TypeVar("T")

LONGEST_CACHED: Final = 320
"""Characters. No address is longer, and no entry of any cache takes more than about 4 KiB."""


class _Cache(dict[str, T]):
    """Recent results of a function of one text. `lru_cache` with a check of the length takes three times as long."""

    def __init__(self, function: Callable[[str], T], entries: int) -> None:
        super().__init__()
        self._function, self._entries = function, entries

    def __missing__(self, text: str) -> T:
        result = self._function(text)
        if len(text) <= LONGEST_CACHED:
            if len(self) >= self._entries:
                self.clear()  # texts in use are soon cached again
            self[text] = result
        return result


def cache_short_texts(entries: int) -> Callable[[Callable[[str], T]], Callable[[str], T]]:
    """Cache the results of a pure function of one text, except for texts longer than LONGEST_CACHED."""

    def decorate(function: Callable[[str], T]) -> Callable[[str], T]:
        return _Cache(function, entries).__getitem__

    return decorate
