"""What a connection may send, how much and how slowly: over real sockets, through the real server."""

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
from fastapi.responses import Response, StreamingResponse

from gateway import server
from tests.gateway.building import a_token
from tests.gateway.serving import served

AUTH = a_token()["Authorization"]
PLAUSIBLE = "A" * 27 + "="
LONG: dict[str, Any] = {"header_seconds": 60, "body_seconds": 60}


def request(method: str, path: str, *headers: str) -> str:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: gateway", *headers, "", ""])


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(request("GET", "/healthz", "x: " + "a" * 8192), id="one long header"),
        pytest.param(request("GET", "/healthz", *(f"x{n}: {'a' * 90}" for n in range(50))), id="many headers"),
        pytest.param(request("GET", "/healthz", *(f"x{n}: a" for n in range(101))), id="101 headers"),
        pytest.param(request("GET", "/healthz?" + "a" * 8192), id="a long query"),
        pytest.param("GET /healthz HTTP/1.1\r\nx: " + "a" * 300_000, id="a header without an end"),
        pytest.param("GET /" + "a" * 300_000, id="a path without an end"),
    ],
)
async def test_headers_beyond_the_limit_are_refused(sent: str) -> None:
    async with served(max_header_bytes=4096, **LONG) as gateway, gateway.connection() as connection:
        await connection.send(sent)
        answer = (await connection.all_that_comes()).decode()
    assert answer.startswith("HTTP/1.1 431 ")
    assert '"code":"headers-too-large"' in answer
    assert "\r\nrequest-id: " in answer
    labels = {"route": "none", "status": "431"}
    assert gateway.telemetry.registry.get_sample_value("sendledger_requests_total", labels) == 1


async def test_headers_within_the_limit_are_taken_each_time() -> None:
    async with served(max_header_bytes=4096, **LONG) as gateway, gateway.connection() as connection:
        for _ in range(3):
            await connection.send(request("HEAD", "/healthz", "x: " + "a" * 3000))
            assert (await connection.head()).startswith("HTTP/1.1 200 ")


async def test_what_is_not_http_is_answered_with_a_problem() -> None:
    async with served(**LONG) as gateway, gateway.connection() as connection:
        await connection.send(b"\x16\x03\x01\x02\x00\r\n\r\n")
        answer = (await connection.all_that_comes()).decode()
    assert answer.startswith("HTTP/1.1 400 ")
    assert '"code":"bad-request"' in answer
    assert '"instance":""' in answer


async def test_an_idle_connection_is_closed() -> None:
    async with served(header_seconds=0.05) as gateway, gateway.connection() as connection:
        assert await connection.all_that_comes() == b""


async def test_a_connection_with_endless_headers_is_closed() -> None:
    async with served(header_seconds=0.05) as gateway, gateway.connection() as connection:
        await connection.send("GET /healthz HTTP/1.1\r\nHost:")
        assert (await connection.all_that_comes()).startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize(
    "head",
    [
        request("POST", "/v1/sends", f"Authorization: {AUTH}", "Content-Length: 10"),
        request("POST", "/webhooks/twilio", f"X-Twilio-Signature: {PLAUSIBLE}", "Content-Length: 10"),
    ],
)
async def test_an_incomplete_body_is_answered_with_408(head: str) -> None:
    async with served(body_seconds=0.05) as gateway, gateway.connection() as connection:
        await connection.send(head + "123")
        assert (await connection.head()).startswith("HTTP/1.1 408 ")
    assert gateway.kafka.sent == []


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(request("POST", "/webhooks/sendgrid", "Content-Length: 4194304"), id="unsigned"),
        pytest.param(request("POST", "/webhooks/twilio", "Content-Length: 4194304"), id="unsigned"),
        pytest.param(
            request("POST", "/webhooks/twilio", "X-Twilio-Signature: x", "Content-Length: 4194304"), id="no signature"
        ),
        pytest.param(request("POST", "/webhooks/postmark", "Content-Length: 4194304"), id="no password"),
        pytest.param(request("POST", "/v1/sends", "Content-Length: 4194304"), id="no token"),
    ],
)
async def test_an_unauthorised_request_is_refused_before_its_body(head: str) -> None:
    async with served(**LONG) as gateway, gateway.connection() as connection:
        await connection.send(head)
        assert (await connection.head()).startswith("HTTP/1.1 401 ")


