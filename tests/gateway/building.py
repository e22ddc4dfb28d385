"""What the tests of the ways in share: tokens, and an ASGI application over a fake Kafka."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from gateway.app import create_app
from gateway.tokens import issue
from projections.store import Store
from schemas.telemetry import Telemetry
from tests.application.building import NOW_US, a_message_id, a_send, records
from tests.gateway.conforming import HOOKS
from tests.gateway.test_webhooks import FakeKafka, settings

__all__ = ["NOW_US", "a_caller", "a_message_id", "a_send", "a_token", "records", "told"]


def a_token(*accounts: str, role: str = "publisher", subject: str = "booking") -> dict[str, str]:
    """The header of a token for these accounts."""
    made = issue("x" * 40, subject=subject, role=role, accounts=list(accounts or ["acme"]))
    return {"Authorization": f"Bearer {made}"}


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
