"""Events and requests, as the exercises send them."""

import os
import time
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from schemas.decoding.ids import uuid7
from tests.gate.building import a_request
from tests.stack.firing.stand import Stand

__all__ = ["delivered", "event", "events", "requests", "usual"]

Event = Mapping[str, Any]


def event(kind: str, address: str = "", *, seconds_ago: float = 0, is_ours: bool = True, **fields: Any) -> Event:
    """An event of SendGrid about a message of its own. Without `is_ours` it names no message of ours."""
    message_id = uuid7(int(time.time() * 1e6), os.urandom(10))
    ours = {"sl_account": "demo", "sl_message": message_id} if is_ours else {}
    return {
        "event": kind,
        "email": address or f"{uuid4().hex}@example.com",
        "timestamp": int(time.time() - seconds_ago),
        "sg_message_id": uuid4().hex,
        **ours,
        **fields,
    }


def events(count: int, kind: str, **fields: Any) -> list[Event]:
    """Events of a kind, about as many messages and addresses."""
    return [event(kind, **fields) for _ in range(count)]


def delivered(count: int) -> list[Event]:
    """Deliveries."""
    return events(count, "delivered")


def requests(count: int) -> list[dict[str, Any]]:
    """Requests for messages of `demo`."""
    return [a_request("demo") for _ in range(count)]


async def usual(stand: Stand) -> None:
    """The usual traffic: some messages are requested, and some are delivered."""
    assert await stand.webhook(delivered(20)) == 204
    assert await stand.ask(requests(2)) == 202
