"""Provider emitters: the bytes of a provider's events, and the event that must be read from them.

An emitter acts as one provider for one message: it turns the steps of a timeline into event deliveries. For each it
states the `ExpectedEvent`, from its own knowledge and docs/reference/providers, and never by parsing its own bytes.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol

import orjson

from simulator.address_state import AddressEvent
from simulator.people import Person, Template
from simulator.timeline import Redelivery, Step

__all__ = [
    "UNUSABLE_OUR_IDS",
    "Envelope",
    "EventDelivery",
    "ExpectedEvent",
    "ProviderEmitter",
    "deliveries_of_event",
    "json_bytes",
    "names_message",
]

UNUSABLE_OUR_IDS: Final = frozenset({"our_ids", "our_ids_invalid", "one_of_our_ids"})
"""An event that omits any of these names no message."""


class Envelope(NamedTuple):
    """What a provider knows about a message."""

    number: int
    """The number of the message, for keys that are unique in the plan."""
    account_id: str
    message_id: str
    template: Template
    to: Person
    ccs: tuple[Person, ...]
    sender: str
    shared_id: str
    """The provider message id, if another message has the same one; otherwise blank."""

    def recipient(self, step: Step) -> Person:
        """Return the recipient that a step is about."""
        return self.ccs[step.cc - 1] if step.cc else self.to


class ExpectedEvent(NamedTuple):
    """The event that an adapter must read from a delivery. A text that it does not contain is blank."""

    type: str
    address: str
    """The address in the form that is compared."""
    occurred_us: int | None
    """None: no time, or an impossible one; then the arrival time counts."""
    code: str = ""
    reason: str = ""
    classification: str = ""
    sub_status: str = ""
    """The sub-status of a message whose status it decides."""
    machine: bool = False
    provider_message_id: str = ""
    """In the form that is compared with the id of a dispatch."""
    written_address: str = ""
    """The address as written, where a row shows it."""
    address_event: AddressEvent | None = None
    """Its effect on the address, without time, scope and message."""


@dataclass(frozen=True, slots=True)
class EventDelivery:
    """One delivery of one event."""

    at_us: int
    """When the provider knows the event; it is posted then or later."""
    event_key: str
    """Equal for two deliveries if, and only if, they are of the same event."""
    expected: ExpectedEvent
    names_message: bool
    """Whether it has our ids, and they are valid."""
    value: bytes
    """The body of a post; or one element, if the provider posts lists."""
    query: str = ""
    """Query string of the URL that it is posted to."""
    provider_event_id: str = ""
    """The provider's event id, which may differ in the next delivery; blank: none."""


class ProviderEmitter(Protocol):
    """One provider's events of one message."""

    provider_message_id: str
    """The provider's id of the message, in the form that is compared."""
    id_forms: Mapping[str, str]
    """Other forms of it that a dispatch may have, by `Timeline.dispatched`; empty: none."""

    def emit(self, step: Step, start_us: int) -> list[EventDelivery]:
        """Return the deliveries for a step: one per event and delivery; none if the provider has no event for it."""
        ...


Render = Callable[[tuple[str, ...]], tuple[bytes, str]]
"""Serializes an event without what it omits; returns the bytes and the query string of the URL."""


def deliveries_of_event(
    step: Step,
    start_us: int,
    event_key: str,
    expected: ExpectedEvent,
    render: Render,
    *,
    at_us: int,
    provider_event_id: str = "",
) -> list[EventDelivery]:
    """Return all deliveries of one event: the first at `at_us`, and the redeliveries of the step."""
    deliveries = [Redelivery(at_us - start_us, step.omits), *step.again]
    return [
        EventDelivery(start_us + after_us, event_key, expected, names_message(omits), *render(omits), provider_event_id)
        for after_us, omits in deliveries
    ]


def names_message(omits: tuple[str, ...]) -> bool:
    """Return whether an event that omits this has valid ids of ours."""
    return UNUSABLE_OUR_IDS.isdisjoint(omits)


def json_bytes(value: Mapping[str, Any]) -> bytes:
    """Return JSON in memory of its exact size: the bytes that orjson returns keep a buffer of kilobytes alive."""
    return bytes(memoryview(orjson.dumps(value)))
