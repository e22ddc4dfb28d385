"""What a worker says while it waits in place: a line and a count for each wait, whichever worker it is."""

from collections.abc import Callable

import structlog

from processors.engine import EveryRecordFails, Retry
from schemas.errors import BrokerDenied
from schemas.telemetry import Telemetry

__all__ = ["telling"]

log = structlog.get_logger()

_SOMEBODYS = (EveryRecordFails, BrokerDenied)
"""Faults that no waiting mends: somebody has to act."""


def telling(telemetry: Telemetry, program: str) -> Callable[[Retry], None]:
    """Return what an engine's `on_retry` is to call in this program."""

    def tell(retry: Retry) -> None:
        fault, of = retry.fault, type(retry.fault).__name__
        telemetry.counter("retries_total", of).inc()
        say = log.error if isinstance(fault, _SOMEBODYS) else log.warning
        say(
            "world.waited",
            program=program,
            of=of,
            attempts=retry.attempts,
            wait_seconds=round(retry.wait_seconds, 2),
            what=str(getattr(fault, "what", fault))[:500],
            where=getattr(fault, "where", "Kafka"),
            mend=getattr(fault, "mend", "none: it is repeated until it passes"),
        )

    return tell
