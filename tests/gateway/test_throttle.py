"""Rate limits: requests of a token, and failures of a source address; one does not affect another."""

from typing import Any

import httpx
import pytest

from application.principals import Principal
from gateway.throttle import Throttle
from tests.fakes import FakeKafka
from tests.gateway.building import a_send, a_token
from tests.gateway.test_isolation import a_client
from tests.gateway.test_problems import Refusing
from tests.gateway.test_webhooks import post, post_as_postmark

STORE = Refusing("http://127.0.0.1:1")
"""Its results don't matter: a request that is not refused reaches the store."""
UNLIMITED = {"writes_per_second": 0, "reads_per_second": 0, "failures_per_minute": 0}


async def send(client: httpx.AsyncClient, subject: str = "booking") -> httpx.Response:
    return await client.post("/v1/sends", json=a_send(), headers=a_token(subject=subject))


async def listed(client: httpx.AsyncClient, subject: str = "ann") -> httpx.Response:
    return await client.get("/v1/messages", headers=a_token(role="viewer", subject=subject))


def limits(**said: int) -> dict[str, Any]:
    return UNLIMITED | said


async def until_refused(ask: Any, client: httpx.AsyncClient) -> httpx.Response:
    """Send requests until the limit is reached; a new second may begin in between, which resets it."""
    for _ in range(50):
        answer: httpx.Response = await ask(client)
        if answer.status_code == 429:
            return answer
    raise AssertionError("no limit was met")


async def test_a_token_that_writes_too_often_gets_retry_after() -> None:
    async with a_client(STORE, FakeKafka(), **limits(writes_per_second=1)) as client:
        answer = await until_refused(send, client)
        assert (answer.json()["code"], answer.headers["content-type"]) == ("rate-limited", "application/problem+json")
        assert int(answer.headers["Retry-After"]) >= 1
        assert (await send(client, "another")).status_code == 202
        assert (await listed(client)).status_code == 500  # reads are counted by themselves


async def test_a_token_that_reads_too_often_is_rate_limited() -> None:
    async with a_client(STORE, FakeKafka(), **limits(reads_per_second=1)) as client:
        assert (await until_refused(listed, client)).json()["code"] == "rate-limited"
        assert (await listed(client, "another")).status_code == 500
        assert (await send(client)).status_code == 202


async def test_bad_tokens_and_signatures_of_one_address_are_limited_and_good_ones_are_not() -> None:
    kafka = FakeKafka()
    async with a_client(STORE, kafka, **limits(failures_per_minute=3)) as client:
        failing = [
            await client.get("/v1/messages"),
            await client.get("/v1/messages", headers={"Authorization": "Bearer a.b.c"}),
            await client.post("/webhooks/twilio", content=b"a=b"),
            await client.post("/webhooks/twilio", content=b"a=b"),
            await client.get("/v1/messages"),
        ]
        assert [answer.status_code for answer in failing] == [401, 401, 401, 429, 429]
        assert {answer.json()["code"] for answer in failing[3:]} == {"rate-limited"}
        assert all(int(answer.headers["Retry-After"]) >= 1 for answer in failing[3:])
        assert (await post(client, b"[]")).status_code == 204
        assert (await post_as_postmark(client)).status_code == 204
        assert (await send(client)).status_code == 202


async def test_0_is_no_limit() -> None:
    throttle = Throttle(writes_per_second=0, reads_per_second=0, failures_per_minute=0)
    ann = Principal("ann", "publisher", frozenset({"acme"}))
    for _ in range(1000):
        await throttle.count_request(ann, "POST")
        assert await throttle.count_failure("192.0.2.1") is None


async def test_a_whole_network_of_sources_does_not_fill_the_memory() -> None:
    throttle = Throttle(writes_per_second=0, reads_per_second=0, failures_per_minute=1000)
    for number in range(10_000):
        await throttle.count_failure(f"2001:db8::{number:x}")
    assert len(throttle._limiter.storage.storage) <= 2 * 4096  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["writes_per_second", "reads_per_second", "failures_per_minute"])
def test_the_default_limits_are_generous(name: str) -> None:
    from tests.gateway.test_webhooks import settings

    assert getattr(settings(), name) >= 500


async def test_forbidden_requests_count_against_the_token_s_limit() -> None:
    async with a_client(STORE, FakeKafka(), **limits(reads_per_second=1)) as client:

        async def refused(client: httpx.AsyncClient) -> httpx.Response:
            return await client.get("/v1/messages", headers=a_token(role="publisher"))

        assert (await until_refused(refused, client)).json()["code"] == "rate-limited"
