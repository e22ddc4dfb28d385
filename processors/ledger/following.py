"""Write each group of records into the shown generation, also if another one is shown meanwhile.

Promise: when a group is acknowledged, all of it is in the generation that is shown then. A rebuild first switches, and
then reads the log up to where it ended at the switch. So no record is missing after a switch: the rebuild writes those
that were in the log before it, and the ledger writes later ones.
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
    """Wraps the function that writes a group into `store`: `write` has the same arguments and errors."""

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
            except Exception:  # the generation may have been dropped: the next attempt first asks which one is shown
                self._is_known = False
                raise
            await self._follow()
            if self._changes == changes:
                return
            # A part of the group may be in the generation before: write all of it again.

    async def _follow(self) -> None:
        shown = await asyncio.to_thread(self._shown)
        self._is_known = True
        if shown != self._store.generation:
            log.info(LogEvent.GENERATION_CHANGED, generation=shown, before=self._store.generation)
            self._store.generation = shown
            self._changes += 1
