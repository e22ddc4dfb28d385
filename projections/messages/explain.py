"""Why a message has its status: what decided it, and of each event that did not, the rule that says so.

In:  a row of `messages`, and its rows of `message_events`.
Out: an `Explanation`. Pure; the rules are those of docs/explanation/status.md, and the status is the row's own.
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
    "refused": "The gate did not approve the message: its decision says the status, whatever a provider says",
    "delivery": "The event of the highest rank says what became of the message",
    "subscription": "A change of the recipient's subscription names this message",
    "engagement": "A person opened it or clicked in it; the first time counts",
    "delivery_proven": "It was opened or clicked in, by a person or a machine: so it was delivered",
    "nothing_heard": "No provider has said anything of it yet",
}
"""Which rule gives a status, by its code."""

RULES: Final = {
    "cc": "It is about a CC: only what is about the To changes the status",
    "refused": "The gate did not approve the message: an event hides nothing of that (anomaly event_after_refusal)",
    "lower_rank": f"Another event of the delivery has a higher rank, in this order: {', '.join(DELIVERY_RANKS)}",
    "without_code": "Another event of the same rank has a code, and this one has none",
    "later": "Another event of the same rank occurred earlier",
    "greater_id": "Another event of the same rank and moment has the smaller event_id",
    "status_order": "Another status comes first in the order of the statuses",
    "repeated": "It is counted; an earlier one like it gives the status",
    "older_change": "A later change of the subscription counts; of one moment, that of the greater event_id",
    "machine": "A machine opened it or clicked in it: that proves the delivery, and nothing more",
    "no_status": "Events of this type have no status",
}
"""Why an event did not give the status, by the code of the rule."""

_BY_DELIVERY: Final = frozenset({"Bounced", "Dropped", "Processed"})
_BY_ENGAGEMENT: Final = {"Clicked": "clicked", "Opened": "opened"}


@dataclass(frozen=True, slots=True)
class NotCounted:
    """An event that did not give the status, and the rule of RULES that says so."""

    event: Row
    rule: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a message has its status."""

    rule: str
    """Of STATUS_RULES."""
    winner: Row | None
    """The event that gives the status; None where none does."""
    decision: Row | None
    """The `decided` event that counts: the earliest."""
    delivery: Row | None
    """The event that wins the delivery axis, whether it gives the status or not."""
    subscription: Row | None
    """The change of the subscription that counts: the latest."""
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
