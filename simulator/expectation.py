"""The expected result of a message: its row in `messages`, computed from the generated message.

In:  a generated message, and the arrival times of its events where the plan sets them.
Out: an `Expected`: the row of `messages`, the events by type, and the orphan events.
Promise: implements docs/explanation/status.md and docs/reference, and shares no code with what it checks
(`projections`, the adapters): it imports nothing of them, and computes no event id.

`ANY` stands for a value that exists but can't be known, such as the time of a Twilio event over HTTP, which only the
gateway knows. Columns that depend on the order of two such times are left out of the row.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from schemas.decoding.ids import sent_at_us
from schemas.decoding.times import rfc3339
from simulator.message import GeneratedMessage
from simulator.own_records import ExpectedDecision, ExpectedRequest
from simulator.providers.emitter import ExpectedEvent

__all__ = ["ANY", "DistinctEvent", "Expected", "expect"]

ANY: Final[dict[str, bool]] = {"any": True}
_UNKNOWN: Final = object()
"""A value that can't be known, and may be blank: its column is left out."""

# From low to high: the highest type that occurred gives the delivery status.
_RANKS: Final = ("processed", "deferred", "sent", "delivered", "dropped", "failed", "blocked", "bounced")
_BOUNCES: Final = ("bounced", "blocked", "failed")
_REFUSED: Final = {
    "blocked": "Blocked",
    "declined": "Declined",
    "not_opted_in": "Not_opted_in",
    "suppressed": "Suppressed",
    "quota_exceeded": "Quota_Exceeded",
}
_ATTRIBUTES: Final = (
    "channel", "type", "template_id", "sent_to", "recipient_id", "to_address", "to_domain", "cc_address", "subject",
    "appointment_id",
)  # fmt: skip

_BY_DECISION: Final = frozenset({"status", "sub_status", "reason", "code", "classification", "anomalies"})
"""The columns that depend on the decision."""


class DistinctEvent(NamedTuple):
    """One event of a provider, however often it was delivered."""

    expected: ExpectedEvent
    at_us: int | None
    """The provider's time, else the first arrival; None: the arrival time is not known."""
    names_message: bool
    """Whether at least one of its deliveries has our ids."""
    event_key: str


@dataclass(slots=True)
class Expected:
    """The expected results of one message."""

    row: dict[str, Any] | None
    """By column, as far as it can be known; None: no row, since nothing names the message."""
    events: dict[str, list[int]] = field(default_factory=dict)
    """By type: the number of distinct events, and of those about a CC."""
    orphans: list[DistinctEvent] = field(default_factory=list)
    distinct_events: list[DistinctEvent] = field(default_factory=list)
    """All events of its provider, orphans included."""
    bounced: list[str] = field(default_factory=list)
    """The addresses of the message that bounced, each once."""


def expect(message: GeneratedMessage, arrivals: Mapping[str, int]) -> Expected:
    """Return the expected results of a message. `arrivals`: the first arrival of each event, where the plan sets it."""
    events = _distinct_events(message, arrivals)
    own = [event for event in events if _is_own(message, event)]
    orphans = [event for event in events if not _is_own(message, event)]
    if not (own or message.requests or message.decisions or message.dispatch):
        return Expected(None, {}, orphans, events)
    request = _request(message)
    to_key = request.to_key if request else ""
    # While no request or decision names the To, every address counts as the To; so does an event without an address.
    # An SMS has no CC: all of its events are about its To, however the address is spelled.
    is_sms = request is not None and request.columns["channel"] == "sms"
    about_to = [event for event in own if not to_key or is_sms or event.expected.address in ("", to_key)]
    row = _row(message, request, own, about_to)
    undecided = _BY_DECISION if message.quota else frozenset()
    known = {name: value for name, value in row.items() if value is not _UNKNOWN and name not in undecided}
    bounces = (event.expected.address for event in own if event.expected.type in _BOUNCES)
    bounced = sorted({to_key if is_sms else address for address in bounces} - {""})
    return Expected(known, _events(message, own, about_to), orphans, events, bounced)


