"""Calls back some time after large records were processed, so that a worker can return their memory.

In:  batches that are acknowledged.
Out: a call of `after`, at most once in SECONDS while there are batches whose values are large on average, and once
     behind the last of them. Ordinary records cost a comparison of two numbers a batch.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from processors.engine.batch import RecordBatch

__all__ = ["AfterLarge"]

LARGE_BYTES: Final = 32 * 1024
"""Of the values of a batch, on average."""
SECONDS: Final = 1.0
"""By then nobody holds the batch any more."""


class AfterLarge:
    """Calls `after` when large records are done with. For one event loop."""

    def __init__(self, after: Callable[[], None]) -> None:
        self._after = after
        self._timer: asyncio.TimerHandle | None = None

    def done(self, batch: RecordBatch) -> None:
        """Take in that a batch is acknowledged."""
        if self._timer is None and batch.body_bytes > LARGE_BYTES * len(batch):
            self._timer = asyncio.get_running_loop().call_later(SECONDS, self._call)

    def _call(self) -> None:
        self._timer = None
        self._after()
