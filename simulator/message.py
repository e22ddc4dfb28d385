"""A generated message: everything that is sent about it, and what the product must make of it."""

from dataclasses import dataclass
from typing import Final, Literal

from schemas.topics import (
    ACCOUNTS_POLICIES,
    RECIPIENTS_PREFERENCES,
    SENDS_CONTENT,
    SENDS_DECIDED,
    SENDS_DISPATCHED,
    SENDS_REQUESTED,
    SUPPRESSIONS_COMMANDS,
    Topic,
)
from simulator.address_state import AddressEvent
from simulator.multi_message.timeline import Quota
from simulator.own_records import ExpectedDecision, ExpectedDispatch, ExpectedRequest
from simulator.people import Person
from simulator.providers.emitter import EventDelivery

__all__ = ["OWN_TOPICS", "GeneratedMessage", "OwnRecord", "RecordKind"]

RecordKind = Literal["request", "decision", "dispatch", "content", "policy", "preference", "command"]
OWN_TOPICS: Final[dict[str, Topic]] = {
    "request": SENDS_REQUESTED,
    "decision": SENDS_DECIDED,
    "dispatch": SENDS_DISPATCHED,
    "content": SENDS_CONTENT,
    "policy": ACCOUNTS_POLICIES,
    "preference": RECIPIENTS_PREFERENCES,
    "command": SUPPRESSIONS_COMMANDS,
}
"""The topic of each kind of record."""


@dataclass(frozen=True, slots=True)
class OwnRecord:
    """A record of one of our own topics (not of `webhooks.*`)."""

    kind: RecordKind
    at_us: int
    value: bytes
    key: str
    stage: int = 0


@dataclass(frozen=True, slots=True)
class GeneratedMessage:
    """One message: its records, its event deliveries, and what is expected of it."""

    account_id: str
    message_id: str
    scenario: str
    provider: str
    records: tuple[OwnRecord, ...]
    event_deliveries: tuple[EventDelivery, ...]
    event_stage: int
    """The stage of its provider events: after that of its request if the events can suppress an address."""
    request_count: int
    """Number of different requests, repeats not counted."""
    requests: tuple[ExpectedRequest, ...]
    """The different contents of its requests, including the requests inside its decisions."""
    decisions: tuple[ExpectedDecision, ...]
    dispatch: ExpectedDispatch | None
    shared_provider_id: bool = False
    """Whether another message was dispatched under the same provider message id."""
    quota: Quota | None = None
    """The quota it counts against; which messages of a quota are approved is not known."""
    address_events: tuple[tuple[Person, AddressEvent], ...] = ()
    """Suppression commands sent together with it, and whose address each is about."""
