"""What one event says of a message's delivery: its rank, and the sub-status that it would give.

Both are functions of the event alone, so that they can be worked out where the event is written.
"""

from typing import Final

from schemas.events import Event

__all__ = [
    "CONTENT",
    "DELIVERY_RANKS",
    "OTHER_TYPE",
    "OUTCOMES",
    "STATUS_BITS",
    "SUB_STATUS_TYPES",
    "TYPE_BITS",
    "WITHDRAWN",
    "sub_status",
]

DELIVERY_RANKS: Final = {
    "processed": 1,
    "deferred": 2,
    "sent": 3,
    "delivered": 4,
    "dropped": 5,
    "failed": 6,
    "blocked": 7,
    "bounced": 8,
}
"""The delivery axis: of two events the one of the higher rank says what became of the message."""

OUTCOMES: Final = {
    "approved": 1,
    "blocked": 2,
    "declined": 3,
    "not_opted_in": 4,
    "suppressed": 5,
    "quota_exceeded": 6,
}
"""A decision's outcome, as a number in the state. All above 1 are refusals; 0 is no decision."""

TYPE_BITS: Final = {
    **{name: 1 << rank - 1 for name, rank in DELIVERY_RANKS.items()},
    "subscription_changed": 1 << 8,
    "opened": 1 << 9,
    "clicked": 1 << 10,
    "machine_opened": 1 << 11,
    "machine_clicked": 1 << 12,
    "complained": 1 << 13,
}
"""The types of a message's events, as a set of bits."""

OTHER_TYPE: Final = 1 << 14
"""The bit of an event of any other type."""

_BOUNCE_BITS: Final = TYPE_BITS["failed"] | TYPE_BITS["blocked"] | TYPE_BITS["bounced"]
_DELIVERY_BITS: Final = TYPE_BITS["delivered"] | TYPE_BITS["machine_opened"] | TYPE_BITS["machine_clicked"]
STATUS_BITS: Final = {
    "Bounced": _BOUNCE_BITS,
    "Dropped": TYPE_BITS["dropped"],
    "Subscriptionchange": TYPE_BITS["subscription_changed"],
    "Clicked": TYPE_BITS["clicked"],
    "Opened": TYPE_BITS["opened"],
    "Delivered": _DELIVERY_BITS,
    "Processed": TYPE_BITS["processed"] | TYPE_BITS["deferred"] | TYPE_BITS["sent"],
}
"""The types of event of which one gives a status, where no status before it in this order applies."""

CONTENT: Final = 2
"""The flag of a message whose content was told, also after that has expired."""
WITHDRAWN: Final = 1
"""The flag of a message to which an event was matched that is another message's."""

SUB_STATUS_TYPES: Final = frozenset({"failed", "blocked", "bounced", "dropped"})
"""The types whose events give a sub-status of their own."""

_DROP_REASONS: Final = {
    # SendGrid's reasons (docs: Event Webhook reference, "Dropped"; glossary, "Drops")
    "bounced address": "bounced",
    "bounce": "bounced",
    "unsubscribed address": "unsubscribed",
    "spam reporting address": "spam",
    "invalid": "invalid",
    "invalid smtpapi header": "invalid",
    "recipient list over package quota": "quota",
    "duplicate message": "duplicate",
}
_SPAM_CONTENT: Final = "spam content"  # with whatever follows it: "(if Spam Checker app is enabled)", a score, a rule
_DROP_CODES: Final = {"ManuallyDeactivated": "inactive"}  # Postmark's Type
_BOUNCE_FAULTS: Final = {"recipient": "hard", "mailbox": "soft", "infrastructure": "soft", "sender": "blocked"}


def sub_status(event: Event) -> str:
    """Return the sub-status that `event` gives where it wins the delivery axis."""
    match event.type:
        case "failed":
            return event.classification.strip().lower() or "failed"  # Twilio's own word: failed or undelivered
        case "blocked":
            return "blocked"
        case "bounced":
            return _BOUNCE_FAULTS.get(event.fault, "unclassified")
        case "dropped":
            if event.provider == "twilio":
                return "canceled"
            if event.provider == "postmark":
                return _DROP_CODES.get(event.code, "other")
            said = event.reason.strip().lower()
            if said.startswith(_SPAM_CONTENT):
                return "content"
            return _DROP_REASONS.get(said, "other")
        case _:
            return ""
