"""How many examples a property takes where the usual hundred would be too many."""

from typing import Final

from hypothesis import settings

__all__ = ["examples"]

_USUAL: Final = 100


def examples(number: int) -> int:
    """Return `number`, and of `make test-fast`, which takes fewer of all properties, the same share of it."""
    return max(1, number * settings().max_examples // _USUAL)