def _distinct_events(message: GeneratedMessage, arrivals: Mapping[str, int]) -> list[DistinctEvent]:
    """Return the distinct events of a message."""
    found: dict[str, DistinctEvent] = {}
    for delivery in message.event_deliveries:
        known = found.get(delivery.event_key)
        named = delivery.names_message or (known is not None and known.names_message)
        at_us = delivery.expected.occurred_us
        if at_us is None:
            at_us = arrivals.get(delivery.event_key)
        found[delivery.event_key] = DistinctEvent(delivery.expected, at_us, named, delivery.event_key)
    return list(found.values())


def _is_own(message: GeneratedMessage, event: DistinctEvent) -> bool:
    """Return whether an event belongs to the message, by our ids or by the dispatched provider message id."""
    if event.names_message:
        return True
    dispatch = message.dispatch
    if dispatch is None or event.expected.provider_message_id != dispatch.provider_message_id:
        return False
    # If two messages were dispatched under one id, the address decides.
    return not message.shared_provider_id or event.expected.address == message.requests[0].to_key


def _request(message: GeneratedMessage) -> ExpectedRequest | None:
    """Return the request whose attributes count: the decided one, else the earliest."""
    if decision := _decision(message):
        return decision.request
    return min(message.requests, key=lambda request: request.requested_us, default=None)


def _decision(message: GeneratedMessage) -> ExpectedDecision | None:
    return min(message.decisions, key=lambda decision: decision.at_us or 0, default=None)


def _events(
    message: GeneratedMessage, own: Sequence[DistinctEvent], about_to: Sequence[DistinctEvent]
) -> dict[str, list[int]]:
    """Return by type the number of distinct events, and of those about a CC."""
    to_keys = {event.event_key for event in about_to}
    counts = {
        "requested": [message.request_count, 0],
        "decided": [len(message.decisions), 0],
        "dispatched": [int(message.dispatch is not None), 0],
    }
    for event in own:
        count = counts.setdefault(event.expected.type, [0, 0])
        count[0] += 1
        count[1] += event.event_key not in to_keys
    return {type_: count for type_, count in counts.items() if count[0]}


def _row(
    message: GeneratedMessage,
    request: ExpectedRequest | None,
    own: Sequence[DistinctEvent],
    about_to: Sequence[DistinctEvent],
) -> dict[str, Any]:
    decision, dispatch = _decision(message), message.dispatch
    status, sub_status = _status(decision, about_to)
    values = _explanation(decision, about_to)
    opened = [event for event in about_to if event.expected.type == "opened"]
    by_people = [event for event in opened if not event.expected.machine]
    clicked = _of(about_to, "clicked")
    return {
        "account_id": message.account_id,
        "email_id": message.message_id,
        **(request.columns if request else dict.fromkeys(_ATTRIBUTES, "")),
        "status": status,
        "sub_status": sub_status,
        **values,
        "date_sent": rfc3339(sent_at_us(message.message_id)),
        "decided_at": _decided_at(decision),
        "dispatched_at": rfc3339(dispatch.at_us) if dispatch else None,
        "processed_at": _first(_of(about_to, "processed")),
        "delivered_at": _first(_of(about_to, "delivered")),
        "bounced_at": _first(_of(about_to, *_BOUNCES)),
        "opened_at": _first(by_people),
        "clicked_at": _first(clicked),
        "opens": len(by_people),
        "machine_opens": len(opened) - len(by_people),
        "clicks": len(clicked),
        "attempts": len(_of(about_to, "deferred")),
        "complained": bool(_of(about_to, "complained")),
        **_provider(message, own),
        "anomalies": _anomalies(message, decision, own, about_to),
    }


def _decided_at(decision: ExpectedDecision | None) -> Any:
    if decision is None:
        return None
    return ANY if decision.at_us is None else rfc3339(decision.at_us)


