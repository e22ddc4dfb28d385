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

import anyio
from fastapi import FastAPI, Request, Response
from starlette.requests import ClientDisconnect

from application.writing import Kafka, Written, write
from gateway.answering import CLIENT_GONE
from gateway.bodies import body_of, in_turn
from gateway.intake import postmark, sendgrid, twilio
from gateway.intake.headers import first_said
from gateway.openapi import Answer, Body, operation
from gateway.problems import RETRY_SECONDS, Problem
from gateway.uploads import check_length
from schemas.errors import BrokerError, ConfigError, RecordRefused, SignatureInvalid
from schemas.identity import uuid7
from schemas.settings import PREFIX, GatewaySettings
from schemas.telemetry import Telemetry
from schemas.times import rfc3339
from schemas.topics import WEBHOOKS, Topic

__all__ = ["Check", "Post", "Provider", "providers", "route"]

MAX_BODY_BYTES: Final = 4 * 1024 * 1024
_IN_PLACE_BYTES: Final = 64 * 1024

_STORED: Final = {204: Answer("Stored: it is on all replicas")}
_CODES: Final = (
    *("signature-invalid", "body-too-slow", "too-large", "rate-limited", "internal-error"),
    *("kafka-away", "timed-out", "overloaded"),
)
_BODY: Final = Body(
    {kind: {"type": "string", "format": "binary"} for kind in ("application/json", "application/x-www-form-urlencoded")}
)
_SECURITY: Final = {
    "sendgrid": "sendgridSignature",
    "twilio": "twilioSignature",
    "postmark": "postmarkPassword",
}
_USER_AND_PASSWORD: Final = re.compile(r"^([a-z]+://)[^/?#]*@", re.I)
"""Before the host of a URL. What is written to Kafka must not hold a password."""


class Post(NamedTuple):
    """What a check needs: the body as it came over the wire, the headers, and the URL as the provider called it."""

    body: bytes
    headers: Mapping[str, str]
    url: str


Check = Callable[[Post], None]
"""Returns if the provider sent this post, else raises SignatureInvalid."""
CheckHeaders = Callable[[Mapping[str, str]], None]
"""Returns if some body may make these headers right, else raises SignatureInvalid."""


@dataclass(frozen=True, slots=True)
class Provider:
    """A provider's intake: its checks, and the headers that hold its signature. These are kept with the body."""

    name: str
    check_headers: CheckHeaders
    check: Check
    signature: str = ""
    signed_at: str = ""

    @property
    def topic(self) -> Topic:
        """Where its posts go."""
        return WEBHOOKS[self.name]


def providers(settings: GatewaySettings) -> list[Provider]:
    """Return the intakes. One without keys refuses everything, unless unverified intake is allowed.

    Raises ConfigError for keys that are none, and for Twilio without the URL that it signs: the Host header of a post
    is whatever its sender likes.
    """
    twilio_posts = settings.twilio_auth_tokens.get_secret_value() or settings.twilio_shared_keys.get_secret_value()
    if twilio_posts and not (settings.public_url or settings.insecure_webhooks):
        raise ConfigError(
            "Twilio signs the URL that it calls, and the gateway does not know it",
            f"{PREFIX}PUBLIC_URL",
            "Set it to the start of the URLs in Twilio's console: https://host[/path]",
        )
    keys = sendgrid.load_public_keys(settings.sendgrid_public_keys.get_secret_value())
    tokens = twilio.load_auth_tokens(settings.twilio_auth_tokens.get_secret_value())
    shared_keys = twilio.load_auth_tokens(settings.twilio_shared_keys.get_secret_value())
    credentials = postmark.load_credentials(settings.postmark_basic_auth.get_secret_value())
    secrets = postmark.load_header_secrets(settings.postmark_header_secrets.get_secret_value())
    checked = [
        Provider(
            "sendgrid",
            lambda headers: sendgrid.check_headers(headers, keys),
            lambda post: sendgrid.verify(post.body, post.headers, keys),
            sendgrid.SIGNATURE_HEADER,
            sendgrid.TIMESTAMP_HEADER,
        ),
        Provider(
            "twilio",
            lambda headers: twilio.check_headers(headers, tokens, shared_keys),
            lambda post: twilio.verify(post.body, post.headers, post.url, tokens, shared_keys),
            twilio.SIGNATURE_HEADER,
        ),
        # Its header is a password, and says all; nothing of it is kept.
        Provider("postmark", lambda headers: postmark.verify(headers, credentials, secrets), _take_all),
    ]
    if settings.insecure_webhooks:
        return [replace(provider, check_headers=_take_all, check=_take_all) for provider in checked]
    return checked


