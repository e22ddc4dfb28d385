"""The gateway: one ASGI application, made from settings and the clients that it is given.

In:  HTTP. Out: webhooks, requests and commands into Kafka, rows out of ClickHouse, and its own health.
"""

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import uvicorn
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from fastapi import FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.middleware.base import RequestResponseEndpoint

from gateway import accounts, bounces, messages, problems
from gateway.intake import webhooks
from gateway.problems import Problem
from gateway.sends import routes as sends
from gateway.sends.decided import Decided
from gateway.suppressions import reading
from gateway.suppressions import routes as suppressions
from gateway.writing import producer_of
from projections.store import Store
from schemas.errors import SendledgerError
from schemas.settings import GatewaySettings
from schemas.telemetry import Telemetry

__all__ = ["create_app", "serve"]

READY_WITHIN_SECONDS = 3.0


def create_app(settings: GatewaySettings, store: Store, kafka: AIOKafkaProducer, telemetry: Telemetry) -> FastAPI:
    """Return the application. It starts and stops `kafka`, closes `store`, and reads decisions while it lives."""
    decided = Decided(settings.kafka_bootstrap)

    @asynccontextmanager
    async def living(_: FastAPI) -> AsyncIterator[None]:
        await kafka.start()
        await decided.start()
        telemetry.gauge("up", "gateway").set(1)
        try:
            yield
        finally:
            telemetry.gauge("up", "gateway").set(0)
            await decided.stop()
            await kafka.stop()
            store.close()

    app = FastAPI(
        title="sendledger",
        summary="What became of every email and SMS",
        version="1",
        lifespan=living,
        docs_url=None,  # its page loads scripts from elsewhere
        redoc_url=None,
    )
    problems.install(app, telemetry)
    for provider in webhooks.providers(settings):
        webhooks.route(app, provider, kafka, telemetry, settings.public_url)
    app.include_router(sends.router(settings, kafka, telemetry, decided))
    app.include_router(messages.router(settings, store))
    app.include_router(suppressions.router(settings, store, kafka))
    app.include_router(reading.router(settings, store))
    app.include_router(bounces.router(settings, store))
    app.include_router(accounts.router(settings, store, kafka))
    _health(app, store, kafka, telemetry)

    @app.middleware("http")
    async def measured(request: Request, call_next: RequestResponseEndpoint) -> Response:
        started = asyncio.get_running_loop().time()
        response = await call_next(request)
        # The route's own name, never the path: labels are bounded.
        route = getattr(request.scope.get("route"), "path", "none")
        telemetry.counter("requests_total", route, str(response.status_code)).inc()
        telemetry.histogram("request_seconds", route).observe(asyncio.get_running_loop().time() - started)
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers.setdefault("Cache-Control", "no-store")
        return response

    return app


def _health(app: FastAPI, store: Store, kafka: AIOKafkaProducer, telemetry: Telemetry) -> None:
    @app.get("/healthz", tags=["health"])
    async def alive() -> dict[str, str]:
        """The process answers."""
        return {"status": "alive"}

    @app.get("/readyz", tags=["health"])
    async def ready() -> dict[str, str]:
        """Kafka and ClickHouse answer too."""
        away = []
        try:
            async with asyncio.timeout(READY_WITHIN_SECONDS):
                await run_in_threadpool(store.ping)
        except (SendledgerError, TimeoutError):
            away.append("ClickHouse")
        try:
            async with asyncio.timeout(READY_WITHIN_SECONDS):
                await kafka.client.fetch_all_metadata()
        except (KafkaError, TimeoutError):
            away.append("Kafka")
        if away:
            raise Problem(503, f"{' and '.join(away)} can't be reached", headers={"Retry-After": "5"})
        return {"status": "ready"}

    @app.get("/metrics", tags=["health"])
    async def metrics() -> Response:
        """Prometheus' format. Keep it off the internet."""
        return Response(generate_latest(telemetry.registry), media_type=CONTENT_TYPE_LATEST)


async def serve(settings: GatewaySettings) -> int:
    """Run the gateway until it is stopped."""
    store = Store(settings.clickhouse_url.get_secret_value(), database=settings.clickhouse_database)
    app = create_app(settings, store, producer_of(settings.kafka_bootstrap), Telemetry())
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_level="warning",
        access_log=False,
        proxy_headers=False,  # `peer` is who called us, not what a header claims
        server_header=False,
        timeout_graceful_shutdown=10,
    )
    server = _Server(config)
    await server.serve()
    return 0 if server.started else 1


class _Server(uvicorn.Server):
    """Ends with exit code 0 when it is asked to stop; uvicorn's own would end by the signal."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        yield
