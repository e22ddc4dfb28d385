"""One deadline for each request, however many services it waits for.

In:  `limit` starts the deadline when a request arrives; `restart` resets it once the body is read, since a slow upload
is not the services' fault.
Out: the remaining time. Every wait uses `within(limit)`, so a chain of waits never exceeds the deadline.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

__all__ = ["at_most_half", "limit", "remaining", "restart", "within"]


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
def limit(seconds: float) -> Iterator[None]:
    """Limit all waits in this context to `seconds` in total."""
    token = _CURRENT.set(_Deadline(seconds))
    try:
        yield
    finally:
        _CURRENT.reset(token)


def restart() -> None:
    """Reset the deadline to its full length: the time was spent by the client's sending or reading."""
    if deadline := _CURRENT.get():
        deadline.restart()


def remaining() -> float | None:
    """Return the remaining seconds of the request; None outside a request (a command, a test)."""
    deadline = _CURRENT.get()
    return None if deadline is None else deadline.remaining()


def within(limit: float) -> float:
    """Return `limit`, or the remaining time of the request if that is less. In seconds."""
    left = remaining()
    return limit if left is None else min(limit, left)


def at_most_half(limit: float) -> float:
    """Return `limit`, or half of the remaining time if that is less: for a look-up whose result is optional."""
    left = remaining()
    return limit if left is None else min(limit, left / 2)
