"""Running `verify`: wait until the readers have caught up, then compare."""

import asyncio
import sys
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Final

from cli.verifying.alone import compare_columns_alone
from cli.verifying.difference import Difference
from cli.verifying.fresh import compare_with_fresh_fold, events_told_twice
from cli.verifying.oracle import compare_dead_letters, compare_with_oracle, read_oracle
from processors.lag import lag
from projections.store import Store
from schemas.groups import groups_of
from schemas.settings import VerifySettings

__all__ = ["verify"]

MOST_OF_A_KIND: Final = 1_000
"""So many differences of one comparison are listed: more would say no more."""

POLL_SECONDS: Final = 0.5


async def verify(settings: VerifySettings, oracle: Path | None, timeout_seconds: float) -> list[Difference]:
    """Return all that differs; a lag that does not end is a difference too. Raises StoreError or BrokerError."""
    document = read_oracle(oracle) if oracle else None
    behind = await _caught_up(settings, timeout_seconds)
    if behind:
        return [Difference("lag", f"after {timeout_seconds:g} s", "records", 0, behind)]
    store = Store(settings.clickhouse_url.get_secret_value(), database=settings.clickhouse_database)
    try:
        found = await asyncio.to_thread(lambda: list(islice(compare_with_fresh_fold(store), MOST_OF_A_KIND)))
        found += await asyncio.to_thread(lambda: [*compare_columns_alone(store), *events_told_twice(store)])
        if document is not None:
            found += await asyncio.to_thread(lambda: list(islice(compare_with_oracle(store, document), MOST_OF_A_KIND)))
            found += await compare_dead_letters(settings.kafka_bootstrap, document)
        return found
    finally:
        store.close()


async def _caught_up(settings: VerifySettings, timeout_seconds: float, say: Callable[[str], None] | None = None) -> int:
    """Wait until nothing lags, and return the lag that is left after `timeout_seconds`."""
    say = say or _say
    clock = asyncio.get_running_loop().time
    until = clock() + timeout_seconds
    while (behind := (await lag(settings.kafka_bootstrap, groups_of(settings.consumer_group))).total) > 0:
        say(f"{behind:,} records behind")
        if clock() > until:
            return behind
        await asyncio.sleep(POLL_SECONDS)
    return 0


def _say(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r{text:40}", end="", file=sys.stderr, flush=True)
