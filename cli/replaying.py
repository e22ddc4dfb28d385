"""The work of `replay`: which window of which topic, and what is printed."""

import sys
from collections.abc import Mapping
from contextlib import aclosing, closing
from typing import Any, Final

from cli.options import time_us
from cli.output import show
from cli.stores import open_store
from processors.kafka.read_topic import AtOffset, AtTime, Bound, read_topic
from processors.ledger.replay import Replayed, replay
from projections.store import Store, generations
from schemas.errors import ConfigError, RequestError
from schemas.settings import ReplaySettings
from schemas.topics import LEDGER_INPUTS

__all__ = ["bound_of", "run_replay", "show_replayed"]

_DIGITS: Final = 20
"""Offsets have fewer digits."""


def bound_of(option: str, text: str) -> Bound:
    """Return the bound that `--since` or `--until` states: digits are an offset, all else a time or date in UTC.

    Raises RequestError.
    """
    if text.isascii() and text.isdecimal() and len(text) < _DIGITS:
        return AtOffset(int(text))
    us = time_us(option, text, example="a time, a date or an offset: 2026-11-30T08:00:00Z, 2026-11-30 or 1200")
    return AtTime(-(-us // 1000))  # up: Kafka's times are milliseconds, and an earlier one is not in the window


async def run_replay(
    settings: ReplaySettings, topic: str, since: Bound, until: Bound | None, *, dry_run: bool
) -> Replayed:
    """Replay the window into the shown generation. Raises RequestError, BrokerError, StoreError and ConfigError."""
    names = sorted(one.name for one in LEDGER_INPUTS)
    if topic not in names:
        raise RequestError(
            f"The tables have no rows of topic {topic!r:.60}", "--topic", f"Give one of {', '.join(names)}"
        )
    with open_store(settings) as views:
        generation = generations.shown(views)
    if generation is None:
        raise ConfigError("The database has no tables", "SENDLEDGER_CLICKHOUSE_DATABASE", "Run `sendledger migrate`")
    with closing(Store.of(settings, generation=generation, reads_own_writes=True)) as store:
        async with aclosing(read_topic(settings.kafka, topic, since=since, until=until)) as records:
            return await replay(
                store, records, decision_days=settings.decision_days, dry_run=dry_run, progress=_show_progress
            )


def show_replayed(done: Replayed, *, dry_run: bool, as_json: bool) -> None:
    """Print the records read, and the rows and rejected records by kind."""
    if as_json:
        summary: Mapping[str, Any] = {
            "records": done.records,
            "rows": dict(done.rows),
            "rejected": dict(done.rejected),
            "dry_run": dry_run,
        }
        show([summary], as_json=True)
        return
    show(
        [
            {"what": "records read", "of": "", "number": done.records},
            *(
                {"what": "rows that would be written" if dry_run else "rows written", "of": table, "number": number}
                for table, number in sorted(done.rows.items())
            ),
            *(
                {"what": "rejected, no row", "of": reason, "number": number}
                for reason, number in sorted(done.rejected.items())
            ),
        ],
        as_json=False,
    )


def _show_progress(done: Replayed) -> None:
    print(f"{done.records:,} records, {done.rows.total():,} rows", file=sys.stderr, flush=True)
