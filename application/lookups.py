"""Optional look-ups in ClickHouse: worth a short wait, and skipped if they fail.

In:  a blocking function. Out: its result; or one of LOOKUP_ERRORS, and then the caller goes on without.
"""

from collections.abc import Callable, Coroutine
from typing import Any, Final

from schemas.errors import StoreError, StoreRefused

__all__ = ["LOOKUP_ERRORS", "RunBlocking"]

RunBlocking = Callable[..., Coroutine[Any, Any, Any]]
"""Runs a blocking function with its arguments in a thread, of a bounded pool or any. Raises what the function raises,
and StoreError if it could not run in time."""

LOOKUP_ERRORS: Final = (StoreError, StoreRefused, TimeoutError)
