"""One deadline for each request, however many services it waits for.

In:  whoever takes the request begins it; reading its body begins it anew, since a long upload is nobody's fault.
Out: what may still be waited for. Whatever waits asks `within(limit)`, and so no chain of waits adds up to more.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

__all__ = ["at_most_half", "begun", "remaining", "restart", "within"]


class _Deadline:
    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.restart()

    def restart(self) -> None:
        self._at = time.monotonic() + self._seconds

    def remaining(self) -> float:
        return max(0.0, self._at - time.monotonic())


_CURRENT: Final[ContextVar[_Deadline | None]] = ContextVar("deadline", default=None)


@contextmanager
def begun(seconds: float) -> Iterator[None]:
    """Let what runs in this context have so many seconds in all."""
    token = _CURRENT.set(_Deadline(seconds))
    try:
        yield
    finally:
        _CURRENT.reset(token)


def restart() -> None:
    """Give the request its whole time again: what took long was its client's sending or reading."""
    if deadline := _CURRENT.get():
        deadline.restart()


def remaining() -> float | None:
    """Return the seconds that are left of the request; None where no request is under way (a command, a test)."""
    deadline = _CURRENT.get()
    return None if deadline is None else deadline.remaining()


def within(limit: float) -> float:
    """Return `limit`, or what is left of the request if that is less. In seconds."""
    left = remaining()
    return limit if left is None else min(limit, left)


def at_most_half(limit: float) -> float:
    """Return `limit`, or half of what is left if that is less: for a wait whose outcome the request can do without."""
    left = remaining()
    return limit if left is None else min(limit, left / 2)
