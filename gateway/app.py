"""The gateway: one ASGI application, created from settings and clients.

In:  HTTP. Out: webhooks, requests and commands into Kafka, rows out of ClickHouse, and its own health.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Literal

from fastapi import FastAPI

from application.decisions import DecisionListener
from application.raw_events import RawEvents, ReadRecord
from application.signatures.keys import load_keys
from gateway import health, openapi, problem_page, problems
from gateway.api import accounts, bounces, bulk_releases, dead_letters, messages, one_message, sends, stats, weather
from gateway.api.suppressions import command_routes, read_routes
from gateway.bulk_releaser import BulkReleaser
from gateway.console import routes as console
from gateway.middleware import RequestMiddleware
from gateway.read_pool import ReadPool
from gateway.throttle import Throttle
from gateway.uploads import UploadBuffers
from gateway.webhooks import routes as webhooks
from processors.kafka.ports import RecordProducer
from processors.kafka.read_topic import read_record
from processors.tracing import OFF, Tracing
from projections.store import Store
from schemas.settings import GatewaySettings
from schemas.telemetry import UP, Telemetry

__all__ = ["Only", "create_app"]

Only = Literal["console"]
"""The part of the gateway that a process of its own may be."""


def create_app(
    settings: GatewaySettings,
    store: Store,
    kafka: RecordProducer,
    telemetry: Telemetry,
    *,
    tracing: Tracing = OFF,
    only: Only | None = None,
    read_one: ReadRecord | None = None,
) -> FastAPI:
    """Return the application. Its lifespan starts and stops `kafka` and the decision listener, and closes `store`.

    With `only` it serves nothing but this part, and health. `read_one` reads a record; by default from Kafka.
    """
    listener = DecisionListener(settings.kafka)
    reads = ReadPool(at_once=settings.reads_at_once, per_token=settings.reads_per_token)
    readiness = health.Readiness(store, kafka)
    uploads = UploadBuffers(budget_bytes=settings.body_bytes, seconds=settings.body_seconds)
    throttle = Throttle(
        writes_per_second=settings.writes_per_second,
        reads_per_second=settings.reads_per_second,
        failures_per_minute=settings.failures_per_minute,
    )

    app = FastAPI(
        title="sendledger",
        summary="What became of every email and SMS",
        version="1",
        lifespan=_lifespan(kafka, None if only else listener, telemetry, (reads.close, readiness.close, store.close)),
        docs_url=None,  # its page loads scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,  # a redirect would name whatever the Host header claims
    )
    failures = problems.FailureReporter(telemetry)
    app.state.uploads, app.state.throttle, app.state.failures = uploads, throttle, failures
    app.state.public_path = problems.path_of(settings.public_url)
    problems.install(app, failures, throttle.count_failure)
    app.add_middleware(
        RequestMiddleware, telemetry=telemetry, failures=failures, uploads=uploads, seconds=settings.request_seconds
    )
    read_weather = weather.weather_reader(settings, store, reads, telemetry if only is None else None)
    raw_events = RawEvents(read_one or partial(read_record, settings.kafka), load_keys(settings))
    if only is None:
        for provider in webhooks.providers(settings):
            webhooks.route(app, provider, kafka, telemetry, tracing, settings.public_url)
        _add_api(app, settings, store, kafka, listener, reads, raw_events)
        app.include_router(weather.router(settings, read_weather))
    if settings.console or only == "console":
        console.install(app, settings, store, kafka, reads, readiness, read_weather, raw_events)
    health.route(app, readiness, telemetry)
    problem_page.route(app)
    openapi.describe(app)
    return app


def _lifespan(
    kafka: RecordProducer,
    listener: DecisionListener | None,
    telemetry: Telemetry,
    at_the_end: Sequence[Callable[[], None]],
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await kafka.start()
        if listener is not None:
            await listener.start()
        telemetry.gauge(UP, program="gateway").set(1)
        try:
            yield
        finally:
            telemetry.gauge(UP, program="gateway").set(0)
            if listener is not None:
                await listener.stop()
            await kafka.stop()
            for close in at_the_end:
                close()

    return lifespan


def _add_api(
    app: FastAPI,
    settings: GatewaySettings,
    store: Store,
    kafka: RecordProducer,
    listener: DecisionListener,
    reads: ReadPool,
    raw_events: RawEvents,
) -> None:
    """Add what programs call."""
    app.include_router(sends.router(settings, kafka, listener, store, reads))
    app.include_router(messages.router(settings, store, reads))
    app.include_router(one_message.router(settings, store, reads, raw_events))
    app.include_router(command_routes.router(settings, store, kafka, reads))
    app.include_router(read_routes.router(settings, store, reads))
    app.include_router(bounces.router(settings, store, reads))
    app.include_router(bulk_releases.router(settings, BulkReleaser(settings, store, kafka, reads)))
    app.include_router(stats.router(settings, store, reads))
    app.include_router(accounts.router(settings, store, kafka, reads))
    app.include_router(dead_letters.router(settings))
