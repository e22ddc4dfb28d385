"""Looking something up in the tables that is worth a short wait, and no more.

In:  a function that blocks. Out: what it returns; or one of UNANSWERED, and then its caller goes on without.
"""

from collections.abc import Callable, Coroutine
from typing import Any, Final

from schemas.errors import StoreError, StoreRefused

__all__ = ["UNANSWERED", "Run"]

Run = Callable[..., Coroutine[Any, Any, Any]]
"""Runs a function that blocks, with its arguments: in threads that the caller bounds, or in any. Raises what the
function raises, and StoreError where it could not be run in time."""

UNANSWERED: Final = (StoreError, StoreRefused, TimeoutError)