def _take_all(_: object) -> None:
    """Unverified intake."""


def route(app: FastAPI, provider: Provider, kafka: Kafka, telemetry: Telemetry, public_url: str) -> None:
    """Add `POST /webhooks/<provider>` to `app`."""
    threads = anyio.CapacityLimiter(1)
    base = _USER_AND_PASSWORD.sub(r"\1", public_url).rstrip("/")

    @app.post(
        f"/webhooks/{provider.name}",
        tags=["webhooks"],
        name=f"take_{provider.name}",
        **operation(
            f"take{provider.name.title()}Webhook", _STORED, codes=_CODES, body=_BODY, security=_SECURITY[provider.name]
        ),
    )
    async def take(request: Request) -> Response:
        """Receive a webhook: the signature is checked, the content is not."""
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
        except ClientDisconnect:
            status = CLIENT_GONE
            raise
        except Problem as problem:
            status = problem.status
            raise
        finally:
            telemetry.counter("webhooks_total", provider.name, str(status)).inc()
            telemetry.histogram("webhook_seconds", provider.name).observe(time.perf_counter() - started)

    async def _take(request: Request) -> None:
        check_length(request, MAX_BODY_BYTES)
        provider.check_headers(request.headers)
        body = await body_of(request, MAX_BODY_BYTES)
        url = _called_url(request, base)
        await _checked(provider, Post(body, request.headers, url), threads)
        received_us = time.time_ns() // 1000
        webhook_id = uuid7(received_us, os.urandom(10))
        said = {
            "webhook_id": webhook_id,
            "received_at": rfc3339(received_us),
            "request_url": url,
            "content_type": request.headers.get("content-type", ""),
            "signature": first_said(request.headers, provider.signature),
            "signed_at": first_said(request.headers, provider.signed_at),
            "peer": request.client.host if request.client else "",
        }
        headers = [(name, text.encode("utf-8", "replace")) for name, text in said.items()]
        try:
            await write(kafka, [Written(provider.topic, webhook_id, body, headers)])
        except BrokerError as error:
            raise Problem("kafka-away", "Not stored; send it again", headers={"Retry-After": RETRY_SECONDS}) from error
        except RecordRefused as error:  # the topic takes less than we do: an operator's to mend, not the provider's
            said_why = "Not stored: its topic in Kafka takes no record as large as this yet; send it again"
            raise Problem("kafka-away", said_why, headers={"Retry-After": RETRY_SECONDS}) from error


async def _checked(provider: Provider, post: Post, threads: anyio.CapacityLimiter) -> None:
    """Check a post; a large one in a thread, one after the other, since whoever sent it may be anybody."""
    if len(post.body) <= _IN_PLACE_BYTES:
        provider.check(post)
        return
    said = "Too many large posts wait for their check; send it again"
    await in_turn(threads, "overloaded", said, lambda: provider.check(post))


def _called_url(request: Request, base: str) -> str:
    """Return the URL as the provider called it; path and query are as they came, since Twilio signs them so.

    Without a `base` its host is what the Host header claims. It has no fragment: no client sends one.
    """
    scope = request.scope
    path = scope.get("raw_path") or scope["path"].encode()
    query = scope["query_string"]
    said: str = (path + b"?" + query if query else path).decode("utf-8", "replace")
    return (base or f"{scope['scheme']}://{request.headers.get('host', '')}") + said
