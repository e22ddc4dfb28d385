"""Helpers of the gateway's tests: tokens, and a client of an ASGI application over a fake Kafka."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from application.raw_events import ReadRecord
from gateway.app import create_app
from gateway.tokens import issue
from projections.store import Store
from schemas.telemetry import Telemetry
from tests.application.building import NOW_US, a_message_id, a_send, records
from tests.fakes import FakeKafka
from tests.gateway.conforming import HOOKS
from tests.gateway.test_webhooks import settings

__all__ = ["NOW_US", "a_caller", "a_message_id", "a_send", "a_token", "records", "without_request_id"]


def a_token(*accounts: str, role: str = "publisher", subject: str = "booking") -> dict[str, str]:
    """The header of a token for these accounts."""
    made = issue("x" * 40, subject=subject, role=role, accounts=list(accounts or ["acme"]))
    return {"Authorization": f"Bearer {made}"}


@asynccontextmanager
async def a_caller(
    kafka: FakeKafka,
    headers: dict[str, str] | None = None,
    store: Store | None = None,
    read_one: ReadRecord | None = None,
    **overrides: Any,
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a gateway that writes to `kafka` and reads from `store`; by default with acme's token."""
    app = create_app(settings(**overrides), store or Store("http://127.0.0.1:1"), kafka, Telemetry(), read_one=read_one)
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app),
        base_url="http://inside",
        headers=a_token() if headers is None else headers,
        event_hooks=HOOKS,
    ) as client:
        yield client


def without_request_id(answer: httpx.Response) -> dict[str, Any]:
    """The fields of a problem without the request id."""
    problem: dict[str, Any] = answer.json()
    return {name: value for name, value in problem.items() if name != "request_id"}
