"""What `verify` finds wrong: one value that is not what it must be."""

from typing import Any, NamedTuple

__all__ = ["Difference"]


class Difference(NamedTuple):
    """One value that differs. `of`: which comparison found it."""

    of: str
    id: str
    name: str
    expected: Any
    found: Any
