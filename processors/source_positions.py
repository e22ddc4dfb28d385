"""The source position of a record: where it is in the log, and when it was received."""

from collections.abc import Sequence
from typing import Final

from processors.engine import Record
from schemas.decoding.times import rfc3339_us
from schemas.events import SourcePosition
from schemas.topics import WEBHOOKS

__all__ = ["source_position"]

_WITH_RECEIVED_AT: Final = frozenset(topic.name for topic in WEBHOOKS.values())
"""Topics whose records have a header with the time of receipt."""


def source_position(record: Record) -> SourcePosition:
    """Return topic, partition, offset and time of receipt: from the gateway's header, else Kafka's timestamp."""
    received_us = record.timestamp * 1000
    if record.topic in _WITH_RECEIVED_AT:
        header = _header(record.headers, "received_at")
        received_us = (rfc3339_us(header) if header else None) or received_us
    return SourcePosition(record.topic, record.partition, record.offset, received_us)


def _header(headers: Sequence[tuple[str, bytes]], name: str) -> str | None:
    for key, value in headers:
        if key == name:
            return (value or b"").decode("ascii", "replace")  # Kafka allows headers without a value
    return None
