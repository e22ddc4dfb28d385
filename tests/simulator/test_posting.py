"""SendGrid's side of the Event Webhook: signed as the gateway checks it, and sent again until it is taken."""

from collections.abc import Iterator

import httpx
import pytest

from gateway.intake import sendgrid
from schemas.errors import BrokerError, RequestError
from simulator.http import Poster
from simulator.signing import new_key_pair

BODY = b'[{"event":"delivered"}]\r\n'
PRIVATE_KEY, PUBLIC_KEY = new_key_pair()


class Gateway:
    """Answers with one status after the other (0: the line breaks), and keeps what it was sent."""

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

    def poster(self, patience_seconds: float | None = 60.0) -> Poster:
        return Poster(
            "http://gateway/",
            PRIVATE_KEY,
            patience_seconds=patience_seconds,
            transport=httpx.MockTransport(self.answer),
            pause=self.pause,
        )


async def test_a_post_goes_to_the_webhook_with_a_signature_that_the_gateway_accepts() -> None:
    gateway = Gateway(204)
    async with gateway.poster() as poster:
        await poster.post(BODY)
    (request,) = gateway.taken
    assert str(request.url) == "http://gateway/webhooks/sendgrid"
    assert request.content == BODY
    sendgrid.verify(request.content, request.headers, sendgrid.load_public_keys(PUBLIC_KEY))


async def test_a_post_is_sent_again_after_a_503_and_after_a_broken_line() -> None:
    gateway = Gateway(503, 0, 204)
    async with gateway.poster() as poster:
        await poster.post(BODY)
    assert [request.content for request in gateway.taken] == [BODY] * 3
    assert poster.retries == 2
    assert gateway.pauses == [0.25, 0.5]


async def test_a_refused_post_is_not_sent_again() -> None:
    gateway = Gateway(401)
    async with gateway.poster() as poster:
        with pytest.raises(RequestError, match="401"):
            await poster.post(BODY)


async def test_patience_has_an_end() -> None:
    gateway = Gateway(*[503] * 10)
    async with gateway.poster(patience_seconds=1.0) as poster:
        with pytest.raises(BrokerError, match="503"):
            await poster.post(BODY)
    assert sum(gateway.pauses) == pytest.approx(1.75)
