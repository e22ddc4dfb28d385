"""What both workers do before they read their first record, and the errors of that: 3 to mend, 4 to wait for.

Whatever the operator has to mend is a ConfigError with what, where and the mend; Kafka's absence is a BrokerError.
"""

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import structlog
from prometheus_client import start_http_server

from processors.dead_letters import failed_lately
from processors.engine import FaultLimit
from processors.engine.run import SIGNALS
from processors.kafka import Producer
from schemas.errors import ConfigError, SendledgerError
from schemas.settings import PREFIX, WorkerSettings
from schemas.telemetry import Telemetry

__all__ = ["metrics_shown", "own_folder", "producer_of", "remember_failures", "stoppable"]

log = structlog.get_logger()

_REMEMBERED_WITHIN_SECONDS = 10.0


async def stoppable(run: Coroutine[Any, Any, int]) -> int:
    """Run a worker, which ends with 0 if it is told to stop before it has begun to read. `run_app` takes over then."""
    running = asyncio.ensure_future(run)
    asked = asyncio.Event()
    for number in SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, asked.set)
    told = asyncio.create_task(asked.wait(), name="stopped before it began")
    try:
        await asyncio.wait({running, told}, return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            return running.result()
        running.cancel()
        await asyncio.wait({running})
        return 0 if running.cancelled() else running.result()
    finally:
        told.cancel()


@contextmanager
def metrics_shown(settings: WorkerSettings, telemetry: Telemetry) -> Iterator[None]:
    """Answer `/metrics` meanwhile, if a port is set. Raises ConfigError where it can't be had."""
    if not settings.metrics_port:
        yield
        return
    try:
        server, thread = start_http_server(settings.metrics_port, settings.metrics_host, telemetry.registry)
    except (OSError, UnicodeError) as error:  # UnicodeError: a host name that IDNA does not know
        raise ConfigError(
            f"The metrics can't be shown: {_said(error)}",
            f"{settings.metrics_host}:{settings.metrics_port}",
            f"Stop what listens there, or set {PREFIX}METRICS_PORT (0 for no metrics) and {PREFIX}METRICS_HOST; each "
            "worker needs a port of its own",
        ) from error
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def own_folder(settings: WorkerSettings, name: str) -> Path:
    """Return the worker's own folder, made and written to. Raises ConfigError where that fails."""
    folder = settings.worker_dir / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder):
            pass
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"The worker can't write to its folder: {_said(error)}",
            f"{PREFIX}WORKER_DIR, {folder}",
            "Set it to a folder that this user may write to",
        ) from error
    return folder


@asynccontextmanager
async def producer_of(bootstrap: str, telemetry: Telemetry) -> AsyncIterator[Producer]:
    """Give the worker's producer, started. Raises BrokerError."""
    kafka = Producer(bootstrap, on_renewed=lambda why: telemetry.counter("producers_renewed_total", why).inc())
    try:
        await kafka.start()
        yield kafka
    finally:
        await kafka.stop()


async def remember_failures(limit: FaultLimit, bootstrap: str, processor: str) -> None:
    """Count the dead letters of the last minutes that our code or the store has to answer for.

    So a worker that ends because they are too many, and is started again, does not park as many once more.
    """
    try:
        async with asyncio.timeout(_REMEMBERED_WITHIN_SECONDS):
            ages = await failed_lately(bootstrap, processor, limit.within_seconds, limit.most)
    except (SendledgerError, TimeoutError) as error:  # rather a worker with a short memory than none
        log.warning(
            "failures.not_remembered", what=str(error), where="dead-letters", mend="none: they count from now on"
        )
        return
    limit.remember(ages)
    if ages:
        log.warning(
            "failures.remembered",
            count=len(ages),
            where=f"dead-letters of the last {limit.within_seconds:.0f} s",
            mend=f"Over {limit.most} the worker ends at the next one: roll back or mend the code",
        )


def _said(error: Exception) -> str:
    return os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
