"""The ledger worker: one agent per topic, all feeding one writer.

Delivery guarantee: at least once, and idempotent, so every record counts once. A record is acknowledged after its rows
and dead letters are stored. If a worker dies, the next one reads the same records again.
"""

import asyncio
from collections.abc import Callable
from contextlib import ExitStack, closing

import pyarrow as pa
import structlog

from processors.ledger.following import FollowsShown, GroupWrite
from processors.ledger.match import Matcher, sweep_periodically
from processors.ledger.write import TRANSIENT_ERRORS, LedgerWriter
from processors.tracing import tracing_of
from processors.worker import Worker, run_worker
from projections.store import Store, generations
from schemas.errors import StoreDenied, StoreError
from schemas.log_events import LogEvent
from schemas.settings import LedgerSettings
from schemas.topics import LEDGER_INPUTS

__all__ = ["attach_ledger", "run_ledger"]

log = structlog.get_logger()


async def run_ledger(settings: LedgerSettings, *, ready: Callable[[], None] = lambda: None) -> int:
    """Run the worker until it is stopped or crashes; return its exit code. Raises ConfigError and BrokerError."""
    views = Store.of(settings, reads_own_writes=True)
    store = Store.of(settings, reads_own_writes=True, generation=generations.FIRST)

    async def attach(worker: Worker) -> None:
        tracing = tracing_of(settings, "ledger", worker.telemetry)
        opened.callback(tracing.close)
        ledger = LedgerWriter(
            store,
            worker.letters,
            worker.telemetry,
            worker.limit,
            decision_days=settings.decision_days,
            tracing=tracing,
        )
        following = FollowsShown(store, lambda: generations.shown_now(views), ledger.write)
        attach_ledger(worker, settings, following.write, ledger.matcher)
        await _warm_up(views)

    with closing(store), closing(views), ExitStack() as opened:
        return await run_worker("ledger", settings, settings.consumer_group, attach, ready=ready, inflight=4)


def attach_ledger(worker: Worker, settings: LedgerSettings, write: GroupWrite, matcher: Matcher) -> None:
    """Have the worker pass all records of the log to `write`, and match orphan events from time to time."""
    worker.read(
        LEDGER_INPUTS,
        write,
        records=settings.group_records,
        body_bytes=settings.group_bytes,
        first_bytes=settings.group_bytes // 4,
        within=settings.group_seconds,
        transient=TRANSIENT_ERRORS,
    )

    async def sweep() -> None:
        await sweep_periodically(matcher, settings.sweep_seconds, worker.app.stopping)

    worker.app.task(sweep, traced=False)


async def _warm_up(views: Store) -> None:
    """Prepare what the first group would wait for: pyarrow imports pandas with its first array; the store connects.

    Raises StoreDenied: with a wrong password nothing could ever be stored.
    """
    # So that `release_memory` works: Arrow's own pool keeps freed memory.
    pa.set_memory_pool(pa.system_memory_pool())
    pa.array([None])
    try:
        await asyncio.to_thread(views.ping)
    except StoreDenied:
        raise
    except StoreError as error:  # an unavailable store is retried with the first group
        log.warning(LogEvent.LEDGER_STORE_UNAVAILABLE, what=error.what, where=error.where, mend=error.mend)
