"""Webhook routes: the raw bytes are verified, written to Kafka, and only then answered.

In:  a provider's POST.
Out: one record of `webhooks.<provider>` with the raw body, and headers with what is needed to verify its signature
again later. A correctly signed body is never refused for its content: the ledger parks what it can't decode.
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

from application.signatures import postmark, sendgrid, twilio
from application.signatures.headers import first_value
from application.signatures.keys import load_keys
from application.writing import OutgoingRecord, write
from gateway.bodies import read_body, run_limited
from gateway.middleware import CLIENT_GONE
from gateway.openapi import BodySpec, ResponseSpec, operation
from gateway.problems import RETRY_SECONDS, Problem
from gateway.uploads import check_length
from processors.kafka.ports import RecordProducer
from processors.tracing import Tracing
from schemas.decoding.ids import uuid7
from schemas.decoding.times import rfc3339
from schemas.errors import BrokerError, ConfigError, RecordRefused, SignatureInvalid
from schemas.settings import PREFIX, GatewaySettings
from schemas.telemetry import (
    SIGNATURE_FAILURE_TIMESTAMP_SECONDS,
    SIGNATURE_FAILURES_TOTAL,
    WEBHOOK_SECONDS,
    WEBHOOKS_TOTAL,
    Telemetry,
)
from schemas.topics import WEBHOOKS, Topic

__all__ = ["Provider", "VerifyPost", "WebhookPost", "providers", "route"]

MAX_BODY_BYTES: Final = 4 * 1024 * 1024
_IN_PLACE_BYTES: Final = 64 * 1024

_STORED: Final = {204: ResponseSpec("Stored: it is on all replicas")}
_CODES: Final = (
    *("signature-invalid", "body-too-slow", "too-large", "rate-limited", "internal-error"),
    *("kafka-away", "timed-out", "overloaded"),
)
_BODY: Final = BodySpec(
    {kind: {"type": "string", "format": "binary"} for kind in ("application/json", "application/x-www-form-urlencoded")}
)
_SECURITY: Final = {
    "sendgrid": "sendgridSignature",
    "twilio": "twilioSignature",
    "postmark": "postmarkPassword",
}
_USER_AND_PASSWORD: Final = re.compile(r"^([a-z]+://)[^/?#]*@", re.I)
"""User and password before the host of a URL: a record in Kafka must not contain a password."""


class WebhookPost(NamedTuple):
    """A webhook request: the raw body, the headers, and the URL as the provider called it."""

    body: bytes
    headers: Mapping[str, str]
    url: str


VerifyPost = Callable[[WebhookPost], None]
"""Returns if the provider sent this request, else raises SignatureInvalid."""
VerifyHeaders = Callable[[Mapping[str, str]], None]
"""Returns if the headers may be valid with some body, else raises SignatureInvalid."""


@dataclass(frozen=True, slots=True)
class Provider:
    """How a provider's webhooks are verified: the checks, and the signature headers, which are stored with the body."""

    name: str
    check_headers: VerifyHeaders
    check: VerifyPost
    signature: str = ""
    signed_at: str = ""

    @property
    def topic(self) -> Topic:
        """The topic of its webhooks."""
        return WEBHOOKS[self.name]


def providers(settings: GatewaySettings) -> list[Provider]:
    """Return the providers. One without keys refuses everything, unless unverified webhooks are allowed.

    Raises ConfigError for invalid keys, and for Twilio without the public URL that it signs: the Host header can't be
    trusted.
    """
    twilio_posts = settings.twilio_auth_tokens.get_secret_value() or settings.twilio_shared_keys.get_secret_value()
    if twilio_posts and not (settings.public_url or settings.insecure_webhooks):
        raise ConfigError(
            "Twilio signs the URL that it calls, and the gateway does not know it",
            f"{PREFIX}PUBLIC_URL",
            "Set it to the start of the URLs in Twilio's console: https://host[/path]",
        )
    keys = load_keys(settings)
    credentials = postmark.load_credentials(settings.postmark_basic_auth.get_secret_value())
    secrets = postmark.load_header_secrets(settings.postmark_header_secrets.get_secret_value())
    checked = [
        Provider(
            "sendgrid",
            lambda headers: sendgrid.check_headers(headers, keys.sendgrid),
            lambda post: sendgrid.verify(post.body, post.headers, keys.sendgrid),
            sendgrid.SIGNATURE_HEADER,
            sendgrid.TIMESTAMP_HEADER,
        ),
        Provider(
            "twilio",
            lambda headers: twilio.check_headers(headers, keys.twilio_tokens, keys.twilio_shared),
            lambda post: twilio.verify(post.body, post.headers, post.url, keys.twilio_tokens, keys.twilio_shared),
            twilio.SIGNATURE_HEADER,
        ),
        # Its header contains a password: it is checked completely, and not stored.
        Provider("postmark", lambda headers: postmark.verify(headers, credentials, secrets), _accept_all),
    ]
    if settings.insecure_webhooks:
        return [replace(provider, check_headers=_accept_all, check=_accept_all) for provider in checked]
    return checked


