"""Write each group into the generation that is shown, also if that changes meanwhile.

Promise: a group that is acknowledged is in the generation that was shown at that moment, whole. A rebuild switches
first and then reads the log up to the end of that moment, so nothing is missing after a switch: a record is written
by the rebuild if it was in the log before the switch, and by the ledger if it came later.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import structlog

from processors.engine import RecordBatch
from schemas.log_events import LogEvent

__all__ = ["FollowsShown", "GenerationStore", "GroupWrite"]

log = structlog.get_logger()

GroupWrite = Callable[[Sequence[RecordBatch]], Awaitable[None]]


class GenerationStore(Protocol):
    """A store whose generation may be changed."""

    generation: int | None


class FollowsShown:
    """Wraps the writing of a group into `store`: `write` has the same arguments and errors."""

    def __init__(self, store: GenerationStore, shown: Callable[[], int], write: GroupWrite) -> None:
        """`shown` asks the server which generation is shown. It is called in a thread, and raises StoreError."""
        self._store, self._shown, self._write = store, shown, write
        self._changes = 0
        self._is_known = False

    async def write(self, group: Sequence[RecordBatch]) -> None:
        """Return when the group is stored in the shown generation. Several groups may be written at once."""
        if not self._is_known:
            await self._follow()
        while True:
            changes = self._changes
            try:
                await self._write(group)
            except Exception:  # perhaps the generation was dropped: ask before the next attempt
                self._is_known = False
                raise
            await self._follow()
            if self._changes == changes:  # else a part of the group is in another generation
                return

    async def _follow(self) -> None:
        shown = await asyncio.to_thread(self._shown)
        self._is_known = True
        if shown != self._store.generation:
            log.info(LogEvent.GENERATION_CHANGED, generation=shown, before=self._store.generation)
            self._store.generation = shown
            self._changes += 1
