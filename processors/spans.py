"""Spans made with OpenTelemetry, and sent to a collector by OTLP over HTTP, in a thread.

Names and attributes are those of https://opentelemetry.io/docs/specs/semconv/messaging/kafka/. A span has no id of a
message, no address and no text from outside. Spans that the collector does not take in time are dropped and counted: no
webhook waits for its trace. The SDK's own variables hold, for example OTEL_EXPORTER_OTLP_HEADERS for a password.
"""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from typing import Final

import structlog
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import Span, SpanKind, StatusCode, get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from processors.engine import Record
from processors.tracing import TRACEPARENT, RecordHeaders
from schemas.log_events import LogEvent
from schemas.settings import TracingSettings
from schemas.telemetry import SPANS_TOTAL, Telemetry

__all__ = ["OtlpTracing"]

_CONTEXT: Final = TraceContextTextMapPropagator()
_EXPORT_SECONDS: Final = 3
_SERVER_ERRORS: Final = 500

log = structlog.get_logger()


class OtlpTracing:
    """Makes the spans of one program."""

    def __init__(self, settings: TracingSettings, program: str, telemetry: Telemetry) -> None:
        # Its lines have no format of ours, and one for each attempt: `_Counting` says the same once.
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
        exporter = _Counting(OTLPSpanExporter(settings.traces_url, timeout=_EXPORT_SECONDS), settings, telemetry)
        self._provider = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(settings.traces_share)),
            resource=Resource.create({SERVICE_NAME: f"sendledger-{program}", SERVICE_VERSION: version("sendledger")}),
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("sendledger")

    @contextmanager
    def request(self, route: str) -> Iterator[Callable[[int], None]]:
        """Make a span of one POST, while the block runs; it yields a function that takes the status of the response."""
        attributes = {"http.request.method": "POST", "http.route": route}
        with self._span(f"POST {route}", SpanKind.SERVER, attributes) as span:

            def answered(status: int) -> None:
                span.set_attribute("http.response.status_code", status)
                if status >= _SERVER_ERRORS:
                    span.set_status(StatusCode.ERROR)

            yield answered

    @contextmanager
    def sending(self, topic: str, headers: RecordHeaders) -> Iterator[None]:
        """Make a span of writing one record, while the block runs; it adds a header if the request is traced."""
        with self._span(f"send {topic}", SpanKind.PRODUCER, _messaging("send", topic)) as span:
            if span.is_recording():
                carrier: dict[str, str] = {}
                _CONTEXT.inject(carrier)
                headers.append((TRACEPARENT, carrier[TRACEPARENT].encode()))
            yield

    def stored(self, records: Iterable[Record], begun_ns: int) -> None:
        """Make a span of each traced record, from `begun_ns` until now."""
        ended_ns = time.time_ns()
        for record in records:
            sender = next((value for name, value in record.headers if name == TRACEPARENT), None)
            if sender is None:
                continue
            context = _CONTEXT.extract({TRACEPARENT: sender.decode("ascii", "replace")})
            if not get_current_span(context).get_span_context().is_valid:
                continue
            attributes: dict[str, str | int] = {
                **_messaging("process", record.topic),
                "messaging.destination.partition.id": str(record.partition),
                "messaging.kafka.offset": record.offset,
            }
            span = self._tracer.start_span(
                f"process {record.topic}", context, SpanKind.CONSUMER, attributes, start_time=begun_ns
            )
            span.end(ended_ns)

    @contextmanager
    def _span(self, name: str, kind: SpanKind, attributes: Mapping[str, str]) -> Iterator[Span]:
        # Without the text of an exception, which may contain what a client sent.
        with self._tracer.start_as_current_span(
            name, kind=kind, attributes=attributes, record_exception=False, set_status_on_exception=False
        ) as span:
            try:
                yield span
            except Exception:
                span.set_status(StatusCode.ERROR)
                raise

    def close(self) -> None:
        """Send the spans that wait, for a few seconds at most."""
        self._provider.force_flush(_EXPORT_SECONDS * 1000)
        self._provider.shutdown()


def _messaging(operation: str, topic: str) -> dict[str, str]:
    return {
        "messaging.system": "kafka",
        "messaging.operation.type": operation,
        "messaging.destination.name": topic,
    }


class _Counting(SpanExporter):
    """Counts the spans that the collector took or not, and logs when it begins to refuse them."""

    def __init__(self, exporter: SpanExporter, settings: TracingSettings, telemetry: Telemetry) -> None:
        self._exporter, self._url, self._telemetry = exporter, settings.traces_url, telemetry
        self._failed = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self._exporter.export(spans)
        failed = result is not SpanExportResult.SUCCESS
        self._telemetry.counter(SPANS_TOTAL, outcome="dropped" if failed else "sent").inc(len(spans))
        if failed and not self._failed:
            log.warning(
                LogEvent.TRACES_REFUSED,
                what="The collector does not take spans; they are dropped",
                where=self._url,
                mend="Check that it takes OTLP over HTTP at this URL, usually http://host:4318/v1/traces",
            )
        self._failed = failed
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._exporter.force_flush(timeout_millis)
