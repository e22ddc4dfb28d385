"""`/healthz`, `/readyz` and `/metrics`: open to everybody who reaches the gateway, and cheap for everybody to ask."""

import asyncio
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

from fastapi import FastAPI, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from application.writing import Kafka
from gateway.answers import Status
from gateway.openapi import Answer, operation
from gateway.problems import RETRY_SECONDS, Problem
from projections.store import Store
from schemas.errors import BrokerError, SendledgerError
from schemas.telemetry import Telemetry

__all__ = ["Readiness", "route"]

_READY_WITHIN_SECONDS: Final = 3.0


class Readiness:
    """Asks Kafka and ClickHouse, once for all who want to know at the same time."""

    def __init__(self, store: Store, kafka: Kafka, *, within_seconds: float = _READY_WITHIN_SECONDS) -> None:
        self._store, self._kafka, self._within = store, kafka, within_seconds
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ready")  # a hung store holds this one and no other
        self._ping: Future[None] | None = None
        self._look: asyncio.Task[list[str]] | None = None

    async def away(self) -> list[str]:
        """Return the services that can't be reached."""
        if self._look is None or self._look.done():
            self._look = asyncio.create_task(self._looked(), name="readiness")
        return await asyncio.shield(self._look)

    def close(self) -> None:
        """Ask no more."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _looked(self) -> list[str]:
        store, kafka = await asyncio.gather(self._store_answers(), self._kafka_answers())
        return ["ClickHouse"] * (not store) + ["Kafka"] * (not kafka)

    async def _store_answers(self) -> bool:
        if self._ping is None or self._ping.done():  # else the last one still hangs
            self._ping = self._thread.submit(self._store.ping)
        try:
            async with asyncio.timeout(self._within):
                await asyncio.shield(asyncio.wrap_future(self._ping))
        except (SendledgerError, TimeoutError):
            return False
        return True

    async def _kafka_answers(self) -> bool:
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
        **operation("getHealth", {200: Answer("Alive", Status)}, codes=("internal-error",), security=None),
    )
    async def alive() -> dict[str, str]:
        """The process answers."""
        return {"status": "alive"}

    @app.get(
        "/readyz",
        tags=["health"],
        **operation(
            "getReadiness", {200: Answer("Ready", Status)}, codes=("internal-error", "not-ready"), security=None
        ),
    )
    async def ready() -> dict[str, str]:
        """Kafka and ClickHouse answer, too, and the producer works."""
        if away := await readiness.away():
            said = f"{' and '.join(away)} can't be reached"
            raise Problem("not-ready", said, headers={"Retry-After": RETRY_SECONDS})
        return {"status": "ready"}

    @app.get(
        "/metrics",
        tags=["health"],
        **operation(
            "getMetrics",
            {200: Answer("Prometheus' text", media=("text/plain",))},
            codes=("internal-error",),
            security=None,
        ),
    )
    async def metrics() -> Response:
        """Prometheus' format. Keep it off the internet."""
        return Response(generate_latest(telemetry.registry), media_type=CONTENT_TYPE_LATEST)
