"""Helpers of the application's tests: principals, valid requests, stores that fail."""

import time
from collections.abc import Callable
from typing import Any

import orjson

from application.principals import Principal
from projections.store import Store
from schemas.decoding.ids import uuid7
from schemas.decoding.times import DAY_US, rfc3339
from schemas.errors import StoreError
from tests.fakes import FakeKafka

__all__ = ["NOWHERE", "NOW_US", "FakeKafka", "a_message_id", "a_principal", "a_send", "records", "unanswered"]

NOW_US = time.time_ns() // 1_000_000 * 1000
NOWHERE = Store("http://127.0.0.1:1")
"""A store that no test may query."""


def a_principal(*accounts: str, subject: str = "jo", role: str = "operator") -> Principal:
    """A principal of these accounts."""
    return Principal(subject, role, frozenset(accounts or ["acme"]))


async def unanswered(_: Callable[..., Any], *__: object) -> Any:
    """Run nothing: ClickHouse is unavailable."""
    raise StoreError("ClickHouse is away", "nowhere", "make it answer")


def a_message_id(days_ago: float = 0, number: int = 0) -> str:
    """A message id whose time is that many days ago."""
    return uuid7(NOW_US - int(days_ago * DAY_US), number.to_bytes(10, "big"))


def a_send(**said: Any) -> dict[str, Any]:
    """A valid request. A field that is given as `...` is left out."""
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


def records(kafka: FakeKafka, topic: str) -> list[tuple[str, Any]]:
    """What was written to a topic: key and JSON."""
    return [(key.decode(), orjson.loads(value)) for name, key, value, _ in kafka.sent if name == topic]
