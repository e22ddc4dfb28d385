"""The number of examples of a property test for which the default of 100 would be too many."""

from typing import Final

from hypothesis import settings

__all__ = ["examples"]

_USUAL: Final = 100


def examples(number: int) -> int:
    """Return `number`, reduced like the default number of examples (`make test-fast` uses fewer)."""
    return max(1, number * settings().max_examples // _USUAL)
