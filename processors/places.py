"""Where a record stands in the log, and when it came: by the gateway's header, else by Kafka's own time."""

from collections.abc import Sequence
from typing import Final

from processors.engine import Record
from schemas.events import Place
from schemas.times import rfc3339_us
from schemas.topics import WEBHOOKS

__all__ = ["place_of"]

_STATED: Final = frozenset(topic.name for topic in WEBHOOKS.values())
"""Topics whose records say themselves when they came."""


def place_of(record: Record) -> Place:
    """Return where a record stands and when it came: by the gateway's header, else by Kafka's own time."""
    received_us = record.timestamp * 1000
    if record.topic in _STATED:
        stated = _header(record.headers, "received_at")
        received_us = (rfc3339_us(stated) if stated else None) or received_us
    return Place(record.topic, record.partition, record.offset, received_us)


def _header(headers: Sequence[tuple[str, bytes]], name: str) -> str | None:
    for key, value in headers:
        if key == name:
            return (value or b"").decode("ascii", "replace")  # Kafka knows headers without a value
    return None
