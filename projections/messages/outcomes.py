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
    "PROGRESS",
    "STATUS_OF",
    "SUB_STATUS_TYPES",
    "TYPE_NUMBERS",
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

TYPE_NUMBERS: Final = {
    "complained": 1,
    "processed": 2,
    "deferred": 3,
    "sent": 4,
    "machine_clicked": 5,
    "machine_opened": 6,
    "delivered": 7,
    "opened": 8,
    "clicked": 9,
    "subscription_changed": 10,
    "dropped": 11,
    "failed": 12,
    "blocked": 13,
    "bounced": 14,
}
"""The types of events, in such an order that the greatest of a message's own gives its status. Less than 32."""

OTHER_TYPE: Final = 0
"""The number of any other type."""

STATUS_OF: Final = (
    *("Pending", "Pending"),
    *("Processed", "Processed", "Processed"),
    *("Delivered", "Delivered", "Delivered"),
    "Opened",
    "Clicked",
    "Subscriptionchange",
    "Dropped",
    *("Bounced", "Bounced", "Bounced"),
)
"""The status by the greatest number of a type."""

PROGRESS: Final = {TYPE_NUMBERS[name]: name for name in ("processed", "deferred", "sent")}
"""What a message that is Processed has as its sub-status."""

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
