"""The reference fold: compute the row of one message from all its facts and events.

In:  the requests, decisions, dispatches and events of one message, in any order, with repeats and copies.
Out: one `MessageRow`, the same for every order and any repeats (docs/explanation/status.md).

This is the readable form of the rules, and tests compare everything else with it. In production ClickHouse does the
same fold: merges of `message_state` combine the rows, and the view `messages` reads the result.
Why the columns of the state are what they are: docs/adr/0003-state-as-joins.md.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final

from projections.messages.outcomes import DELIVERY_RANKS, sub_status
from schemas.decoding.addresses import domain_of
from schemas.decoding.ids import sent_at_us
from schemas.decoding.sends import REFUSALS, Decision, Dispatch, Request
from schemas.events import ENGAGEMENT_TYPES, FACT_TYPES, Event

__all__ = ["COUNT_LIMIT", "Known", "MessageRow", "fold", "is_machine_event", "is_own"]

COUNT_LIMIT: Final = 1000
"""Counts stop at this limit: security scanners open an email thousands of times."""

REFUSED_STATUS: Final = {
    "blocked": "Blocked",
    "declined": "Declined",
    "not_opted_in": "Not_opted_in",
    "suppressed": "Suppressed",
    "quota_exceeded": "Quota_Exceeded",
}
BOUNCES: Final = ("bounced", "blocked", "failed")


@dataclass(frozen=True, slots=True)
class Known:
    """Everything known of one message: our own facts and providers' events."""

    requests: Collection[Request] = ()
    decisions: Collection[Decision] = ()
    dispatches: Collection[Dispatch] = ()
    events: Collection[Event] = ()
    """Providers' events only, including copies."""


@dataclass(frozen=True, slots=True)
class MessageRow:
    """A row of the view `messages`. Times are microseconds since 1970, UTC; None if it did not happen."""

    account_id: str
    email_id: str
    channel: str
    type: str
    template_id: str
    sent_to: str
    recipient_id: str
    to_address: str
    to_domain: str
    cc_address: str
    subject: str
    status: str
    sub_status: str
    reason: str
    code: str
    enhanced_code: str
    classification: str
    date_sent: int
    decided_at: int | None
    dispatched_at: int | None
    processed_at: int | None
    delivered_at: int | None
    bounced_at: int | None
    opened_at: int | None
    clicked_at: int | None
    opens: int
    machine_opens: int
    clicks: int
    attempts: int
    complained: bool
    provider: str
    provider_message_id: str
    appointment_id: str
    anomalies: tuple[str, ...]
    last_heard_at: int | None
    """The time of the last event or fact, of the To or a CC, copies included."""


def fold(account_id: str, message_id: str, known: Known) -> MessageRow:
    """Return the row of one message."""
    decision = min(known.decisions, key=lambda d: (d.decided_us, d.decision_hash), default=None)
    request = _attributes(decision, known.requests)
    dispatch = min(known.dispatches, key=lambda d: (d.dispatched_us, d.dispatch_hash), default=None)
    events = known.events
    own = [e for e in events if request is None or is_own(e.address, request.channel, request.to_key)]
    winner = _delivery(own)
    subscription = max(
        _earliest_copies(own, "subscription_changed"), key=lambda e: (e.occurred_us, e.event_id), default=None
    )
    refused = decision is not None and decision.outcome in REFUSALS
    status, sub = _status(decision, winner, subscription, own)
    provider, provider_message_id = _provider(dispatch, events)
    return MessageRow(
        account_id=account_id,
        email_id=message_id,
        channel=request.channel if request else "",
        type=request.template_name if request else "",
        template_id=request.template_id if request else "",
        sent_to=request.recipient_kind if request else "",
        recipient_id=request.recipient_id if request else "",
        to_address=request.to if request else "",
        to_domain=domain_of(request.to_key) if request else "",
        cc_address=", ".join(request.cc) if request else "",
        subject=request.subject if request else "",
        status=status,
        sub_status=sub,
        reason=decision.detail if decision and refused else winner.reason if winner else "",
        code=decision.reason if decision and refused else winner.code if winner else "",
        enhanced_code="" if refused or not winner else winner.enhanced_code,
        classification="" if refused or not winner else winner.classification,
        date_sent=sent_at_us(message_id),
        decided_at=decision.decided_us if decision else None,
        dispatched_at=dispatch.dispatched_us if dispatch else None,
        processed_at=_first(own, "processed"),
        delivered_at=_first(own, "delivered"),
        bounced_at=_first(own, *BOUNCES),
        opened_at=_first((e for e in own if not is_machine_event(e)), "opened"),
        clicked_at=_first((e for e in own if not is_machine_event(e)), "clicked"),
        opens=_count(own, "opened", machine=False),
        machine_opens=_count(own, "opened", machine=True),
        clicks=_count(own, "clicked", machine=False),
        attempts=_count(own, "deferred", machine=False),
        complained=any(e.type == "complained" for e in own),
        provider=provider,
        provider_message_id=provider_message_id,
        appointment_id=request.appointment_id if request else "",
        anomalies=tuple(_anomalies(known, decision, dispatch, events, own)),
        last_heard_at=_last_heard(known),
    )


