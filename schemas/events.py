"""The event: one fact about one message or address, in the same form for every provider.

An adapter (`schemas/providers/`) is a pure function from a webhook record to `Parsed`. Events are named tuples of
plain values, because `zip(*events)` turns a batch of them into the columns of a data frame.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

__all__ = [
    "ENGAGEMENT_TYPES",
    "FACT_TYPES",
    "DeliveryFault",
    "Event",
    "EventType",
    "Headers",
    "Parsed",
    "Rejection",
    "SourcePosition",
]


class EventType(StrEnum):
    """What happened. The pages in docs/reference/providers map each provider's event names to these types."""

    REQUESTED = "requested"
    DECIDED = "decided"
    DISPATCHED = "dispatched"
    PROCESSED = "processed"
    DEFERRED = "deferred"
    SENT = "sent"
    DELIVERED = "delivered"
    BOUNCED = "bounced"
    BLOCKED = "blocked"
    DROPPED = "dropped"
    FAILED = "failed"
    OPENED = "opened"
    CLICKED = "clicked"
    COMPLAINED = "complained"
    UNSUBSCRIBED = "unsubscribed"
    RESUBSCRIBED = "resubscribed"
    SUBSCRIPTION_CHANGED = "subscription_changed"
    OPTED_OUT = "opted_out"
    OPTED_IN = "opted_in"
    PROVIDER_ALERT = "provider_alert"
    UNKNOWN = "unknown"


FACT_TYPES = frozenset({EventType.REQUESTED, EventType.DECIDED, EventType.DISPATCHED})
"""The types of our own facts; events of all other types come from providers."""

ENGAGEMENT_TYPES = frozenset({EventType.OPENED, EventType.CLICKED})


class DeliveryFault(StrEnum):
    """Who or what caused a delivery failure. Events that are not failures have a blank `fault`."""

    RECIPIENT = "recipient"
    MAILBOX = "mailbox"
    SENDER = "sender"
    INFRASTRUCTURE = "infrastructure"
    UNKNOWN = "unknown"


class SourcePosition(NamedTuple):
    """A record's position in Kafka, and when it was received: by the gateway, or else by Kafka. Microseconds, UTC."""

    topic: str
    partition: int
    offset: int
    received_us: int


Headers = Sequence[tuple[str, bytes]]
"""The headers of a Kafka record. Those of a webhook are listed in docs/reference/topics.md."""


class Event(NamedTuple):
    """One event. Strings are empty where the provider gives no value; times are microseconds since 1970, UTC."""

    event_id: str
    """The hash of the fact's natural key (`schemas.decoding.ids.fact_id`): 32 hexadecimal digits."""
    provider: str
    type: str
    account_id: str
    """Blank, and so is `message_id`, unless the event has both ids and both are valid."""
    message_id: str
    provider_message_id: str
    """In the same form as the provider's id in a dispatch, so that the two can be compared."""
    provider_event_id: str
    """The provider's own id of the event, if it has one. It may change when the provider delivers the event again."""
    address: str
    """The address key (`schemas.decoding.addresses`)."""
    occurred_us: int
    received_us: int
    code: str
    enhanced_code: str
    reason: str
    classification: str
    fault: str
    machine: bool
    url: str
    user_agent: str
    ip: str
    attempt: str
    group: str
    extra: str
    """A JSON object of the fields that have no column, and of our own notes; blank if there are none."""
    topic: str
    partition: int
    offset: int
    position: int
    """The index of the event in the record's list, from 0."""

    @property
    def channel(self) -> str:
        """The channel that its provider sends by."""
        return "sms" if self.provider == "twilio" else "email"


class Rejection(NamedTuple):
    """Input that could not be read: a whole record (`position` is None) or one of its elements. It is dead-lettered."""

    reason: str
    """A stable code (`dlq.reason`)."""
    detail: str
    value: bytes
    position: int | None


class Parsed(NamedTuple):
    """The contents of one webhook record."""

    events: list[Event]
    rejections: list[Rejection]
