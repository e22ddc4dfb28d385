"""Traces of webhooks, from the POST to the rows. Off unless a collector's URL is set.

    POST /webhooks/sendgrid          the gateway: the whole request
      send webhooks.sendgrid         until Kafka has the record on all replicas
        process webhooks.sendgrid    the ledger: from the start of the record's group until its rows are stored

The gateway decides by chance which webhooks are traced, and writes the trace into the record's header `traceparent`
(https://www.w3.org/TR/trace-context/), so that other records cost nothing. A traceparent that a provider sends is
ignored: else a sender could have each of its webhooks traced.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Final, Protocol

from processors.engine import Record
from schemas.settings import TracingSettings
from schemas.telemetry import Telemetry

__all__ = ["OFF", "TRACEPARENT", "RecordHeaders", "Tracing", "tracing_of"]

TRACEPARENT: Final = "traceparent"
"""The record header that names the trace, and the span that wrote the record."""

RecordHeaders = list[tuple[str, bytes]]


class Tracing(Protocol):
    """Makes the spans of one program."""

    def request(self, route: str) -> AbstractContextManager[Callable[[int], None]]:
        """Return a context manager: a span of one POST. It yields a function that takes the status of the response."""

    def sending(self, topic: str, headers: RecordHeaders) -> AbstractContextManager[None]:
        """Return a context manager: a span of writing one record. It adds a header if the request is traced."""

    def stored(self, records: Iterable[Record], begun_ns: int) -> None:
        """Make a span of each traced record of a group whose rows are stored, from `begun_ns` (Unix time) until now."""

    def close(self) -> None:
        """Send the spans that wait, for a few seconds at most."""


class _Off:
    """Makes no spans."""

    @contextmanager
    def request(self, _route: str) -> Iterator[Callable[[int], None]]:
        yield lambda _status: None

    @contextmanager
    def sending(self, _topic: str, _headers: RecordHeaders) -> Iterator[None]:
        yield

    def stored(self, _records: Iterable[Record], _begun_ns: int) -> None:
        pass

    def close(self) -> None:
        pass


OFF: Final[Tracing] = _Off()


def tracing_of(settings: TracingSettings, program: str, telemetry: Telemetry) -> Tracing:
    """Return the tracing of a program, `gateway` or `ledger`."""
    if not settings.traces_url:
        return OFF
    from processors.spans import OtlpTracing  # takes half a second and 20 MB

    return OtlpTracing(settings, program, telemetry)
