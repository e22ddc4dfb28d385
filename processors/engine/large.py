"""Call back some time after large records were processed, so that a worker can return their memory.

In:  acknowledged batches.
Out: a call of `after`, at most once per SECONDS while batches with large values (on average) arrive, and once after the
     last of them. For ordinary records it costs one comparison per batch.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from processors.engine.batch import RecordBatch

__all__ = ["AfterLarge"]

LARGE_BYTES: Final = 32 * 1024
"""Average size of a value in a batch."""
SECONDS: Final = 1.0
"""By then nothing references the batch any more."""


class AfterLarge:
    """Calls `after` when large records have been processed. For one event loop."""

    def __init__(self, after: Callable[[], None]) -> None:
        self._after = after
        self._timer: asyncio.TimerHandle | None = None

    def done(self, batch: RecordBatch) -> None:
        """Note that a batch is acknowledged."""
        if self._timer is None and batch.body_bytes > LARGE_BYTES * len(batch):
            self._timer = asyncio.get_running_loop().call_later(SECONDS, self._call)

    def _call(self) -> None:
        self._timer = None
        self._after()
