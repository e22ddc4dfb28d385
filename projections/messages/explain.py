"""Explain why a message has its status: which event decided it, and for each other event, why it did not.

In:  a row of `messages`, and its rows of `message_events`.
Out: an `Explanation`. Pure. The rules are those of docs/explanation/status.md; the status is taken from the row.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from projections.messages.filters import REFUSED
from projections.messages.outcomes import DELIVERY_RANKS
from schemas.events import ENGAGEMENT_TYPES, FACT_TYPES

__all__ = ["RULES", "STATUS_RULES", "Explanation", "NotCounted", "explain"]

Row = Mapping[str, Any]

STATUS_RULES: Final = {
    "refused": "The gate did not approve the message: the decision gives the status, whatever a provider reports",
    "delivery": "The delivery event of the highest rank gives the status",
    "subscription": "A change of the recipient's subscription names this message",
    "engagement": "A person opened the message or clicked a link in it; the first such event counts",
    "delivery_proven": "A person or a machine opened or clicked it, which proves that it was delivered",
    "nothing_heard": "There is no event from a provider yet",
}
"""The rules that give a status, by their codes."""

RULES: Final = {
    "cc": "It is about a CC: only events of the To change the status",
    "refused": "The gate did not approve the message: events do not change that (anomaly event_after_refusal)",
    "lower_rank": f"Another delivery event has a higher rank; from low to high: {', '.join(DELIVERY_RANKS)}",
    "without_code": "Another event of the same rank has a code, and this one has none",
    "later": "Another event of the same rank occurred earlier",
    "greater_id": "Another event of the same rank and time has a smaller event_id",
    "status_order": "Another status comes first in the order of statuses",
    "repeated": "An earlier event of the same type gives the status; this one is only counted",
    "older_change": "A later subscription change counts; at the same time, the one with the greater event_id",
    "machine": "A machine opened or clicked it: that proves the delivery, and nothing more",
    "no_status": "Events of this type give no status",
}
"""The rules by which an event does not give the status, by their codes."""

_BY_DELIVERY: Final = frozenset({"Bounced", "Dropped", "Processed"})
_BY_ENGAGEMENT: Final = {"Clicked": "clicked", "Opened": "opened"}


@dataclass(frozen=True, slots=True)
class NotCounted:
    """An event that did not give the status, and the code of the reason in RULES."""

    event: Row
    rule: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a message has its status."""

    rule: str
    """A code of STATUS_RULES."""
    winner: Row | None
    """The event that gives the status, or None."""
    decision: Row | None
    """The `decided` event in force: the earliest."""
    delivery: Row | None
    """The winning delivery event, even if it does not give the status."""
    subscription: Row | None
    """The subscription change in force: the latest."""
    not_counted: Sequence[NotCounted]


def explain(row: Row, events: Sequence[Row]) -> Explanation:
    """Return why the message of `row` has its status."""
    own = [event for event in events if event["type"] not in FACT_TYPES and not event["cc"]]
    decision = min((event for event in events if event["type"] == "decided"), key=_time_and_id, default=None)
    delivery = min((event for event in own if event["type"] in DELIVERY_RANKS), key=_delivery_order, default=None)
    changes = [event for event in own if event["type"] == "subscription_changed"]
    subscription = max(changes, key=_time_and_id, default=None)
    rule, winner = _winner(row["status"], own, decision, delivery, subscription)
    why = _reasons(row["status"], winner, delivery, subscription)
    return Explanation(
        rule,
        winner,
        decision,
        delivery,
        subscription,
        [NotCounted(event, why(event)) for event in events if event["type"] not in FACT_TYPES and event is not winner],
    )


def _winner(
    status: str, own: Sequence[Row], decision: Row | None, delivery: Row | None, subscription: Row | None
) -> tuple[str, Row | None]:
    if status in REFUSED:
        return "refused", decision
    if status == "Subscriptionchange":
        return "subscription", subscription
    if status in _BY_ENGAGEMENT:
        done = (event for event in own if event["type"] == _BY_ENGAGEMENT[status] and not event["machine"])
        return "engagement", min(done, key=_time_and_id, default=None)
    if status in _BY_DELIVERY or (delivery is not None and delivery["type"] == "delivered"):
        return "delivery", delivery
    if status == "Delivered":
        opened = (event for event in own if event["type"] in ENGAGEMENT_TYPES)
        return "delivery_proven", min(opened, key=_time_and_id, default=None)
    return "nothing_heard", None


def _reasons(status: str, winner: Row | None, delivery: Row | None, subscription: Row | None) -> Callable[[Row], str]:
    def of_delivery(event: Row) -> str:
        if delivery is None or event is delivery:
            return "status_order"
        if DELIVERY_RANKS[event["type"]] < DELIVERY_RANKS[delivery["type"]]:
            return "lower_rank"
        if delivery["code"] and not event["code"]:
            return "without_code"
        return "later" if event["occurred_at"] > delivery["occurred_at"] else "greater_id"

    def of_engagement(event: Row) -> str:
        if event["machine"]:
            return "machine"
        return "repeated" if winner is not None and winner["type"] == event["type"] else "status_order"

    def why(event: Row) -> str:
        if event["cc"]:
            return "cc"
        if status in REFUSED:
            return "refused"
        if event["type"] in DELIVERY_RANKS:
            return of_delivery(event)
        if event["type"] in ENGAGEMENT_TYPES:
            return of_engagement(event)
        if event["type"] == "subscription_changed":
            return "status_order" if event is subscription else "older_change"
        return "no_status"

    return why


def _time_and_id(event: Row) -> tuple[Any, str]:
    return event["occurred_at"], event["event_id"]


def _delivery_order(event: Row) -> tuple[int, bool, Any, str]:
    return -DELIVERY_RANKS[event["type"]], not event["code"], event["occurred_at"], event["event_id"]