async def test_connections_over_the_limit_get_503() -> None:
    async with (
        served(max_connections=2, **LONG) as gateway,
        gateway.connection() as first,
        gateway.connection() as second,
    ):
        for connection in (first, second):
            await connection.send(request("HEAD", "/healthz"))
            assert (await connection.head()).startswith("HTTP/1.1 200 ")
        async with gateway.connection() as third:
            assert (await third.all_that_comes()).startswith(b"HTTP/1.1 503 ")
        limits = gateway.telemetry.registry.get_sample_value("sendledger_errors_total", {"of": "limits"})
        assert limits == 1, "an alert is about it"
        await first.send(request("HEAD", "/healthz"))
        assert (await first.head()).startswith("HTTP/1.1 200 ")


async def test_head_has_the_length_and_no_body() -> None:
    async with served(**LONG) as gateway, gateway.connection() as connection:
        await connection.send(request("HEAD", "/healthz") + request("GET", "/healthz"))
        without, answer = await connection.head(), await connection.head()
        assert "content-length: 18" in without
        assert "content-length: 18" in answer
        assert await connection.exactly(18) == b'{"status":"alive"}'


async def test_an_aborted_upload_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    counted = {"route": "/v1/sends", "status": "499"}
    with caplog.at_level(logging.WARNING):
        async with served(**LONG) as gateway, gateway.connection() as connection:
            await connection.send(
                request("POST", "/v1/sends", f"Authorization: {AUTH}", "Content-Length: 10", "Expect: 100-continue")
            )
            assert (await connection.head()).startswith("HTTP/1.1 100 ")
        # the gateway has ended, and with it every request
    assert of_the_server(caplog) == []
    assert gateway.telemetry.registry.get_sample_value("sendledger_requests_total", counted) == 1


async def test_a_failed_stream_breaks_the_connection(caplog: pytest.LogCaptureFixture) -> None:
    async def rows() -> AsyncIterator[bytes]:
        yield b"a,b\r\n"
        raise ZeroDivisionError

    async with served(**LONG) as gateway:

        @gateway.app.get("/breaks-off")
        async def breaking() -> StreamingResponse:
            return StreamingResponse(rows())

        async with gateway.connection() as connection:
            await connection.send(request("GET", "/breaks-off"))
            answer = await connection.all_that_comes()
    assert answer.endswith(b"5\r\na,b\r\n\r\n")  # and no chunk that ends it
    assert of_the_server(caplog) == []  # uvicorn says nothing: our own line has


async def test_a_client_that_does_not_read_is_disconnected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_WRITE_SECONDS", 0.05)
    ended = asyncio.Event()

    async def rows() -> AsyncIterator[bytes]:
        while True:
            yield b"row" * 10_000_000  # more than fits into the kernel's buffers at both ends

    class Endless(StreamingResponse):
        async def __call__(self, *asgi: Any) -> None:
            try:
                await super().__call__(*asgi)
            finally:
                ended.set()

    async with served(**LONG) as gateway:

        @gateway.app.get("/endless")
        async def endless() -> Response:
            return Endless(rows())

        async with gateway.connection() as connection:
            await connection.send(request("GET", "/endless"))
            async with asyncio.timeout(60):
                await ended.wait()  # the test never reads


async def test_all_bodies_together_stay_within_the_memory_budget() -> None:
    mib = 1 << 20
    async with served(body_bytes=16 * mib, **LONG) as gateway:
        async with gateway.connection() as first, gateway.connection() as second:
            for connection in (first, second):
                await connection.send(
                    request("POST", "/v1/sends", f"Authorization: {AUTH}", f"Content-Length: {12 * mib}")
                )
            await first.send(b" " * (9 * mib))
            await asyncio.gather(second.send(b" " * (9 * mib)), refused(first, second))
        async with gateway.connection() as third:
            await third.send(request("POST", "/v1/sends", f"Authorization: {AUTH}", f"Content-Length: {12 * mib}"))
            await third.send(b" " * (12 * mib))
            assert (await third.head()).startswith("HTTP/1.1 400 ")  # blanks are no JSON
    assert gateway.app.state.uploads.buffered_bytes == 0


def of_the_server(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name.startswith(("uvicorn", "asyncio"))]


async def refused(*connections: object) -> None:
    """One of the connections gets 503, with Retry-After."""
    waiting = [asyncio.create_task(connection.head()) for connection in connections]  # type: ignore[attr-defined]
    done, others = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    for other in others:
        other.cancel()
    await asyncio.wait(waiting)
    [answer] = [one.result() for one in done]
    assert answer.startswith("HTTP/1.1 503 ")
    assert "retry-after: 5" in answer
