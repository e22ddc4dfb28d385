"""Webhooks: the responses, with a fake Kafka."""

import hmac
import threading
import time
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from application import deadlines
from application.signatures import twilio
from application.signatures.sendgrid import SIGNATURE_HEADER, TIMESTAMP_HEADER
from gateway.app import create_app
from gateway.webhooks import routes as webhooks
from projections.store import Store
from schemas.decoding.ids import message_id_or_blank
from schemas.decoding.times import rfc3339_us
from schemas.errors import ConfigError
from schemas.settings import GatewaySettings, read
from schemas.telemetry import Telemetry
from simulator.signing import new_key_pair, sign_sendgrid
from tests.application.building import FakeKafka

__all__ = ["FakeKafka"]

PRIVATE, PUBLIC = new_key_pair()
OLD_PRIVATE, OLD_PUBLIC = new_key_pair()
TWILIO_TOKEN, OLD_TWILIO_TOKEN = "0123456789abcdef0123456789abcdef", "fedcba9876543210fedcba9876543210"
BASIC = b64encode(b"postmark:pass:word").decode()
IDS = "?sl_account=salon-anna&sl_message=01A20CC2-7402-7473-9e3a-265e16eee03f&x=%c3%a4+%20"


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
async def test_several_keys_are_valid_during_a_rotation(client: httpx.AsyncClient, key: str) -> None:
    assert (await post(client, b"[]", key)).status_code == 204


async def test_another_key_is_refused_and_nothing_is_written(client: httpx.AsyncClient, kafka: FakeKafka) -> None:
    assert (await post(client, b"[]", new_key_pair()[0])).status_code == 401
    assert kafka.sent == []


async def test_without_acknowledgement_the_provider_is_asked_to_retry(
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

    headers = {TIMESTAMP_HEADER: "1", SIGNATURE_HEADER: sign_sendgrid(PRIVATE, "1", b"")}
    answer = await client.post("/webhooks/sendgrid", content=endless(), headers=headers)
    assert (answer.status_code, kafka.sent) == (413, [])


@pytest.mark.parametrize("body", [b"", b"no json", b"\xff\x00", b"{}"])
async def test_a_correctly_signed_body_is_never_refused_for_its_content(client: httpx.AsyncClient, body: bytes) -> None:
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


def test_twilio_without_a_public_url_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match="PUBLIC_URL"):
        webhooks.providers(settings(public_url=""))


@pytest.mark.parametrize("said", [{"twilio_auth_tokens": ""}, {"insecure_webhooks": True}])
def test_without_twilio_verification_no_public_url_is_needed(said: dict[str, Any]) -> None:
    assert len(webhooks.providers(settings(public_url="", **said))) == 3


async def test_the_header_that_verified_is_the_one_that_is_kept(client: httpx.AsyncClient, kafka: FakeKafka) -> None:
    signature = sign_sendgrid(PRIVATE, "1732441500", b"[]")
    headers = [(TIMESTAMP_HEADER, " "), (TIMESTAMP_HEADER, "1732441500")]
    headers += [(SIGNATURE_HEADER, ""), (SIGNATURE_HEADER, signature)]
    assert (await client.post("/webhooks/sendgrid", content=b"[]", headers=headers)).status_code == 204
    said = kafka.sent[0][3]
    assert (said["signature"], said["signed_at"]) == (signature.encode(), b"1732441500")


IMPOSSIBLE = [
    pytest.param("twilio", {}, id="twilio: none"),
    pytest.param("twilio", {"X-Twilio-Signature": "x"}, id="twilio: one letter"),
    pytest.param("twilio", {"X-Twilio-Signature": "A" * 28}, id="twilio: no padding"),
    pytest.param("twilio", {"X-Twilio-Signature": "A" * 26 + "%="}, id="twilio: no base64"),
    pytest.param("twilio", {"X-Twilio-Signature": "A" * 8000}, id="twilio: too long"),
    pytest.param("sendgrid", {}, id="sendgrid: none"),
    pytest.param("sendgrid", {SIGNATURE_HEADER: "AAAA", TIMESTAMP_HEADER: "1"}, id="sendgrid: no DER"),
    pytest.param("sendgrid", {SIGNATURE_HEADER: "M" * 8000, TIMESTAMP_HEADER: "1"}, id="sendgrid: too long"),
    pytest.param("sendgrid", {SIGNATURE_HEADER: "MEUC", TIMESTAMP_HEADER: "1" * 4000}, id="sendgrid: a long time"),
    pytest.param("postmark", {}, id="postmark: none"),
    pytest.param("postmark", {"Authorization": "Basic x"}, id="postmark: no password"),
    pytest.param("postmark", {"Authorization": f"Basic {b64encode(b'a:b').decode()}"}, id="postmark: another"),
]


@pytest.mark.parametrize(("provider", "headers"), IMPOSSIBLE)
async def test_a_body_is_not_read_if_its_headers_can_not_be_valid(
    client: httpx.AsyncClient, provider: str, headers: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    async def body() -> AsyncIterator[bytes]:
        asked.append("a chunk")
        yield b"x"

    monkeypatch.setattr(twilio, "form_pairs", lambda _: asked.append("parsed"))
    assert (await client.post(f"/webhooks/{provider}", content=body(), headers=headers)).status_code == 401
    assert asked == []


async def test_a_large_post_is_verified_off_the_event_loop(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked: list[bool] = []

    def form_pairs(text: str) -> list[tuple[str, str]]:
        checked.append(threading.current_thread() is threading.main_thread())
        return []

    monkeypatch.setattr(twilio, "form_pairs", form_pairs)
    headers = {"X-Twilio-Signature": "A" * 27 + "="}
    for size in (1000, 100_000):
        answer = await client.post("/webhooks/twilio", content=b"a" * size, headers=headers)
        assert answer.status_code == 401
    assert checked[0] is True
    assert checked[-1] is False


async def test_a_signed_post_that_its_topic_refuses_is_answered_with_retry(
    client: httpx.AsyncClient, kafka: FakeKafka
) -> None:
    kafka.full_topics = {"webhooks.sendgrid"}
    answer = await post(client, b"[]")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    metrics = (await client.get("/metrics")).text
    assert 'sendledger_webhooks_total{provider="sendgrid",status="503"} 1' in metrics


async def test_after_the_deadline_kafka_is_not_blamed(kafka: FakeKafka, monkeypatch: pytest.MonkeyPatch) -> None:
    async with a_client(kafka) as client:
        with monkeypatch.context() as late:
            late.setattr(deadlines, "remaining", lambda: 0.0)
            answer = await post(client, b"[]")
        metrics = (await client.get("/metrics")).text
    assert (answer.status_code, answer.json()["code"], answer.headers["Retry-After"]) == (503, "timed-out", "5")
    assert kafka.sent == []
    assert 'sendledger_errors_total{of="deadline"} 1' in metrics
