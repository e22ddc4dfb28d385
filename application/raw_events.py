"""Reads what a provider sent: the bytes of one event, from Kafka, with the signature checked again.

In:  a row of a message's timeline, which has the event's source position; the keys in force now.
Out: a `RawEvent`; or RequestError: `no-such-event` for a record of our own, `record-gone` if Kafka no longer has it.

Promises: only SHOWN_HEADERS of the record's headers are returned; none of them has a password. A body may have events
of several accounts; `element` is the part of it that has this event. It is decoded again, and must yield exactly this
event: if the topic was deleted and created anew, there is a different record at the same position.
"""

import asyncio
from base64 import b64encode
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from application import deadlines
from application.signatures.keys import SigningKeys
from application.signatures.stored import SignatureCheck, check_stored
from processors.dead_letters.browsing import REDRIVEN_FROM
from processors.engine import Record
from processors.source_positions import source_position
from schemas.decoding.json_text import elements_of
from schemas.errors import RequestError, TimedOut
from schemas.headers import WebhookHeaders
from schemas.providers import ADAPTERS
from schemas.topics import WEBHOOKS

__all__ = ["SHOWN_HEADERS", "RawEvent", "RawEvents", "ReadRecord", "is_from_provider"]

SHOWN_HEADERS: Final = frozenset({*WebhookHeaders.model_fields, REDRIVEN_FROM})

ReadRecord = Callable[[str, int, int], Awaitable[Record | None]]
"""Returns the record at a topic, partition and offset, or None. Raises BrokerError."""

_PROVIDERS: Final = {topic.name: provider for provider, topic in WEBHOOKS.items()}
_WITHIN_SECONDS: Final = 10.0
_AT_ONCE: Final = 4
"""Each read opens connections of its own, and may hold a record of 8 MiB."""


@dataclass(frozen=True, slots=True)
class RawEvent:
    """An event as its provider sent it."""

    event: Mapping[str, Any]
    """Its row of the timeline."""
    headers: Mapping[str, str]
    signature: SignatureCheck
    """Of the whole body."""
    element: bytes
    """The event's own part of the body; the same as the body, but for SendGrid's lists."""
    body: bytes
    """The whole body, which may have events of other accounts."""

    def as_json(self, *, with_body: bool) -> dict[str, Any]:
        """Return it for the API and the command line. `with_body`: only for callers who may see all accounts."""
        names = ("account_id", "email_id", "event_id", "provider", "type", "source")
        return {name: str(self.event[name]) for name in names} | {
            "headers": dict(self.headers),
            "signature": self.signature._asdict(),
            "element": _bytes_as_json(self.element),
            "body": _bytes_as_json(self.body) if with_body else None,
        }


class RawEvents:
    """Reads raw events, a few at once. Belongs to one event loop."""

    def __init__(self, read_record: ReadRecord, keys: SigningKeys) -> None:
        self._read_record, self._keys = read_record, keys
        self._free = asyncio.Semaphore(_AT_ONCE)

    async def read(self, event: Mapping[str, Any]) -> RawEvent:
        """Return what the provider sent for a row of the timeline. Raises RequestError, TimedOut and BrokerError."""
        topic, partition, offset, position = event["source"].rsplit("/", 3)
        if topic not in _PROVIDERS:
            what = "No provider sent this event: it is from a record of our own"
            raise RequestError(what, topic, "Name an event that has a provider's webhook", code="no-such-event")
        try:
            async with asyncio.timeout(deadlines.within(_WITHIN_SECONDS)), self._free:
                record = await self._read_record(topic, int(partition), int(offset))
                if record is None or record.value is None:
                    raise _gone(event, "its record was deleted, by the topic's retention or by an operator")
                return await asyncio.to_thread(self._checked, event, record, int(position))
        except TimeoutError as error:
            what, mend = "Kafka did not return the record in time", "Try again; `sendledger doctor` checks Kafka"
            raise TimedOut(what, event["source"], mend) from error

    def _checked(self, event: Mapping[str, Any], record: Record, position: int) -> RawEvent:
        provider, body = _PROVIDERS[record.topic], record.value or b""
        element = _element(provider, body, position)
        found = ADAPTERS[provider](element, source_position(record), record.headers)
        if found.rejections or [one.event_id for one in found.events] != [event["event_id"]]:
            raise _gone(event, "at its position is another record, so the topic was probably created anew")
        headers = {name: (value or b"").decode("utf-8", "replace") for name, value in record.headers}
        signature = check_stored(provider, body, headers, self._keys)
        return RawEvent(event, {k: v for k, v in headers.items() if k in SHOWN_HEADERS}, signature, element, body)


def is_from_provider(event: Mapping[str, Any]) -> bool:
    """Return whether a row of the timeline is from a webhook, not from a record of our own."""
    return event["source"].partition("/")[0] in _PROVIDERS


def _element(provider: str, body: bytes, position: int) -> bytes:
    """Return one element of SendGrid's list, byte for byte; of other providers the body. Empty if there is none."""
    if provider != "sendgrid":
        return body
    try:
        return next(iter(elements_of(body)[position:]), b"")
    except ValueError:  # a single element, not in a list
        return body


def _gone(event: Mapping[str, Any], why: str) -> RequestError:
    mend = "Nothing: the tables keep the event, but not its bytes"
    return RequestError(f"Kafka no longer has what was sent: {why}", event["source"], mend, code="record-gone")


def _bytes_as_json(value: bytes) -> dict[str, Any]:
    """Return bytes as text, or as base64 if they are not UTF-8."""
    try:
        encoding, text = "utf-8", value.decode()
    except UnicodeDecodeError:
        encoding, text = "base64", b64encode(value).decode()
    return {"encoding": encoding, "size_bytes": len(value), "text": text}
