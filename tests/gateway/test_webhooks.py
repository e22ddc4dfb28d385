"""Webhooks in: what is answered when, with a Kafka that does as it is told."""

import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from aiokafka.errors import KafkaTimeoutError

from gateway.app import create_app
from gateway.intake import webhooks
from projections.store import Store
from schemas.identity import message_id_or_blank
from schemas.settings import GatewaySettings, read
from schemas.telemetry import Telemetry
from schemas.times import rfc3339_us
from simulator.signing import new_key_pair, sign_sendgrid

PRIVATE, PUBLIC = new_key_pair()
OLD_PRIVATE, OLD_PUBLIC = new_key_pair()


class FakeKafka:
    """Keeps the records that it is sent, or fails."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, bytes, bytes, dict[str, bytes]]] = []
        self.fails = False

    async def start(self) -> None: ...
    async def stop(self) -> None: ...

    async def send_and_wait(self, topic: str, value: bytes, *, key: bytes, headers: list[tuple[str, bytes]]) -> None:
        if self.fails:
            raise KafkaTimeoutError
        self.sent.append((topic, key, value, dict(headers)))


def settings(**said: Any) -> GatewaySettings:
    given = {
        "token_secret": "x" * 40,
        "kafka_bootstrap": "127.0.0.1:1",
        "clickhouse_url": "http://127.0.0.1:1",
        "sendgrid_public_keys": f"{OLD_PUBLIC},{PUBLIC}",
        "public_url": "https://hooks.example.com",
    }
    return read(GatewaySettings, **(given | said))


@pytest.fixture
def kafka() -> FakeKafka:
    return FakeKafka()


@pytest.fixture
async def client(kafka: FakeKafka) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(settings(), Store("http://127.0.0.1:1"), kafka, Telemetry())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://inside") as made:
        yield made


async def post(client: httpx.AsyncClient, body: bytes, key: str = PRIVATE) -> httpx.Response:
    signed_at = str(int(time.time()))
    headers = {
        "X-Twilio-Email-Event-Webhook-Timestamp": signed_at,
        "X-Twilio-Email-Event-Webhook-Signature": sign_sendgrid(key, signed_at, body),
        "Content-Type": "application/json",
    }
    return await client.post("/webhooks/sendgrid", content=body, headers=headers)


async def test_the_body_is_kept_byte_for_byte_with_what_its_signature_needs(
    client: httpx.AsyncClient, kafka: FakeKafka
) -> None:
    body = b'\xef\xbb\xbf[{"event": "delivered"}]\r\n'
    assert (await post(client, body)).status_code == 204
    [(topic, key, value, headers)] = kafka.sent
    assert (topic, value) == ("webhooks.sendgrid", body)
    assert message_id_or_blank(key.decode()) == headers["webhook_id"].decode()
    assert rfc3339_us(headers["received_at"].decode())
    assert headers["request_url"] == b"https://hooks.example.com/webhooks/sendgrid"
    assert headers["content_type"] == b"application/json"
    assert all(headers[name] for name in ("signature", "signed_at"))


@pytest.mark.parametrize("key", [PRIVATE, OLD_PRIVATE])
async def test_several_keys_are_live_while_one_is_rotated(client: httpx.AsyncClient, key: str) -> None:
    assert (await post(client, b"[]", key)).status_code == 204


async def test_another_key_is_refused_and_nothing_is_written(client: httpx.AsyncClient, kafka: FakeKafka) -> None:
    assert (await post(client, b"[]", new_key_pair()[0])).status_code == 401
    assert kafka.sent == []


async def test_without_acknowledgement_the_provider_is_asked_to_come_again(
    client: httpx.AsyncClient, kafka: FakeKafka
) -> None:
    kafka.fails = True
    answer = await post(client, b"[]")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_body_over_4_mib_is_too_large(client: httpx.AsyncClient, kafka: FakeKafka) -> None:
    answer = await post(client, b"x" * (webhooks.MAX_BODY_BYTES + 1))
    assert (answer.status_code, kafka.sent) == (413, [])


async def test_a_body_of_exactly_4_mib_is_taken(client: httpx.AsyncClient) -> None:
    assert (await post(client, b"x" * webhooks.MAX_BODY_BYTES)).status_code == 204


async def test_without_a_length_the_body_is_counted(client: httpx.AsyncClient, kafka: FakeKafka) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(10):
            yield b"x" * (1 << 20)

    answer = await client.post("/webhooks/sendgrid", content=endless())
    assert (answer.status_code, kafka.sent) == (413, [])


@pytest.mark.parametrize("body", [b"", b"no json", b"\xff\x00", b"{}"])
async def test_a_rightly_signed_body_is_never_refused_for_its_content(client: httpx.AsyncClient, body: bytes) -> None:
    assert (await post(client, body)).status_code == 204


async def test_without_keys_everything_is_refused(kafka: FakeKafka) -> None:
    app = create_app(settings(sendgrid_public_keys=""), Store("http://127.0.0.1:1"), kafka, Telemetry())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://inside") as client:
        assert (await post(client, b"[]")).status_code == 401


async def test_unverified_intake_needs_its_explicit_flag(kafka: FakeKafka) -> None:
    app = create_app(settings(insecure_webhooks=True), Store("http://127.0.0.1:1"), kafka, Telemetry())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://inside") as client:
        assert (await client.post("/webhooks/sendgrid", content=b"[]")).status_code == 204
