"""Webhooks in: what is answered when, with a Kafka that does as it is told."""

import hmac
import time
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
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
TWILIO_TOKEN, OLD_TWILIO_TOKEN = "0123456789abcdef0123456789abcdef", "fedcba9876543210fedcba9876543210"
BASIC = b64encode(b"postmark:pass:word").decode()
IDS = "?sl_account=salon-anna&sl_message=01A20CC2-7402-7473-9e3a-265e16eee03f&x=%c3%a4+%20"


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
        "twilio_auth_tokens": f"{OLD_TWILIO_TOKEN},{TWILIO_TOKEN}",
        "postmark_basic_auth": "old:password,postmark:pass:word",
        "public_url": "https://hooks.example.com",
    }
    return read(GatewaySettings, **(given | said))


@pytest.fixture
def kafka() -> FakeKafka:
    return FakeKafka()


@asynccontextmanager
async def a_client(kafka: FakeKafka, **said: Any) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(settings(**said), Store("http://127.0.0.1:1"), kafka, Telemetry())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://inside:8480") as made:
        yield made


@pytest.fixture
async def client(kafka: FakeKafka) -> AsyncIterator[httpx.AsyncClient]:
    async with a_client(kafka) as made:
        yield made


async def post(client: httpx.AsyncClient, body: bytes, key: str = PRIVATE) -> httpx.Response:
    signed_at = str(int(time.time()))
    headers = {
        "X-Twilio-Email-Event-Webhook-Timestamp": signed_at,
        "X-Twilio-Email-Event-Webhook-Signature": sign_sendgrid(key, signed_at, body),
        "Content-Type": "application/json",
    }
    return await client.post("/webhooks/sendgrid", content=body, headers=headers)


async def post_as_twilio(
    client: httpx.AsyncClient, signed: str, *, path: str = f"/webhooks/twilio{IDS}", token: str = TWILIO_TOKEN
) -> httpx.Response:
    """Post a callback to `path` that Twilio signed for the URL `signed`."""
    text = f"{signed}MessageSidSM1MessageStatussent".encode()
    headers = {
        "X-Twilio-Signature": b64encode(hmac.digest(token.encode(), text, "sha1")).decode(),
        "Content-Type": "application/x-www-form-urlencoded",
    }
    return await client.post(path, content=b"MessageStatus=sent&MessageSid=SM1", headers=headers)


async def post_as_postmark(client: httpx.AsyncClient, basic: str = BASIC) -> httpx.Response:
    return await client.post("/webhooks/postmark", content=b"{}", headers={"Authorization": f"Basic {basic}"})


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


async def test_twilios_url_is_kept_as_it_was_called_and_signed(client: httpx.AsyncClient, kafka: FakeKafka) -> None:
    url = f"https://hooks.example.com/webhooks/twilio{IDS}"
    assert (await post_as_twilio(client, url)).status_code == 204
    [(topic, _, value, headers)] = kafka.sent
    assert (topic, value) == ("webhooks.twilio", b"MessageStatus=sent&MessageSid=SM1")
    assert headers["request_url"] == url.encode()
    assert headers["content_type"] == b"application/x-www-form-urlencoded"
    assert (len(headers["signature"]), headers["signed_at"]) == (28, b"")


@pytest.mark.parametrize("token", [TWILIO_TOKEN, OLD_TWILIO_TOKEN])
@pytest.mark.parametrize("base", ["https://hooks.example.com", "http://hooks.example.com:80"])
async def test_twilio_may_sign_with_either_token(client: httpx.AsyncClient, base: str, token: str) -> None:
    assert (await post_as_twilio(client, f"{base}/webhooks/twilio{IDS}", token=token)).status_code == 204


@pytest.mark.parametrize(
    ("signed", "path", "token"),
    [
        pytest.param(
            "https://hooks.example.com/webhooks/twilio", "/webhooks/twilio?sl_account=other", TWILIO_TOKEN, id="ids"
        ),
        pytest.param("http://inside:8480/webhooks/twilio", "/webhooks/twilio", TWILIO_TOKEN, id="the inner host"),
        pytest.param("https://hooks.example.com/webhooks/twilio", "/webhooks/twilio", "another", id="another token"),
    ],
)
async def test_what_twilio_did_not_sign_is_refused(
    client: httpx.AsyncClient, kafka: FakeKafka, signed: str, path: str, token: str
) -> None:
    assert (await post_as_twilio(client, signed, path=path, token=token)).status_code == 401
    assert kafka.sent == []


async def test_a_path_is_kept_as_it_was_spelled(client: httpx.AsyncClient, kafka: FakeKafka) -> None:
    path = "/webhooks/%74wilio?"
    assert (await post_as_twilio(client, "https://hooks.example.com/webhooks/%74wilio", path=path)).status_code == 204
    assert kafka.sent[0][3]["request_url"] == b"https://hooks.example.com/webhooks/%74wilio"


@pytest.mark.parametrize(
    ("public_url", "url"),
    [
        pytest.param("", "http://inside:8480/webhooks/twilio", id="none: the Host header's"),
        pytest.param(
            "https://example.com/hooks/", "https://example.com/hooks/webhooks/twilio", id="a path before ours"
        ),
        pytest.param("https://user:p@ss@example.com", "https://example.com/webhooks/twilio", id="a password goes"),
    ],
)
async def test_the_url_is_that_of_the_setting(kafka: FakeKafka, public_url: str, url: str) -> None:
    async with a_client(kafka, public_url=public_url) as client:
        assert (await post_as_twilio(client, url + IDS)).status_code == 204
    assert kafka.sent[0][3]["request_url"] == (url + IDS).encode()


async def test_postmarks_password_is_checked_and_never_kept(client: httpx.AsyncClient, kafka: FakeKafka) -> None:
    assert (await post_as_postmark(client)).status_code == 204
    [(topic, _, value, headers)] = kafka.sent
    assert (topic, value) == ("webhooks.postmark", b"{}")
    assert (headers["signature"], headers["signed_at"]) == (b"", b"")
    assert not any(BASIC.encode() in said or b"pass:word" in said for said in headers.values())


async def test_another_password_is_refused(client: httpx.AsyncClient, kafka: FakeKafka) -> None:
    assert (await post_as_postmark(client, b64encode(b"postmark:pass").decode())).status_code == 401
    assert (await client.post("/webhooks/postmark", content=b"{}")).status_code == 401
    assert kafka.sent == []


WITHOUT_KEYS = {"sendgrid_public_keys": "", "twilio_auth_tokens": "", "postmark_basic_auth": ""}


async def test_without_keys_everything_is_refused(kafka: FakeKafka) -> None:
    async with a_client(kafka, **WITHOUT_KEYS) as client:
        assert (await post(client, b"[]")).status_code == 401
        assert (await post_as_twilio(client, f"https://hooks.example.com/webhooks/twilio{IDS}")).status_code == 401
        assert (await post_as_postmark(client)).status_code == 401
    assert kafka.sent == []


@pytest.mark.parametrize("provider", ["sendgrid", "twilio", "postmark"])
async def test_unverified_intake_needs_its_explicit_flag(kafka: FakeKafka, provider: str) -> None:
    async with a_client(kafka, **WITHOUT_KEYS) as client:
        assert (await client.post(f"/webhooks/{provider}", content=b"[]")).status_code == 401
    async with a_client(kafka, insecure_webhooks=True) as client:
        assert (await client.post(f"/webhooks/{provider}", content=b"[]")).status_code == 204
    assert [sent[0] for sent in kafka.sent] == [f"webhooks.{provider}"]