def _accept_all(_: object) -> None:
    """Accept anything: webhooks are not verified."""


def route(
    app: FastAPI, provider: Provider, kafka: RecordProducer, telemetry: Telemetry, tracing: Tracing, public_url: str
) -> None:
    """Add `POST /webhooks/<provider>` to `app`."""
    threads = anyio.CapacityLimiter(1)
    base = _USER_AND_PASSWORD.sub(r"\1", public_url).rstrip("/")

    path = f"/webhooks/{provider.name}"

    @app.post(
        path,
        tags=["webhooks"],
        name=f"take_{provider.name}",
        **operation(
            f"take{provider.name.title()}Webhook", _STORED, codes=_CODES, body=_BODY, security=_SECURITY[provider.name]
        ),
    )
    async def take(request: Request) -> Response:
        """Receive a webhook: the signature is checked, the content is not."""
        with tracing.request(path) as answered:
            return await respond(request, answered)

    async def respond(request: Request, answered: Callable[[int], None]) -> Response:
        started = time.perf_counter()
        status = 500
        try:
            await _receive(request, provider, kafka, tracing, base, threads)
            status = 204
            return Response(status_code=204)
        except SignatureInvalid:
            status = 401
            telemetry.counter(SIGNATURE_FAILURES_TOTAL, provider=provider.name).inc()
            telemetry.gauge(SIGNATURE_FAILURE_TIMESTAMP_SECONDS, provider=provider.name).set_to_current_time()
            raise
        except ClientDisconnect:
            status = CLIENT_GONE
            raise
        except Problem as problem:
            status = problem.status
            raise
        finally:
            answered(status)
            telemetry.counter(WEBHOOKS_TOTAL, provider=provider.name, status=str(status)).inc()
            telemetry.histogram(WEBHOOK_SECONDS, provider=provider.name).observe(time.perf_counter() - started)


async def _receive(
    request: Request,
    provider: Provider,
    kafka: RecordProducer,
    tracing: Tracing,
    base: str,
    threads: anyio.CapacityLimiter,
) -> None:
    """Verify a webhook and write it to Kafka. Raises SignatureInvalid and Problem."""
    check_length(request, MAX_BODY_BYTES)
    provider.check_headers(request.headers)
    body = await read_body(request, MAX_BODY_BYTES)
    url = _called_url(request, base)
    await _verify(provider, WebhookPost(body, request.headers, url), threads)
    received_us = time.time_ns() // 1000
    webhook_id = uuid7(received_us, os.urandom(10))
    metadata = {
        "webhook_id": webhook_id,
        "received_at": rfc3339(received_us),
        "request_url": url,
        "content_type": request.headers.get("content-type", ""),
        "signature": first_value(request.headers, provider.signature),
        "signed_at": first_value(request.headers, provider.signed_at),
        "peer": request.client.host if request.client else "",
    }
    headers = [(name, text.encode("utf-8", "replace")) for name, text in metadata.items()]
    try:
        with tracing.sending(provider.topic.name, headers):
            await write(kafka, [OutgoingRecord(provider.topic, webhook_id, body, headers)])
    except BrokerError as error:
        raise Problem("kafka-away", "Not stored; send it again", headers={"Retry-After": RETRY_SECONDS}) from error
    except RecordRefused as error:  # the topic's limit is too low: the operator can correct it, the provider can't
        detail = "Not stored: the topic in Kafka does not accept a record of this size yet; send it again"
        raise Problem("kafka-away", detail, headers={"Retry-After": RETRY_SECONDS}) from error


async def _verify(provider: Provider, post: WebhookPost, threads: anyio.CapacityLimiter) -> None:
    """Verify a request; large ones in a single thread, since the sender is not known yet."""
    if len(post.body) <= _IN_PLACE_BYTES:
        provider.check(post)
        return
    detail = "Too many large requests are waiting to be verified; send it again"
    await run_limited(threads, "overloaded", detail, lambda: provider.check(post))


def _called_url(request: Request, base: str) -> str:
    """Return the URL as the provider called it, with the raw path and query, since Twilio signs them.

    Without a `base` its host is the Host header. It has no fragment: clients never send one.
    """
    scope = request.scope
    path = scope.get("raw_path") or scope["path"].encode()
    query = scope["query_string"]
    metadata: str = (path + b"?" + query if query else path).decode("utf-8", "replace")
    return (base or f"{scope['scheme']}://{request.headers.get('host', '')}") + metadata
