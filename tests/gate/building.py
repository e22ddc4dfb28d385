"""Records for the gate's tests: what booking services, billing and support write."""

import time
from typing import Any
from uuid import uuid4

import orjson

from schemas.decoding.ids import uuid7
from schemas.decoding.times import rfc3339

__all__ = ["a_command", "a_policy", "a_request", "now_us"]


def now_us() -> int:
    return time.time_ns() // 1000


def a_request(account: str, **overrides: Any) -> dict[str, Any]:
    """A SendRequest made now."""
    at_us = now_us()
    return {
        "message_id": uuid7(at_us, uuid4().bytes),
        "account_id": account,
        "channel": "email",
        "template": {"id": "reminder", "name": "Reminder", "kind": "transactional"},
        "recipient": {"kind": "client", "id": "c1"},
        "to": "ann@example.com",
        "requested_at": rfc3339(at_us),
    } | overrides


def a_policy(account: str, **overrides: Any) -> dict[str, Any]:
    """An AccountPolicy of now."""
    return {"account_id": account, "updated_at": rfc3339(now_us())} | overrides


def a_command(action: str, address: str, **overrides: Any) -> dict[str, Any]:
    """A SuppressionCommand of now."""
    return {
        "command_id": f"cmd-{uuid4().hex}",
        "action": action,
        "channel": "email",
        "address": address,
        "scope": "*",
        "reason": "asked",
        "actor": "support",
        "at": rfc3339(now_us()),
    } | overrides


def as_bytes(record: dict[str, Any]) -> bytes:
    return orjson.dumps(record)
