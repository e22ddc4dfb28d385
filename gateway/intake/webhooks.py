"""Webhooks in: verified on the raw bytes, written to Kafka, and only then answered.

In:  a provider's POST.
Out: one record of `webhooks.<provider>`, byte for byte, with what is needed to check its signature again years later.
A rightly signed body is never refused for its content: the ledger parks what it can't read.
"""

import asyncio
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from fastapi import FastAPI, Request, Response

from gateway.intake import sendgrid
from gateway.problems import Problem
from schemas.errors import SignatureInvalid
from schemas.identity import uuid7
from schemas.settings import GatewaySettings
from schemas.telemetry import Telemetry
from schemas.times import rfc3339
from schemas.topics import WEBHOOKS, Topic

__all__ = ["Provider", "providers", "route"]

MAX_BODY_BYTES: Final = 4 * 1024 * 1024
ACKNOWLEDGED_WITHIN_SECONDS: Final = 8.0

Check = Callable[[bytes, Mapping[str, str]], None]
"""Returns if the provider sent these bytes, else raises SignatureInvalid."""


@dataclass(frozen=True, slots=True)
class Provider:
    """A provider's intake: its topic, its check, and the headers that hold its signature."""

    name: str
    topic: Topic
    check: Check
    signature: str
    signed_at: str


def providers(settings: GatewaySettings) -> list[Provider]:
    """Return the intakes. One without keys refuses everything, unless unverified intake is allowed."""
    keys = sendgrid.load_public_keys(settings.sendgrid_public_keys.get_secret_value())

    def check(body: bytes, headers: Mapping[str, str]) -> None:
        if not settings.insecure_webhooks:
            sendgrid.verify(body, headers, keys)

    topic = WEBHOOKS["sendgrid"]
    return [Provider("sendgrid", topic, check, sendgrid.SIGNATURE_HEADER, sendgrid.TIMESTAMP_HEADER)]


def route(app: FastAPI, provider: Provider, kafka: AIOKafkaProducer, telemetry: Telemetry, public_url: str) -> None:
    """Add `POST /webhooks/<provider>` to `app`."""

    @app.post(f"/webhooks/{provider.name}", status_code=204, tags=["webhooks"], name=f"take_{provider.name}")
    async def take(request: Request) -> Response:
        started = time.perf_counter()
        status = 500
        try:
            await _take(request)
            status = 204
            return Response(status_code=204)
        except SignatureInvalid:
            status = 401
            telemetry.counter("signature_failures_total", provider.name).inc()
            raise
        except Problem as problem:
            status = problem.status
            raise
        finally:
            telemetry.counter("webhooks_total", provider.name, str(status)).inc()
            telemetry.histogram("webhook_seconds", provider.name).observe(time.perf_counter() - started)

    async def _take(request: Request) -> None:
        body = await _body(request)
        provider.check(body, request.headers)
        received_us = time.time_ns() // 1000
        webhook_id = uuid7(received_us, os.urandom(10))
        url = public_url.rstrip("/") + str(request.url.path) if public_url else str(request.url)
        said = {
            "webhook_id": webhook_id,
            "received_at": rfc3339(received_us),
            "request_url": url,
            "content_type": request.headers.get("content-type", ""),
            "signature": request.headers.get(provider.signature, ""),
            "signed_at": request.headers.get(provider.signed_at, ""),
            "peer": request.client.host if request.client else "",
        }
        headers = [(name, text.encode("utf-8", "replace")) for name, text in said.items()]
        try:
            async with asyncio.timeout(ACKNOWLEDGED_WITHIN_SECONDS):
                await kafka.send_and_wait(provider.topic.name, body, key=webhook_id.encode(), headers=headers)
        except (KafkaError, TimeoutError) as error:
            raise Problem(503, "Not stored; send it again", headers={"Retry-After": "5"}) from error


async def _body(request: Request) -> bytes:
    """The body as it came over the wire. Raises Problem 413 as soon as it is known to be too large."""
    stated = request.headers.get("content-length", "")
    if stated.isdecimal() and int(stated) > MAX_BODY_BYTES:
        raise Problem(413, f"The body has {stated} bytes; {MAX_BODY_BYTES} are taken")
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > MAX_BODY_BYTES:
            raise Problem(413, f"The body has more than the {MAX_BODY_BYTES} bytes that are taken")
        chunks.append(chunk)
    return b"".join(chunks)
