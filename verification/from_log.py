"""Compare the shown generation with the log in Kafka: a trial generation is built from the log, compared and dropped.

Unlike a recomputation from the event table, this finds rows that are missing in every table. It needs disk space for a
second set of tables, or for that of a part of the messages, and no more memory than a worker.
"""

import asyncio
from collections.abc import Callable
from contextlib import closing
from functools import partial

from processors.ledger.rebuild import Rebuild
from schemas.settings import RebuildSettings
from verification.generations import Comparison, Generations
from verification.part import WHOLE, Part, PartStore

__all__ = ["compare_with_log", "compare_with_shown"]


async def compare_with_log(settings: RebuildSettings, part: Part, say: Callable[[int], None]) -> list[Comparison]:
    """Fold the log for a part of the messages, and return how the shown rows differ from the result.

    `say` is called with the number of unread records. Raises RebuildInterrupted, ConfigError, BrokerError, StoreError.
    """
    purpose = "verify" if part.is_whole else f"verify {part.share:g} {part.since_us} {part.until_us}"
    rebuild = await asyncio.to_thread(
        partial(Rebuild.begin, settings, trial=purpose, narrowed=partial(PartStore, part=part))
    )

    async def act() -> list[Comparison]:
        await rebuild.caught_up(say)
        return await compare_with_shown(rebuild, part)

    with closing(rebuild):
        found = await rebuild.run(act)
        await asyncio.to_thread(rebuild.drop)  # not after an interruption: the next run continues it
        return found


async def compare_with_shown(rebuild: Rebuild, part: Part = WHOLE) -> list[Comparison]:
    """Return how a rebuilt generation, which has caught up, differs from the shown one.

    Raises StoreError and BrokerError.
    """
    both = Generations(rebuild.store, rebuild.live, rebuild.generation.number, part)
    found = await asyncio.to_thread(both.compare)
    if not any(one.total for one in found):
        return found
    # The ledger and the rebuild read at different speeds: a row that only one of them has written yet is no difference.
    await rebuild.caught_up()
    return await asyncio.to_thread(both.confirm, found)
