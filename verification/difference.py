"""What `verify` reports: one value that differs from the expected one."""

from typing import Any, NamedTuple

__all__ = ["Difference"]


class Difference(NamedTuple):
    """One value that differs. `of`: the comparison that found it."""

    of: str
    id: str
    name: str
    expected: Any
    found: Any
