"""The ledger worker: an agent a topic, all feeding one writer.

Delivery guarantee: at least once, and idempotent, so every record counts once. A record is acknowledged after its rows
and letters are stored; a worker that dies is followed by one that reads the same records again.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress

import pyarrow as pa
import structlog
from prometheus_client import start_http_server

from processors.collector import calm_collector
from processors.dead_letters import DeadLetters, producer
from processors.engine import FaultLimit, GroupWriter, MicroBatchApp, run_app
from processors.lag import show_lag
from processors.ledger.matching import Matcher, sweep_now_and_then
from processors.ledger.writing import WORLD, LedgerWriter
from processors.waits import telling
from projections.store import Store
from schemas.errors import StoreError
from schemas.settings import LedgerSettings
from schemas.telemetry import Telemetry
from schemas.topics import LEDGER_INPUTS

__all__ = ["run_ledger"]

log = structlog.get_logger()


async def run_ledger(settings: LedgerSettings, *, ready: Callable[[], None] = lambda: None) -> int:
    """Run the worker until it is stopped or crashes; return its exit code."""
    telemetry = Telemetry()
    store = Store(settings.clickhouse_url.get_secret_value(), database=settings.clickhouse_database)
    kafka = producer(settings.kafka_bootstrap)
    app = MicroBatchApp(
        settings.consumer_group,
        broker="kafka://" + ";kafka://".join(settings.kafka_bootstrap.split(",")),
        datadir=settings.worker_dir / settings.instance,
        instance=f"{settings.consumer_group}-{settings.instance}",
        inflight=4,
    )
    letters = DeadLetters(kafka, "ledger")
    ledger = LedgerWriter(store, letters, telemetry, FaultLimit(), decision_days=settings.decision_days)
    writer = GroupWriter(
        app,
        ledger.write,
        records=settings.group_records,
        body_bytes=settings.group_bytes,
        first_bytes=settings.group_bytes // 4,
        within=settings.group_seconds,
        world=WORLD,
        on_retry=telling(telemetry, "ledger"),
    )
    for topic in LEDGER_INPUTS:
        app.attach(app.batch_topic(topic.name), writer)
    show_lag(app, settings.consumer_group, telemetry)
    if settings.metrics_port:
        start_http_server(settings.metrics_port, settings.metrics_host, telemetry.registry)

    def announce() -> None:
        telemetry.gauge("up", "ledger").set(1)
        log.info("ledger.assigned", instance=settings.instance)
        ready()

    # What the first group need not wait for: pyarrow imports pandas with its first array, and the store shakes hands.
    pa.array([None])
    with suppress(StoreError):  # a store that is away is waited for with the first group in hand
        await asyncio.to_thread(store.ping)
    calm_collector()
    await kafka.start()
    sweeping = asyncio.create_task(_sweep(app, ledger.matcher, settings.sweep_seconds), name="sweep")
    try:
        return await run_app(app, ready=announce)
    finally:
        sweeping.cancel()
        await kafka.stop()
        store.close()


async def _sweep(app: MicroBatchApp, matcher: Matcher, every_seconds: float) -> None:
    try:
        await sweep_now_and_then(matcher, every_seconds, app.stopping)
    except Exception as error:  # a mistake of ours: nobody would notice that nothing is swept any more
        await app.crash(error)
