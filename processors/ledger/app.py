"""The ledger worker: an agent a topic, all feeding one writer.

Delivery guarantee: at least once, and idempotent, so every record counts once. A record is acknowledged after its rows
and letters are stored; a worker that dies is followed by one that reads the same records again.
"""

import asyncio
from collections.abc import Callable
from contextlib import closing

import pyarrow as pa
import structlog

from processors.dead_letters import DeadLetters
from processors.engine import FaultLimit, GroupWriter, MicroBatchApp, run_app
from processors.lag import show_lag
from processors.ledger.matching import Matcher, sweep_now_and_then
from processors.ledger.writing import WORLD, LedgerWriter
from processors.memory import calm_collector, give_back
from processors.waits import telling
from processors.worker import metrics_shown, own_folder, producer_of, remember_failures, stoppable
from projections.store import Store, generations
from schemas.errors import BrokerDenied, StoreDenied, StoreError
from schemas.settings import LedgerSettings
from schemas.telemetry import Telemetry
from schemas.topics import LEDGER_INPUTS

__all__ = ["run_ledger"]

log = structlog.get_logger()


async def run_ledger(settings: LedgerSettings, *, ready: Callable[[], None] = lambda: None) -> int:
    """Run the worker until it is stopped or crashes; return its exit code. Raises ConfigError and BrokerError."""
    return await stoppable(_run(settings, ready))


async def _run(settings: LedgerSettings, ready: Callable[[], None]) -> int:
    telemetry = Telemetry()
    store = Store(
        settings.clickhouse_url.get_secret_value(),
        database=settings.clickhouse_database,
        generation=generations.FIRST,
    )
    datadir = own_folder(settings, settings.instance)
    with metrics_shown(settings, telemetry), closing(store):
        async with producer_of(settings.kafka_bootstrap, telemetry) as kafka:
            app = MicroBatchApp(
                settings.consumer_group,
                broker="kafka://" + ";kafka://".join(settings.kafka_bootstrap.split(",")),
                datadir=datadir,
                instance=f"{settings.consumer_group}-{settings.instance}",
                metadata_max_age=settings.metadata_seconds,
                inflight=4,
                after_large=give_back,
            )
            limit = FaultLimit()
            letters = DeadLetters(kafka, "ledger", telemetry)
            ledger = LedgerWriter(store, letters, telemetry, limit, decision_days=settings.decision_days)
            writer = GroupWriter(
                app,
                ledger.write,
                records=settings.group_records,
                body_bytes=settings.group_bytes,
                first_bytes=settings.group_bytes // 4,
                within=settings.group_seconds,
                world=WORLD,
                lasting=(BrokerDenied,),
                on_retry=telling(telemetry, "ledger"),
            )
            for topic in LEDGER_INPUTS:
                app.attach(app.batch_topic(topic.name), writer)
            show_lag(app, settings.consumer_group, telemetry)

            def announce() -> None:
                telemetry.gauge("up", "ledger").set(1)
                log.info("ledger.assigned", instance=settings.instance)
                ready()

            pa.set_memory_pool(pa.system_memory_pool())  # `give_back` returns what it frees; Arrow's own keeps much
            # What the first group need not wait for: pyarrow imports pandas with its first array, and the store shakes
            # hands.
            pa.array([None])
            try:
                await asyncio.to_thread(store.ping)
            except StoreDenied:  # a wrong password is the configuration: nothing would ever be stored with it
                raise
            except StoreError as error:  # a store that is away is waited for with the first group in hand
                log.warning("ledger.store_away", what=error.what, where=error.where, mend=error.mend)
            calm_collector()
            await remember_failures(limit, settings.kafka_bootstrap, "ledger")
            sweeping = asyncio.create_task(_sweep(app, ledger.matcher, settings.sweep_seconds), name="sweep")
            try:
                return await run_app(app, ready=announce)
            finally:
                sweeping.cancel()


async def _sweep(app: MicroBatchApp, matcher: Matcher, every_seconds: float) -> None:
    try:
        await sweep_now_and_then(matcher, every_seconds, app.stopping)
    except Exception as error:  # a mistake of ours: nobody would notice that nothing is swept any more
        await app.crash(error)
