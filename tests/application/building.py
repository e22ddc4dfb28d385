"""What the tests of the application share: who asks, a request that is good, and a Kafka that does as it is told."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import orjson

from application.principals import Principal
from processors.engine import Output
from projections.store import Store
from schemas.errors import BrokerError, RecordRefused, StoreError
from schemas.identity import uuid7
from schemas.times import DAY_US, rfc3339

__all__ = ["NOWHERE", "NOW_US", "FakeKafka", "a_message_id", "a_principal", "a_send", "records", "unanswered"]

NOW_US = time.time_ns() // 1_000_000 * 1000
NOWHERE = Store("http://127.0.0.1:1")
"""A store that nothing may ask."""


class FakeKafka:
    """Keeps the records that it is sent, or fails."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, bytes, bytes, dict[str, bytes]]] = []
        self.fails = False
        self.refuses: set[str] = set()
        """Topics that take none of the records, since each is larger than their max.message.bytes."""
        self.healthy = True

    async def start(self) -> None: ...
    async def stop(self) -> None: ...

    async def metadata(self) -> frozenset[str]:
        if self.fails:
            raise BrokerError("Kafka does not answer", "nowhere", "make it answer")
        return frozenset()

    async def send_all(self, outputs: Sequence[Output], *, within_seconds: float | None = None) -> None:
        if self.fails:
            raise BrokerError("Kafka does not acknowledge", outputs[0].topic, "make it answer")
        refused = {n: "too large" for n, output in enumerate(outputs) if output.topic in self.refuses}
        for output in outputs:
            if output.topic not in self.refuses:
                self.sent.append((output.topic, output.key or b"", output.value or b"", dict(output.headers)))
        if refused:
            raise RecordRefused("Kafka refuses records", "a topic", refused)

    async def send_batches(self, outputs: Sequence[Output], *, within_seconds: float | None = None) -> None:
        await self.send_all(outputs, within_seconds=within_seconds)


def a_principal(*accounts: str, subject: str = "jo", role: str = "operator") -> Principal:
    """Somebody who acts for these accounts."""
    return Principal(subject, role, frozenset(accounts or ["acme"]))


async def unanswered(_: Callable[..., Any], *__: object) -> Any:
    """Run nothing: ClickHouse is away."""
    raise StoreError("ClickHouse is away", "nowhere", "make it answer")


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


def records(kafka: FakeKafka, topic: str) -> list[tuple[str, Any]]:
    """What was written to a topic: key and JSON."""
    return [(key.decode(), orjson.loads(value)) for name, key, value, _ in kafka.sent if name == topic]
