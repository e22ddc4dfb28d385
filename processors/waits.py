"""What a worker says while Kafka or ClickHouse is away: a line and a count for each wait, whichever worker it is."""

from collections.abc import Callable

import structlog

from processors.engine import Retry
from schemas.telemetry import Telemetry

__all__ = ["telling"]

log = structlog.get_logger()


def telling(telemetry: Telemetry, program: str) -> Callable[[Retry], None]:
    """Return what an engine's `on_retry` is to call in this program."""

    def tell(retry: Retry) -> None:
        of = type(retry.fault).__name__
        telemetry.counter("retries_total", of).inc()
        log.warning(
            "world.waited",
            program=program,
            of=of,
            attempts=retry.attempts,
            wait_seconds=round(retry.wait_seconds, 2),
            fault=str(retry.fault)[:500],
        )

    return tell
