"""Metrics, as programs of ours write them."""

from prometheus_client import generate_latest

from schemas.telemetry import DELAY_SECONDS, DUPLICATES_TOTAL, RETRIES_TOTAL, Telemetry

__all__ = ["a_worker", "text_of"]


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