def is_own(address: str, channel: str, to_key: str) -> bool:
    """Whether an event of a message that was sent on `channel` to `to_key` is about the To, not a CC.

    An SMS has no CC: every event of it is about the To, however the address is written.
    """
    return channel == "sms" or address in ("", to_key)


def is_machine_event(event: Event) -> bool:
    """Whether a machine opened or clicked. For other events the provider's flag has no meaning."""
    return event.machine and event.type in ENGAGEMENT_TYPES


def _attributes(decision: Decision | None, requests: Iterable[Request]) -> Request | None:
    """Return the decision's request, else the earliest request (on a tie the one of the smallest hash)."""
    if decision is not None:
        return decision.request
    return min(requests, key=lambda r: (r.requested_us, r.content_hash), default=None)


def _arrival(event: Event) -> tuple[int, str, int, int, int]:
    return event.received_us, event.topic, event.partition, event.offset, event.position


def _delivery(events: Iterable[Event]) -> Event | None:
    """Return the winning delivery event: of the highest rank, then with a code, then the earliest.

    Of several copies it is the one received first.
    """
    ranked = (e for e in events if e.type in DELIVERY_RANKS)
    return min(
        ranked,
        key=lambda e: (-DELIVERY_RANKS[e.type], not e.code, e.occurred_us, e.event_id, _arrival(e)),
        default=None,
    )


def _earliest_copies(events: Iterable[Event], kind: str) -> list[Event]:
    """Return each event of a type once: its earliest copy, since copies without their own time have arrival times."""
    first: dict[str, Event] = {}
    for event in events:
        earlier = first.get(event.event_id)
        if event.type == kind and (
            earlier is None or (event.occurred_us, _arrival(event)) < (earlier.occurred_us, _arrival(earlier))
        ):
            first[event.event_id] = event
    return list(first.values())


def _status(
    decision: Decision | None, winner: Event | None, subscription: Event | None, own: Collection[Event]
) -> tuple[str, str]:
    """Return status and sub-status: the first rule of docs/explanation/status.md that applies."""
    delivery = winner.type if winner else ""
    sub = sub_status(winner) if winner else ""
    if decision is not None and decision.outcome in REFUSED_STATUS:
        return REFUSED_STATUS[decision.outcome], ""
    if delivery in BOUNCES:
        return "Bounced", sub
    if delivery == "dropped":
        return "Dropped", sub
    if subscription is not None:
        return "Subscriptionchange", subscription.classification
    if any(e.type == "clicked" and not is_machine_event(e) for e in own):
        return "Clicked", ""
    if any(e.type == "opened" and not is_machine_event(e) for e in own):
        return "Opened", ""
    if delivery == "delivered" or any(e.type in ("opened", "clicked") for e in own):
        return "Delivered", ""
    if delivery:
        return "Processed", delivery
    return "Pending", ""


def _first(events: Iterable[Event], *types: str) -> int | None:
    return min((e.occurred_us for e in events if e.type in types), default=None)


def _count(events: Iterable[Event], kind: str, *, machine: bool) -> int:
    """Return the number of distinct events; copies count once."""
    return min(COUNT_LIMIT, len({e.event_id for e in events if e.type == kind and is_machine_event(e) == machine}))


def _provider(dispatch: Dispatch | None, events: Iterable[Event]) -> tuple[str, str]:
    """Return the dispatch's provider and id; without a dispatch, those of the earliest event, one with an id first."""
    if dispatch is not None:
        return dispatch.provider, dispatch.provider_message_id
    seen = min(events, key=lambda e: (not e.provider_message_id, e.occurred_us, e.event_id), default=None)
    return (seen.provider, seen.provider_message_id) if seen else ("", "")


def _last_heard(known: Known) -> int | None:
    times = (
        *(e.occurred_us for e in known.events),
        *(r.requested_us for r in known.requests),
        *(d.decided_us for d in known.decisions),
        *(d.dispatched_us for d in known.dispatches),
    )
    return max(times, default=None)


def _anomalies(
    known: Known,
    decision: Decision | None,
    dispatch: Dispatch | None,
    events: Collection[Event],
    own: Collection[Event],
) -> Iterable[str]:
    contents = {r.content_hash for r in known.requests} | {d.request.content_hash for d in known.decisions}
    if len(contents) > 1:
        yield "conflicting_requests"
    if decision is not None and decision.outcome in REFUSALS and any(e.type not in FACT_TYPES for e in events):
        yield "event_after_refusal"
    bounced = _first(own, *BOUNCES)
    last_delivered = max((e.occurred_us for e in _earliest_copies(own, "delivered")), default=None)
    if bounced is not None and last_delivered is not None and last_delivered > bounced:
        yield "delivered_after_bounce"
    if dispatch is not None:
        reported_ids = {(e.provider, e.provider_message_id) for e in events if e.provider_message_id}
        if reported_ids - {(dispatch.provider, dispatch.provider_message_id)}:
            yield "id_mismatch"
