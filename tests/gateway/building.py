"""What the tests of the ways in share: tokens, a request that is good, and an application over a fake Kafka."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import orjson

from gateway.app import create_app
from gateway.tokens import issue
from projections.store import Store
from schemas.identity import uuid7
from schemas.telemetry import Telemetry
from schemas.times import DAY_US, rfc3339
from tests.gateway.conforming import HOOKS
from tests.gateway.test_webhooks import FakeKafka, settings

__all__ = ["NOW_US", "a_caller", "a_message_id", "a_send", "a_token", "records", "told"]

NOW_US = time.time_ns() // 1_000_000 * 1000


def a_token(*accounts: str, role: str = "publisher", subject: str = "booking") -> dict[str, str]:
    """The header of a token for these accounts."""
    made = issue("x" * 40, subject=subject, role=role, accounts=list(accounts or ["acme"]))
    return {"Authorization": f"Bearer {made}"}


def a_message_id(days_ago: float = 0, number: int = 0) -> str:
    """A message id with the time of so many days ago."""
    return uuid7(NOW_US - int(days_ago * DAY_US), number.to_bytes(10, "big"))


def a_send(**said: Any) -> dict[str, Any]:
    """A request that is good. A field that is said to be `...` is left out."""
    whole = {
        "message_id": a_message_id(),
        "account_id": "acme",
        "channel": "email",
        "template": {"id": "t1", "name": "Reminder", "kind": "transactional"},
        "recipient": {"kind": "client", "id": "c1"},
        "to": "Ann@Example.com",
        "requested_at": rfc3339(NOW_US),
    } | said
    return {name: value for name, value in whole.items() if value is not ...}


@asynccontextmanager
async def a_caller(
    kafka: FakeKafka, headers: dict[str, str] | None = None, store: Store | None = None
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a gateway that writes into `kafka` and reads from `store`; its token is `headers`, else acme's."""
    app = create_app(settings(), store or Store("http://127.0.0.1:1"), kafka, Telemetry())
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app),
        base_url="http://inside",
        headers=a_token() if headers is None else headers,
        event_hooks=HOOKS,
    ) as client:
        yield client


def told(answer: httpx.Response) -> dict[str, Any]:
    """What a problem says, but for the id of its request."""
    said: dict[str, Any] = answer.json()
    return {name: value for name, value in said.items() if name != "request_id"}


def records(kafka: FakeKafka, topic: str) -> list[tuple[str, Any]]:
    """What was written to a topic: key and JSON."""
    return [(key.decode(), orjson.loads(value)) for name, key, value, _ in kafka.sent if name == topic]
