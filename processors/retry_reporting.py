"""Report each retry of a worker: a log line and a metric, the same for all workers."""

from collections.abc import Callable, Mapping
from typing import Final

import structlog

from processors.engine import Retry, TransientDependencyError
from processors.engine.errors import EveryRecordFails
from schemas.errors import BrokerDenied
from schemas.log_events import LogEvent
from schemas.telemetry import RETRIES_TOTAL, Telemetry

__all__ = ["report_retries"]

log = structlog.get_logger()

_NEEDS_OPERATOR: Final = (EveryRecordFails, BrokerDenied)
"""Errors that waiting does not fix: somebody has to act."""

_LABELS: Final[Mapping[type[Exception], str]] = {TransientDependencyError: "WorldFault"}
"""Published label values that differ from the class name. Dashboards use them, so they don't change."""


def report_retries(telemetry: Telemetry, program: str) -> Callable[[Retry], None]:
    """Return the engine's `on_retry` callback for this program."""

    def report(retry: Retry) -> None:
        error = retry.error
        label = _LABELS.get(type(error), type(error).__name__)
        telemetry.counter(RETRIES_TOTAL, of=label).inc()
        write = log.error if isinstance(error, _NEEDS_OPERATOR) else log.warning
        write(
            LogEvent.ATTEMPT_RETRIED,
            program=program,
            of=label,
            attempts=retry.attempts,
            wait_seconds=round(retry.wait_seconds, 2),
            what=str(getattr(error, "what", error))[:500],
            where=getattr(error, "where", "Kafka"),
            mend=getattr(error, "mend", "none needed: it is retried until it succeeds"),
        )

    return report
