"""Metrics, as programs of ours write them, and over HTTP."""

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler

from prometheus_client import generate_latest

from schemas.telemetry import DELAY_SECONDS, DUPLICATES_TOTAL, RETRIES_TOTAL, Telemetry
from tests.http_server import serving

__all__ = ["a_worker", "served", "text_of"]


def a_worker(*delays: float, duplicates: int = 0) -> Telemetry:
    telemetry = Telemetry()
    for delay in delays:
        telemetry.histogram(DELAY_SECONDS, topic="webhooks.sendgrid").observe(delay)
    telemetry.histogram(DELAY_SECONDS, topic="sends.requested").observe(60)
    telemetry.counter(DUPLICATES_TOTAL, provider="sendgrid").inc(duplicates)
    telemetry.counter(RETRIES_TOTAL, of="StoreError").inc(2)
    return telemetry


def text_of(telemetry: Telemetry) -> str:
    return generate_latest(telemetry.registry).decode()


@contextmanager
def served(telemetry: Telemetry, more: str = "") -> Iterator[str]:
    """Yield the URL of metrics, as they are now, followed by those of the text `more`."""
    body = (text_of(telemetry) + more).encode()

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

    with serving(Answer) as port:
        yield f"http://127.0.0.1:{port}/metrics"
