"""`/healthz`, `/readyz` and `/metrics`: without authentication, and cheap to call."""

import asyncio
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

from fastapi import FastAPI, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from gateway.api.models.common import Status
from gateway.openapi import ResponseSpec, operation
from gateway.problems import RETRY_SECONDS, Problem
from processors.kafka.ports import RecordProducer
from projections.store import Store
from schemas.errors import BrokerError, SendledgerError
from schemas.telemetry import Telemetry

__all__ = ["Readiness", "route"]

_READY_WITHIN_SECONDS: Final = 3.0


class Readiness:
    """Checks Kafka and ClickHouse; concurrent callers share one check."""

    def __init__(self, store: Store, kafka: RecordProducer, *, within_seconds: float = _READY_WITHIN_SECONDS) -> None:
        self._store, self._kafka, self._within = store, kafka, within_seconds
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ready")  # a hanging store blocks only this thread
        self._ping: Future[None] | None = None
        self._check: asyncio.Task[list[str]] | None = None

    async def unreachable(self) -> list[str]:
        """Return the services that can't be reached."""
        if self._check is None or self._check.done():
            self._check = asyncio.create_task(self._run_check(), name="readiness")
        return await asyncio.shield(self._check)

    def close(self) -> None:
        """Stop checking."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _run_check(self) -> list[str]:
        store, kafka = await asyncio.gather(self._store_responds(), self._kafka_responds())
        return ["ClickHouse"] * (not store) + ["Kafka"] * (not kafka)

    async def _store_responds(self) -> bool:
        if self._ping is None or self._ping.done():  # otherwise the previous ping still hangs
            self._ping = self._thread.submit(self._store.ping)
        try:
            async with asyncio.timeout(self._within):
                await asyncio.shield(asyncio.wrap_future(self._ping))
        except (SendledgerError, TimeoutError):
            return False
        return True

    async def _kafka_responds(self) -> bool:
        try:
            async with asyncio.timeout(self._within):
                await self._kafka.metadata()
        except (BrokerError, TimeoutError):
            return False
        return self._kafka.healthy


def route(app: FastAPI, readiness: Readiness, telemetry: Telemetry) -> None:
    """Add the three routes to `app`."""

    @app.get(
        "/healthz",
        tags=["health"],
        **operation("getHealth", {200: ResponseSpec("Alive", Status)}, codes=("internal-error",), security=None),
    )
    async def alive() -> dict[str, str]:
        """The process answers."""
        return {"status": "alive"}

    @app.get(
        "/readyz",
        tags=["health"],
        **operation(
            "getReadiness", {200: ResponseSpec("Ready", Status)}, codes=("internal-error", "not-ready"), security=None
        ),
    )
    async def ready() -> dict[str, str]:
        """Kafka and ClickHouse answer, too, and the producer works."""
        if services := await readiness.unreachable():
            detail = f"{' and '.join(services)} can't be reached"
            raise Problem("not-ready", detail, headers={"Retry-After": RETRY_SECONDS})
        return {"status": "ready"}

    @app.get(
        "/metrics",
        tags=["health"],
        **operation(
            "getMetrics",
            {200: ResponseSpec("Prometheus' text", media=("text/plain",))},
            codes=("internal-error",),
            security=None,
        ),
    )
    async def metrics() -> Response:
        """Prometheus' format. Keep it off the internet."""
        return Response(generate_latest(telemetry.registry), media_type=CONTENT_TYPE_LATEST)
