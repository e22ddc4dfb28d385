"""Traces of webhooks: what the gateway says of them, and what it does not."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest

from gateway.app import create_app
from processors.engine import Record
from processors.tracing import OFF, TRACEPARENT, Tracing, tracing_of
from projections.store import Store
from schemas.errors import ConfigError
from schemas.telemetry import Telemetry
from tests.collector import Collector, collecting
from tests.engine.building import StubRecord
from tests.fakes import FakeKafka
from tests.gateway.test_webhooks import post, settings

FOREIGN = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@asynccontextmanager
async def traced(
    collector: Collector, kafka: FakeKafka, telemetry: Telemetry, share: float = 1.0
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a traced gateway. At the end all spans are sent."""
    wanted = settings(traces_url=collector.url, traces_share=share)
    tracing = tracing_of(wanted, "gateway", telemetry)
    app = create_app(wanted, Store("http://127.0.0.1:1"), kafka, telemetry, tracing=tracing)
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://inside", headers={TRACEPARENT: FOREIGN}
    ) as made:
        yield made
    tracing.close()


def counted(telemetry: Telemetry, outcome: str) -> float | None:
    return telemetry.registry.get_sample_value("sendledger_spans_total", {"outcome": outcome})


async def test_a_webhook_is_one_trace_which_goes_on_in_the_record() -> None:
    kafka, telemetry = FakeKafka(), Telemetry()
    with collecting() as collector:
        async with traced(collector, kafka, telemetry) as client:
            assert (await post(client, b"[]")).status_code == 204
    sending, request = collector.spans
    assert (request.name, sending.name) == ("POST /webhooks/sendgrid", "send webhooks.sendgrid")
    assert request.service == sending.service == "sendledger-gateway"
    assert (request.parent_id, sending.parent_id) == ("", request.span_id)
    assert request.attributes == {
        "http.request.method": "POST",
        "http.route": "/webhooks/sendgrid",
        "http.response.status_code": 204,
    }
    [record] = kafka.sent
    assert record.headers[TRACEPARENT].decode().split("-")[1:3] == [request.trace_id, sending.span_id]
    assert counted(telemetry, "sent") == 2


async def test_a_providers_own_trace_is_not_continued() -> None:
    kafka = FakeKafka()
    with collecting() as collector:
        async with traced(collector, kafka, Telemetry()) as client:
            await post(client, b"[]")
    assert FOREIGN.split("-")[1] not in {span.trace_id for span in collector.spans}
    with collecting() as collector:
        async with traced(collector, kafka, Telemetry(), share=0.0) as client:
            await post(client, b"[]")
    assert collector.spans == []
    assert TRACEPARENT not in kafka.sent[-1].headers


async def test_refusals_and_failures_show_without_what_the_client_sent() -> None:
    kafka = FakeKafka()
    with collecting() as collector:
        async with traced(collector, kafka, Telemetry()) as client:
            await client.post("/webhooks/sendgrid?secret-in-url", content=b"secret-in-body")
            kafka.fails = True
            await post(client, b"secret-in-body")
    statuses = [(s.attributes.get("http.response.status_code"), s.failed) for s in collector.spans]
    assert statuses == [(401, True), (None, True), (503, True)]
    assert "secret" not in repr(collector.spans)


@pytest.mark.parametrize("status", [400, 0])
async def test_a_collector_that_takes_nothing_costs_no_webhook(status: int) -> None:
    kafka, telemetry = FakeKafka(), Telemetry()
    with collecting(status) as collector:
        if not status:
            collector.url = "http://127.0.0.1:1/v1/traces"
        async with traced(collector, kafka, telemetry) as client:
            assert (await post(client, b"[]")).status_code == 204
    assert len(kafka.sent) == 1
    assert (counted(telemetry, "sent"), counted(telemetry, "dropped")) == (None, 2)


def test_a_password_in_the_collectors_url_is_refused_and_not_shown() -> None:
    with pytest.raises(ConfigError) as caught:
        settings(traces_url="http://user:kept-secret@collector:4318/v1/traces")
    assert "SENDLEDGER_TRACES_URL: it is not of the form" in str(caught.value)
    assert "without a password" in str(caught.value)
    assert "kept-secret" not in str(caught.value)


def test_without_a_collector_there_is_no_tracing() -> None:
    assert tracing_of(settings(), "gateway", Telemetry()) is OFF


def stored(tracing: Tracing, *traceparents: bytes | None) -> None:
    headers = [[] if value is None else [(TRACEPARENT, value)] for value in traceparents]
    records: list[Record] = [StubRecord(n, headers=pairs) for n, pairs in enumerate(headers)]
    tracing.stored(records, 1_000)


async def test_a_stored_record_ends_its_trace_whatever_its_header_says() -> None:
    with collecting() as collector:
        tracing = tracing_of(settings(traces_url=collector.url, traces_share=0.0), "ledger", Telemetry())
        stored(
            tracing,
            FOREIGN.encode(),
            None,
            b"",
            b"\xff\xfe",
            b"00-" + b"0" * 32 + b"-" + b"0" * 16 + b"-01",
            FOREIGN.encode() * 1000,
            FOREIGN[:-1].encode() + b"0",  # not sampled
        )
        tracing.close()
    [span] = collector.spans
    assert (span.service, span.trace_id, span.parent_id) == ("sendledger-ledger", *FOREIGN.split("-")[1:3])
    assert span.start_ns == 1_000 < span.end_ns
    assert span.attributes["messaging.kafka.offset"] == 0
