"""The published metrics of the gateway, and the headers of its records."""

import httpx
from prometheus_client.parser import text_string_to_metric_families

from gateway.app import create_app
from gateway.tokens import issue
from projections.store import Store
from schemas.headers import WebhookHeaders
from schemas.telemetry import Telemetry
from tests.fakes import FakeKafka
from tests.gateway.test_webhooks import a_client, post, post_as_postmark, post_as_twilio, settings

TWILIO_URL = "https://hooks.example.com/webhooks/twilio?sl_account=salon-anna&sl_message="


async def metric(client: httpx.AsyncClient, name: str) -> dict[str, float]:
    """The samples of a counter, by its labels."""
    shown = (await client.get("/metrics")).text
    families = {family.name: family for family in text_string_to_metric_families(shown)}
    found = families[name].samples if name in families else []
    return {",".join(s.labels.values()): s.value for s in found if not s.name.endswith("_created")}


async def test_the_headers_of_a_webhook_are_those_that_are_published() -> None:
    kafka = FakeKafka()
    async with a_client(kafka) as client:
        await post(client, b"[]")
        await post_as_twilio(client, TWILIO_URL, path=TWILIO_URL.removeprefix("https://hooks.example.com"))
        await post_as_postmark(client)
    assert [topic for topic, *_ in kafka.sent] == ["webhooks.sendgrid", "webhooks.twilio", "webhooks.postmark"]
    for *_, headers in kafka.sent:
        required = {name for name, field in WebhookHeaders.model_fields.items() if field.is_required()}
        assert headers.keys() == required
        WebhookHeaders.model_validate({name: value.decode() for name, value in headers.items()})


async def test_a_kafka_that_takes_nothing_is_counted() -> None:
    kafka = FakeKafka()
    kafka.fails = True
    async with a_client(kafka) as client:
        assert (await post(client, b"[]")).status_code == 503
        assert await metric(client, "sendledger_errors") == {"kafka": 1}


async def test_a_store_that_is_away_is_counted() -> None:
    token = issue("x" * 40, subject="test", role="viewer", accounts=["acme"])
    async with a_client(FakeKafka()) as client:
        answer = await client.get("/v1/messages", headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 503
        assert await metric(client, "sendledger_errors") == {"clickhouse": 1}


async def test_the_gateway_is_up_while_it_lives() -> None:
    telemetry = Telemetry()
    app = create_app(settings(), Store("http://127.0.0.1:1"), FakeKafka(), telemetry)
    up = {"program": "gateway"}
    assert telemetry.registry.get_sample_value("sendledger_up", up) is None
    async with app.router.lifespan_context(app):
        assert telemetry.registry.get_sample_value("sendledger_up", up) == 1
    assert telemetry.registry.get_sample_value("sendledger_up", up) == 0