def _status(decision: ExpectedDecision | None, about_to: Sequence[DistinctEvent]) -> tuple[str, Any]:
    """Return status and sub-status: the first matching row of docs/explanation/status.md."""
    if decision and decision.outcome in _REFUSED:
        return _REFUSED[decision.outcome], ""
    highest = _highest(about_to)
    delivery = highest[0].expected.type if highest else ""
    if delivery in _BOUNCES:
        return "Bounced", _agreed(_deciding(highest), "sub_status")
    if delivery == "dropped":
        return "Dropped", _agreed(_deciding(highest), "sub_status")
    if changes := _of(about_to, "subscription_changed"):
        return "Subscriptionchange", max(changes, key=lambda event: event.at_us or 0).expected.sub_status
    engagements = [event for event in about_to if event.expected.type in ("opened", "clicked")]
    if any(event.expected.type == "clicked" for event in engagements if not event.expected.machine):
        return "Clicked", ""
    if any(event.expected.type == "opened" for event in engagements if not event.expected.machine):
        return "Opened", ""
    if delivery == "delivered" or engagements:
        return "Delivered", ""
    if delivery:
        return "Processed", delivery
    return "Pending", ""


def _explanation(decision: ExpectedDecision | None, about_to: Sequence[DistinctEvent]) -> dict[str, Any]:
    """Return reason, code and classification: of the decision if refused, else of the deciding event."""
    if decision and decision.outcome in _REFUSED:
        detail = ANY if decision.detail is None else decision.detail
        return {"reason": detail, "code": decision.reason, "classification": ""}
    deciding = _deciding(_highest(about_to))
    return {name: _agreed(deciding, name) if deciding else "" for name in ("reason", "code", "classification")}


def _highest(events: Iterable[DistinctEvent]) -> list[DistinctEvent]:
    """Return the delivery events of the highest rank that was reached."""
    delivery = [event for event in events if event.expected.type in _RANKS]
    top = max((_RANKS.index(event.expected.type) for event in delivery), default=-1)
    return [event for event in delivery if _RANKS.index(event.expected.type) == top]


def _deciding(highest: Sequence[DistinctEvent]) -> list[DistinctEvent]:
    """Return the deciding event: one with a code before one without, then the earliest.

    Returns several if only the gateway knows which of them came first.
    """
    coded = [event for event in highest if event.expected.code] or list(highest)
    if len(coded) > 1 and all(event.at_us is not None for event in coded):
        return [min(coded, key=lambda event: event.at_us or 0)]
    return coded


def _agreed(deciding: Sequence[DistinctEvent], name: str) -> Any:
    """Return the value that all of them have, if they agree."""
    values = {getattr(event.expected, name) for event in deciding}
    return values.pop() if len(values) == 1 else _UNKNOWN


def _provider(message: GeneratedMessage, own: Sequence[DistinctEvent]) -> dict[str, str]:
    """Return provider and id of the dispatch; without a dispatch, of the events."""
    if message.dispatch:
        return {"provider": message.dispatch.provider, "provider_message_id": message.dispatch.provider_message_id}
    named = {event.expected.provider_message_id for event in own} - {""}
    return {"provider": message.provider if own else "", "provider_message_id": named.pop() if named else ""}


def _anomalies(
    message: GeneratedMessage,
    decision: ExpectedDecision | None,
    own: Sequence[DistinctEvent],
    about_to: Sequence[DistinctEvent],
) -> Any:
    found = []
    if len(message.requests) > 1:
        found.append("conflicting_requests")
    if decision and decision.outcome in _REFUSED and own:
        found.append("event_after_refusal")
    bounced, delivered = _of(about_to, *_BOUNCES), _of(about_to, "delivered")
    if bounced and delivered:
        if any(event.at_us is None for event in (*bounced, *delivered)):
            return _UNKNOWN
        if max(event.at_us or 0 for event in delivered) > min(event.at_us or 0 for event in bounced):
            found.append("delivered_after_bounce")
    ids = {event.expected.provider_message_id for event in own} - {""}
    if message.dispatch and ids - {message.dispatch.provider_message_id}:
        found.append("id_mismatch")
    return sorted(found)


def _of(events: Iterable[DistinctEvent], *types: str) -> list[DistinctEvent]:
    return [event for event in events if event.expected.type in types]


def _first(events: Sequence[DistinctEvent]) -> Any:
    """Return the time of the earliest as text; None if there is none."""
    if not events:
        return None
    if any(event.at_us is None for event in events):
        return ANY
    return rfc3339(min(event.at_us or 0 for event in events))
