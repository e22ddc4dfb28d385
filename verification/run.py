"""Run `verify`: wait until the workers have read everything up to the call, then compare.

It may run during traffic, so rows that are just being written must not count. Messages with events after the call are
left out of the comparison with the recomputation, and only differences that two runs find count, with a sweep between
them.
"""

import asyncio
import sys
import time
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Final

from processors.kafka.lag import wait_until_caught_up
from projections.store import Store
from projections.store.generations import ShownStore
from schemas.consumer_groups import consumer_groups
from schemas.kafka_connection import KafkaAddress
from schemas.settings import VerifySettings
from verification.columns_alone import compare_columns_alone
from verification.difference import Difference
from verification.gate import compare_with_gate
from verification.oracle import Document, compare_dead_letters, compare_with_oracle, read_oracle
from verification.recomputation import compare_with_recomputation, duplicate_events

__all__ = ["confirmed_differences", "verify"]

MAX_DIFFERENCES: Final = 1_000
"""The most differences of one comparison that are listed."""

SWEPT_WITHIN_SECONDS: Final = 5.0
"""The assumed duration of a sweep."""


async def verify(settings: VerifySettings, oracles: Sequence[Path], timeout_seconds: float) -> list[Difference]:
    """Return all differences; records that stay unread are one, too. Raises StoreError or BrokerError."""
    documents = [read_oracle(oracle) for oracle in oracles]
    as_of_us = time.time_ns() // 1000
    behind = await wait_until_caught_up(
        settings.kafka,
        consumer_groups(settings.consumer_group, settings.gate_group),
        within_seconds=timeout_seconds,
        say=lambda behind: _say(f"{behind:,} records behind"),
    )
    if behind:
        return [Difference("lag", f"after {timeout_seconds:g} s", "records of before the call", 0, behind)]
    store = ShownStore.of(settings)
    try:
        found = await _compare(store, settings.kafka, documents, as_of_us)
        if found:
            # The next sweep corrects some rows (after an earlier copy of an event, for example): compare once more.
            _say(f"{len(found):,} differences; waiting for a sweep")
            await asyncio.sleep(settings.sweep_seconds + SWEPT_WITHIN_SECONDS)
            found = confirmed_differences(found, await _compare(store, settings.kafka, documents, as_of_us))
        return found
    finally:
        store.close()


def confirmed_differences(first: Iterable[Difference], second: Iterable[Difference]) -> list[Difference]:
    """Return those differences of the second run whose value differed in the first run, too."""
    before = {(difference.of, difference.id, difference.name) for difference in first}
    return [difference for difference in second if (difference.of, difference.id, difference.name) in before]


async def _compare(
    store: Store, bootstrap: KafkaAddress, oracles: Sequence[Document], as_of_us: int
) -> list[Difference]:
    def compare_tables() -> list[Difference]:
        return [
            *islice(compare_with_recomputation(store, as_of_us=as_of_us), MAX_DIFFERENCES),
            *compare_columns_alone(store),
            *duplicate_events(store),
            *(one for oracle in oracles for one in islice(compare_with_oracle(store, oracle), MAX_DIFFERENCES)),
        ]

    found = await asyncio.to_thread(compare_tables)
    for oracle in oracles:
        gate = await compare_with_gate(bootstrap, oracle)
        found += [*gate[:MAX_DIFFERENCES], *await compare_dead_letters(bootstrap, oracle)]
    return found


def _say(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r{text:40}", end="", file=sys.stderr, flush=True)
