"""What both workers have in common: they differ in what they attach to the app.

Problems that an operator has to fix are a ConfigError (exit code 3); an unavailable Kafka is a BrokerError (4).
"""

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import faust
import structlog
from prometheus_client import start_http_server

from processors.dead_letters import DeadLetters, recent_failures
from processors.engine import BatchGroup, FailureLimit, GroupWriter, MicroBatchApp, Retry, run_app
from processors.engine.run import SIGNALS
from processors.kafka import Producer
from processors.kafka.disks import disks_watched
from processors.kafka.lag import export_lag
from processors.memory_tuning import release_memory, tune_gc
from processors.process_memory import export_memory
from processors.retry_reporting import report_retries
from schemas.errors import BrokerDenied, ConfigError, SendledgerError
from schemas.kafka_connection import KafkaConnection
from schemas.log_events import LogEvent
from schemas.settings import PREFIX, WorkerSettings
from schemas.telemetry import UP, Telemetry
from schemas.topics import Topic

__all__ = ["Worker", "faust_credentials", "run_worker"]

log = structlog.get_logger()

_COUNT_WITHIN_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Worker:
    """A worker that is about to start: what its agents share."""

    app: MicroBatchApp
    telemetry: Telemetry
    producer: Producer
    letters: DeadLetters
    limit: FailureLimit
    on_retry: Callable[[Retry], None]

    def read(self, topics: Iterable[Topic], write: Callable[[BatchGroup], Awaitable[None]], **options: Any) -> None:
        """Write the records of `topics` in groups, with the `options` of a `GroupWriter`."""
        writer = GroupWriter(self.app, write, needs_operator=(BrokerDenied,), on_retry=self.on_retry, **options)
        for topic in topics:
            self.app.attach(self.app.batch_topic(topic.name), writer)


async def run_worker(
    program: Literal["ledger", "gate", "rebuild"],
    settings: WorkerSettings,
    group: str,
    attach: Callable[[Worker], Awaitable[None]],
    *,
    ready: Callable[[], None] = lambda: None,
    stop: asyncio.Event | None = None,
    **options: Any,
) -> int:
    """Run a worker of a consumer group until it is stopped, `stop` is set or it crashes; return its exit code.

    `attach` gives the app its agents. `ready` is called after each assignment. `options` are those of the app.

    Raises ConfigError and BrokerError.
    """
    return await _until_stopped(_run(program, settings, group, attach, ready, stop, options))


async def _run(
    program: str,
    settings: WorkerSettings,
    group: str,
    attach: Callable[[Worker], Awaitable[None]],
    ready: Callable[[], None],
    stop: asyncio.Event | None,
    options: dict[str, Any],
) -> int:
    telemetry, kafka = Telemetry(), settings.kafka
    app = MicroBatchApp(
        group,
        broker="kafka://" + ";kafka://".join(kafka.servers.split(",")),
        broker_credentials=faust_credentials(kafka),
        datadir=_folder(settings, program),
        instance=f"{group}-{settings.instance}",
        metadata_max_age=settings.metadata_seconds,
        after_large=release_memory,
        **options,
    )
    limit = FailureLimit(clock=app.clock)
    export_lag(app, group, telemetry)
    export_memory(telemetry)

    def announce() -> None:
        tune_gc()  # what the agents keep in memory is there by now
        telemetry.gauge(UP, program=program).set(1)
        log.info(LogEvent.WORKER_ASSIGNED, program=program, instance=settings.instance)
        ready()

    with _metrics_served(settings, telemetry):
        async with _started_producer(kafka, telemetry) as producer, disks_watched(kafka, telemetry):
            letters = DeadLetters(producer, program, telemetry)
            await attach(Worker(app, telemetry, producer, letters, limit, report_retries(telemetry, program)))
            await _count_recent_failures(limit, kafka, program)
            return await run_app(app, ready=announce, stop=stop)


def faust_credentials(kafka: KafkaConnection) -> Any:
    """Return what Faust makes its clients of Kafka with: None without TLS and SASL."""
    if kafka.sasl is not None:
        return faust.SASLCredentials(
            username=kafka.sasl.username,
            password=kafka.sasl.password.get_secret_value(),
            mechanism=kafka.sasl.mechanism,
            ssl_context=kafka.tls,  # with it, the protocol is SASL_SSL
        )
    return None if kafka.tls is None else faust.SSLCredentials(kafka.tls)


async def _until_stopped(run: Coroutine[Any, Any, int]) -> int:
    """Run a worker. A signal before `run_app` handles signals itself ends it with 0."""
    running = asyncio.ensure_future(run)
    stop_requested = asyncio.Event()
    for number in SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, stop_requested.set)
    signalled = asyncio.create_task(stop_requested.wait(), name="stopped before run_app")
    try:
        await asyncio.wait({running, signalled}, return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            return running.result()
        running.cancel()
        await asyncio.wait({running})
        return 0 if running.cancelled() else running.result()
    finally:
        signalled.cancel()


@contextmanager
def _metrics_served(settings: WorkerSettings, telemetry: Telemetry) -> Iterator[None]:
    """Serve `/metrics` meanwhile, if a port is set. Raises ConfigError if the port can't be opened."""
    if not settings.metrics_port:
        yield
        return
    try:
        server, thread = start_http_server(settings.metrics_port, settings.metrics_host, telemetry.registry)
    except (OSError, UnicodeError) as error:  # UnicodeError: an invalid host name
        raise ConfigError(
            f"The metrics server can't start: {_reason(error)}",
            f"{settings.metrics_host}:{settings.metrics_port}",
            f"Stop the program that uses the port, or set {PREFIX}METRICS_PORT (0 for no metrics) and "
            f"{PREFIX}METRICS_HOST; each worker needs its own port",
        ) from error
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _folder(settings: WorkerSettings, program: str) -> Path:
    """Create the worker's folder, check that it is writable, and return it. Raises ConfigError."""
    folder = settings.worker_dir / f"{program}-{settings.instance}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder):
            pass
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"The worker can't write to its folder: {_reason(error)}",
            f"{PREFIX}WORKER_DIR, {folder}",
            "Set it to a folder that this user may write to",
        ) from error
    return folder


@asynccontextmanager
async def _started_producer(kafka: KafkaConnection, telemetry: Telemetry) -> AsyncIterator[Producer]:
    """Start the worker's producer, and stop it at the end. Raises BrokerError."""
    producer = Producer(kafka, telemetry=telemetry)
    try:
        await producer.start()
        yield producer
    finally:
        await producer.stop()


async def _count_recent_failures(limit: FailureLimit, kafka: KafkaConnection, processor: str) -> None:
    """Count recent dead letters that our code or the store caused.

    So a worker that ended because there were too many does not park as many again after a restart.
    """
    try:
        async with asyncio.timeout(_COUNT_WITHIN_SECONDS):
            ages = await recent_failures(kafka, processor, limit.within_seconds, limit.most)
    except (SendledgerError, TimeoutError) as error:  # starting without the count is better than not starting
        log.warning(
            LogEvent.FAILURES_NOT_COUNTED,
            what=str(error),
            where="dead-letters",
            mend="none needed: failures count from now on",
        )
        return
    limit.remember(ages)
    if ages:
        log.warning(
            LogEvent.FAILURES_COUNTED,
            count=len(ages),
            where=f"dead-letters of the last {limit.within_seconds:.0f} s",
            mend=f"Over {limit.most} the worker ends at the next failure: roll back or fix the code",
        )


def _reason(error: Exception) -> str:
    return os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
