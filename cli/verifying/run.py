"""Running `verify`: wait until the readers have read what there was when it was called, then compare.

It may run beside traffic, so what is just being written must not count. Messages with events since the call are left
out of the comparison with a fresh fold, and a difference counts that two looks find, with a sweep between them.
"""

import asyncio
import sys
import time
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Final

from cli.verifying.alone import compare_columns_alone
from cli.verifying.difference import Difference
from cli.verifying.fresh import compare_with_fresh_fold, events_told_twice
from cli.verifying.gate import compare_with_gate
from cli.verifying.oracle import Document, compare_dead_letters, compare_with_oracle, read_oracle
from processors.lag import catch_up
from projections.store import Store
from projections.store.generations import ShownStore
from schemas.groups import groups_of
from schemas.settings import VerifySettings

__all__ = ["found_twice", "verify"]

MOST_OF_A_KIND: Final = 1_000
"""So many differences of one comparison are listed: more would say no more."""

SWEPT_WITHIN_SECONDS: Final = 5.0
"""How long a sweep may take."""


async def verify(settings: VerifySettings, oracle: Path | None, timeout_seconds: float) -> list[Difference]:
    """Return all that differs; readers that don't get there are a difference too. Raises StoreError or BrokerError."""
    document = read_oracle(oracle) if oracle else None
    as_of_us = time.time_ns() // 1000
    behind = await catch_up(
        settings.kafka_bootstrap,
        groups_of(settings.consumer_group, settings.gate_group),
        within_seconds=timeout_seconds,
        say=lambda behind: _say(f"{behind:,} records behind"),
    )
    if behind:
        return [Difference("lag", f"after {timeout_seconds:g} s", "records of before the call", 0, behind)]
    store = ShownStore(settings.clickhouse_url.get_secret_value(), database=settings.clickhouse_database)
    try:
        found = await _compared(store, settings.kafka_bootstrap, document, as_of_us)
        if found:
            # What waits for a sweep (an earlier copy of an event, say) is as good as under way: look once more.
            _say(f"{len(found):,} differences; waiting for a sweep")
            await asyncio.sleep(settings.sweep_seconds + SWEPT_WITHIN_SECONDS)
            found = found_twice(found, await _compared(store, settings.kafka_bootstrap, document, as_of_us))
        return found
    finally:
        store.close()


def found_twice(first: Iterable[Difference], second: Iterable[Difference]) -> list[Difference]:
    """Return the second look's differences in what the first look found different, too."""
    before = {(difference.of, difference.id, difference.name) for difference in first}
    return [difference for difference in second if (difference.of, difference.id, difference.name) in before]


async def _compared(store: Store, bootstrap: str, document: Document | None, as_of_us: int) -> list[Difference]:
    def of_tables() -> list[Difference]:
        return [
            *islice(compare_with_fresh_fold(store, as_of_us=as_of_us), MOST_OF_A_KIND),
            *compare_columns_alone(store),
            *events_told_twice(store),
            *(islice(compare_with_oracle(store, document), MOST_OF_A_KIND) if document else ()),
        ]

    found = await asyncio.to_thread(of_tables)
    if document is None:
        return found
    gate = await compare_with_gate(bootstrap, document)
    return [*found, *gate[:MOST_OF_A_KIND], *await compare_dead_letters(bootstrap, document)]


def _say(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r{text:40}", end="", file=sys.stderr, flush=True)
