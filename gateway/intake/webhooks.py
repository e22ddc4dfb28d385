"""Webhooks in: verified on the raw bytes, written to Kafka, and only then answered.

In:  a provider's POST.
Out: one record of `webhooks.<provider>`, byte for byte, with what is needed to check its signature again years later.
A rightly signed body is never refused for its content: the ledger parks what it can't read.
"""

import os
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from aiokafka import AIOKafkaProducer
from fastapi import FastAPI, Request, Response

from gateway.bodies import body_of
from gateway.intake import postmark, sendgrid, twilio
from gateway.problems import Problem
from gateway.writing import Written, write
from schemas.errors import BrokerError, SignatureInvalid
from schemas.identity import uuid7
from schemas.settings import GatewaySettings
from schemas.telemetry import Telemetry
from schemas.times import rfc3339
from schemas.topics import WEBHOOKS, Topic

__all__ = ["Check", "Post", "Provider", "providers", "route"]

MAX_BODY_BYTES: Final = 4 * 1024 * 1024

_USER_AND_PASSWORD: Final = re.compile(r"^([a-z]+://)[^/?#]*@", re.I)
"""Before the host of a URL. What is written to Kafka must not hold a password."""


class Post(NamedTuple):
    """What a check needs: the body as it came over the wire, the headers, and the URL as the provider called it."""

    body: bytes
    headers: Mapping[str, str]
    url: str


Check = Callable[[Post], None]
"""Returns if the provider sent this post, else raises SignatureInvalid."""


@dataclass(frozen=True, slots=True)
class Provider:
    """A provider's intake: its check, and the headers that hold its signature. These are kept with the body."""

    name: str
    check: Check
    signature: str = ""
    signed_at: str = ""

    @property
    def topic(self) -> Topic:
        """Where its posts go."""
        return WEBHOOKS[self.name]


def providers(settings: GatewaySettings) -> list[Provider]:
    """Return the intakes. One without keys refuses everything, unless unverified intake is allowed."""
    keys = sendgrid.load_public_keys(settings.sendgrid_public_keys.get_secret_value())
    tokens = twilio.load_auth_tokens(settings.twilio_auth_tokens.get_secret_value())
    credentials = postmark.load_credentials(settings.postmark_basic_auth.get_secret_value())
    checked = [
        Provider(
            "sendgrid",
            lambda post: sendgrid.verify(post.body, post.headers, keys),
            sendgrid.SIGNATURE_HEADER,
            sendgrid.TIMESTAMP_HEADER,
        ),
        Provider(
            "twilio",
            lambda post: twilio.verify(post.body, post.headers, post.url, tokens),
            twilio.SIGNATURE_HEADER,
        ),
        Provider("postmark", lambda post: postmark.verify(post.headers, credentials)),  # its header is a password
    ]
    if settings.insecure_webhooks:
        return [replace(provider, check=_take_all) for provider in checked]
    return checked


def _take_all(_: Post) -> None:
    """Unverified intake."""


def route(app: FastAPI, provider: Provider, kafka: AIOKafkaProducer, telemetry: Telemetry, public_url: str) -> None:
    """Add `POST /webhooks/<provider>` to `app`."""
    base = _USER_AND_PASSWORD.sub(r"\1", public_url).rstrip("/")

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
        body = await body_of(request, MAX_BODY_BYTES)
        url = _called_url(request, base)
        provider.check(Post(body, request.headers, url))
        received_us = time.time_ns() // 1000
        webhook_id = uuid7(received_us, os.urandom(10))
        said = {
            "webhook_id": webhook_id,
            "received_at": rfc3339(received_us),
            "request_url": url,
            "content_type": request.headers.get("content-type", ""),
            "signature": request.headers.get(provider.signature, "") if provider.signature else "",
            "signed_at": request.headers.get(provider.signed_at, "") if provider.signed_at else "",
            "peer": request.client.host if request.client else "",
        }
        headers = [(name, text.encode("utf-8", "replace")) for name, text in said.items()]
        try:
            await write(kafka, [Written(provider.topic, webhook_id, body, headers)])
        except BrokerError as error:
            telemetry.counter("errors_total", "kafka").inc()
            raise Problem(503, "Not stored; send it again", headers={"Retry-After": "5"}) from error


def _called_url(request: Request, base: str) -> str:
    """Return the URL as the provider called it; path and query are as they came, since Twilio signs them so.

    Without a `base` its host is what the Host header claims. It has no fragment: no client sends one.
    """
    scope = request.scope
    path = scope.get("raw_path") or scope["path"].encode()
    query = scope["query_string"]
    said: str = (path + b"?" + query if query else path).decode("utf-8", "replace")
    return (base or f"{scope['scheme']}://{request.headers.get('host', '')}") + said
