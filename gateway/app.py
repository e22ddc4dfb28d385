"""The gateway: one ASGI application, made from settings and the clients that it is given.

In:  HTTP. Out: webhooks, requests and commands into Kafka, rows out of ClickHouse, and its own health.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from application.decisions import DecisionListener
from application.writing import Kafka
from gateway import accounts, bounces, health, messages, one_message, openapi, problem_page, problems, sends, stats
from gateway.answering import Answering
from gateway.intake import webhooks
from gateway.reads import Reads
from gateway.suppressions import reading
from gateway.suppressions import routes as suppressions
from gateway.throttle import Throttle
from gateway.uploads import Uploads
from projections.store import Store
from schemas.settings import GatewaySettings
from schemas.telemetry import Telemetry

__all__ = ["create_app"]


def create_app(settings: GatewaySettings, store: Store, kafka: Kafka, telemetry: Telemetry) -> FastAPI:
    """Return the application. It starts and stops `kafka`, closes `store`, and reads decisions while it lives."""
    listener = DecisionListener(settings.kafka_bootstrap)
    reads = Reads(at_once=settings.reads_at_once, per_token=settings.reads_per_token)
    readiness = health.Readiness(store, kafka)
    uploads = Uploads(budget_bytes=settings.body_bytes, seconds=settings.body_seconds)
    throttle = Throttle(
        writes_per_second=settings.writes_per_second,
        reads_per_second=settings.reads_per_second,
        failures_per_minute=settings.failures_per_minute,
    )

    @asynccontextmanager
    async def living(_: FastAPI) -> AsyncIterator[None]:
        await kafka.start()
        await listener.start()
        telemetry.gauge("up", "gateway").set(1)
        try:
            yield
        finally:
            telemetry.gauge("up", "gateway").set(0)
            await listener.stop()
            await kafka.stop()
            reads.close()
            readiness.close()
            store.close()

    app = FastAPI(
        title="sendledger",
        summary="What became of every email and SMS",
        version="1",
        lifespan=living,
        docs_url=None,  # its page loads scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,  # a redirect would name whatever the Host header claims
    )
    failures = problems.Failures(telemetry)
    app.state.uploads, app.state.throttle = uploads, throttle
    app.state.public_path = problems.path_of(settings.public_url)
    problems.install(app, failures, throttle.of_failure)
    app.add_middleware(
        Answering, telemetry=telemetry, failures=failures, uploads=uploads, seconds=settings.request_seconds
    )
    for provider in webhooks.providers(settings):
        webhooks.route(app, provider, kafka, telemetry, settings.public_url)
    app.include_router(sends.router(settings, kafka, listener, store, reads))
    app.include_router(messages.router(settings, store, reads))
    app.include_router(one_message.router(settings, store, reads))
    app.include_router(suppressions.router(settings, store, kafka, reads))
    app.include_router(reading.router(settings, store, reads))
    app.include_router(bounces.router(settings, store, reads))
    app.include_router(stats.router(settings, store, reads))
    app.include_router(accounts.router(settings, store, kafka, reads))
    health.route(app, readiness, telemetry)
    problem_page.route(app)
    openapi.describe(app)
    return app
