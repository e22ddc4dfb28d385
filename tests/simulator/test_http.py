"""Posts of the providers: signed as the gateway checks it, and sent again until accepted."""

from collections.abc import Iterator

import httpx
import pytest

from application.signatures import postmark, sendgrid, twilio
from schemas.errors import BrokerError, RequestError, SignatureInvalid
from simulator.http import Poster
from simulator.kafka import webhook_headers
from simulator.messages import PlanOptions
from simulator.plan import Delivery, plan
from simulator.providers import PROVIDERS
from simulator.signing import Keys, new_key_pair

PRIVATE_KEY, PUBLIC_KEY = new_key_pair()
KEYS = Keys(PRIVATE_KEY, "an-auth-token", "postmark:a pass:word")
PUBLIC_URL = "https://sendledger.example.com/in"
NOW_US = 1_780_000_000_000_000
A_LIST = Delivery("post", 0, "", b'[{"event":"delivered"}]\r\n')


def check(request: httpx.Request) -> None:
    """Check a post as a gateway with PUBLIC_URL does. Raises SignatureInvalid."""
    match request.url.path:
        case "/webhooks/sendgrid":
            sendgrid.verify(request.content, request.headers, sendgrid.load_public_keys(PUBLIC_KEY))
        case "/webhooks/twilio":
            query = request.url.query.decode()
            called = f"{PUBLIC_URL}{request.url.path}" + (f"?{query}" if query else "")
            twilio.verify(request.content, request.headers, called, twilio.load_auth_tokens("an-auth-token"))
        case "/webhooks/postmark":
            postmark.verify(request.headers, postmark.load_credentials("postmark:a pass:word"))
        case _:
            raise AssertionError(request.url)


class Gateway:
    """Answers with one status after the other (0: a connection error), and keeps the requests."""

    def __init__(self, *statuses: int) -> None:
        self.statuses: Iterator[int] = iter(statuses)
        self.taken: list[httpx.Request] = []
        self.pauses: list[float] = []

    def answer(self, request: httpx.Request) -> httpx.Response:
        self.taken.append(request)
        status = next(self.statuses)
        if not status:
            raise httpx.ConnectError("refused")
        return httpx.Response(status)

    async def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)

    def poster(self, patience_seconds: float | None = 60.0, keys: Keys = KEYS) -> Poster:
        return Poster(
            "http://gateway/",
            keys,
            public_url=PUBLIC_URL,
            patience_seconds=patience_seconds,
            transport=httpx.MockTransport(self.answer),
            pause=self.pause,
        )


async def test_the_gateway_accepts_every_post_of_a_plan() -> None:
    planned = plan(400, 5, PlanOptions(NOW_US, ("acme",), rare_every=2), broken_every=20)
    posts = [delivery for delivery in planned.deliveries if delivery.kind == "post"]
    gateway = Gateway(*[204] * len(posts))
    async with gateway.poster() as poster:
        for delivery in posts:
            await poster.post(delivery)
    assert {request.url.path for request in gateway.taken} == {f"/webhooks/{name}" for name in PROVIDERS}
    assert any(request.url.query for request in gateway.taken)
    for delivery, request in zip(posts, gateway.taken, strict=True):
        assert request.content == delivery.value
        check(request)


async def test_the_gateway_rejects_a_post_with_another_key() -> None:
    other = Keys(new_key_pair()[0], "another-token", "postmark:guessed")
    for name in PROVIDERS:
        gateway = Gateway(204)
        async with gateway.poster(keys=other) as poster:
            await poster.post(Delivery("post", 0, "", b"MessageStatus=sent", provider=name))
        with pytest.raises(SignatureInvalid):
            check(gateway.taken[0])


@pytest.mark.parametrize("provider", ["sendgrid", "twilio"])
def test_the_signature_can_be_checked_from_the_headers_in_kafka(provider: str) -> None:
    delivery = Delivery("post", NOW_US, "", b"MessageStatus=sent", provider=provider, query="sl_account=a&sl_message=b")
    kept = {name: value.decode() for name, value in webhook_headers(delivery, KEYS, PUBLIC_URL)}
    assert kept["received_at"] == "2026-05-28T20:26:40.000000Z"
    assert kept["request_url"] == f"{PUBLIC_URL}/webhooks/{provider}?sl_account=a&sl_message=b"
    if provider == "sendgrid":
        headers = {sendgrid.SIGNATURE_HEADER: kept["signature"], sendgrid.TIMESTAMP_HEADER: kept["signed_at"]}
        sendgrid.verify(delivery.value, headers, sendgrid.load_public_keys(PUBLIC_KEY))
    else:
        headers = {twilio.SIGNATURE_HEADER: kept["signature"]}
        twilio.verify(delivery.value, headers, kept["request_url"], twilio.load_auth_tokens("an-auth-token"))


def test_no_password_is_stored_in_kafka() -> None:
    delivery = Delivery("post", NOW_US, "", b"{}", provider="postmark")
    kept = b" ".join(value for _, value in webhook_headers(delivery, KEYS, PUBLIC_URL))
    assert b"pass:word" not in kept
    assert b"Basic" not in kept


async def test_a_post_is_sent_again_after_a_503_and_after_a_connection_error() -> None:
    gateway = Gateway(503, 0, 204)
    async with gateway.poster() as poster:
        await poster.post(A_LIST)
    assert [request.content for request in gateway.taken] == [A_LIST.value] * 3
    assert poster.retries == 2
    assert gateway.pauses == [0.25, 0.5]


async def test_a_rejected_post_is_not_sent_again() -> None:
    gateway = Gateway(401)
    async with gateway.poster() as poster:
        with pytest.raises(RequestError, match="401"):
            await poster.post(A_LIST)


async def test_retries_end_after_patience_seconds() -> None:
    gateway = Gateway(*[503] * 10)
    async with gateway.poster(patience_seconds=1.0) as poster:
        with pytest.raises(BrokerError, match="503"):
            await poster.post(A_LIST)
    assert sum(gateway.pauses) == pytest.approx(1.75)
