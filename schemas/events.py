"""The event: one normalised fact about one message or address, whatever provider told it.

An adapter (`schemas/providers/`) is a pure function from a webhook record to `Parsed`. Events are named tuples of
plain values, because a group of them becomes the columns of a frame by `zip(*events)`.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

__all__ = ["ENGAGEMENT_TYPES", "FACT_TYPES", "Bad", "Event", "EventType", "Fault", "Headers", "Parsed", "Place"]


class EventType(StrEnum):
    """What happened, in our words; docs/reference/providers maps each provider's words to these."""

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
"""Our own facts; every other type is a provider's."""

ENGAGEMENT_TYPES = frozenset({EventType.OPENED, EventType.CLICKED})


class Fault(StrEnum):
    """Whose fault a failure is; blank for an event that is no failure."""

    RECIPIENT = "recipient"
    MAILBOX = "mailbox"
    SENDER = "sender"
    INFRASTRUCTURE = "infrastructure"
    UNKNOWN = "unknown"


class Place(NamedTuple):
    """Where a record stands in the log, and when it came. `received_us` is the gateway's time of arrival."""

    topic: str
    partition: int
    offset: int
    received_us: int


Headers = Sequence[tuple[str, bytes]]
"""The headers of a record, as Kafka gives them: docs/reference/topics.md lists those of a webhook."""


class Event(NamedTuple):
    """One normalised event. Texts are blank where the provider says nothing; times are microseconds, UTC."""

    event_id: str
    """32 hexadecimal digits: the hash of the fact's natural key (`schemas.identity.fact_id`)."""
    provider: str
    type: str
    account_id: str
    """Blank, like `message_id`, unless the event names both and both are well formed."""
    message_id: str
    provider_message_id: str
    """Cut as the provider's dispatch id is, so that the two compare."""
    provider_event_id: str
    """The provider's own id of the event, where it has one. It may change from one delivery to the next."""
    address: str
    """The address's key (`schemas.addresses`)."""
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
    """A JSON object of the fields we don't know, and of our own remarks; blank where there are none."""
    topic: str
    partition: int
    offset: int
    position: int
    """The place inside the record's list of events."""


class Bad(NamedTuple):
    """What could not be read: a whole record (`position` None) or one element of it. It becomes a dead letter."""

    reason: str
    """A stable code (`dlq.reason`)."""
    detail: str
    value: bytes
    position: int | None


class Parsed(NamedTuple):
    """All that one record says."""

    events: list[Event]
    bad: list[Bad]
