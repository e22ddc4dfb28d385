"""The delivery rank of an event, and the sub-status that it gives to its message.

Both depend on the event alone, so they are computed when the event is written.
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
"""The rank of each delivery event. Of several events of a message, the one of the highest rank decides the outcome.

TYPE_NUMBERS has the same order, and so have views/message_rows.py, views/bounce_rows.py, recomputation.sql and
simulator/expectation.py. Rows contain the rank: if it changes, the tables must be filled anew (docs/adr/0003).
"""

OUTCOMES: Final = {
    "approved": 1,
    "blocked": 2,
    "declined": 3,
    "not_opted_in": 4,
    "suppressed": 5,
    "quota_exceeded": 6,
}
"""The number that stands for a decision's outcome in the state. Above 1: refused; 0: no decision."""

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
"""Event types by number, ordered so that the greatest number of a message's own events gives its status.

At most 31, since rows contain them in five bits. Never renumber: append (docs/adr/0013).
"""

OTHER_TYPE: Final = 0
"""The number of every other type."""

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
"""The status, indexed by the greatest type number."""

PROGRESS: Final = {TYPE_NUMBERS[name]: name for name in ("processed", "deferred", "sent")}
"""The sub-status of a Processed message, by the greatest type number."""

CONTENT: Final = 2
"""The flag of a message whose content was received; it stays set after the content has expired."""
WITHDRAWN: Final = 1
"""The flag of a message to which an event of another message was matched by mistake."""

SUB_STATUS_TYPES: Final = frozenset({"failed", "blocked", "bounced", "dropped"})
"""The event types that give a sub-status."""

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
    """Return the sub-status that `event` gives if it is the winning delivery event."""
    match event.type:
        case "failed":
            return event.classification.strip().lower() or "failed"  # Twilio's own status: failed or undelivered
        case "blocked":
            return "blocked"
        case "bounced":
            return _BOUNCE_FAULTS.get(event.fault, "unclassified")
        case "dropped":
            if event.provider == "twilio":
                return "canceled"
            if event.provider == "postmark":
                return _DROP_CODES.get(event.code, "other")
            reason = event.reason.strip().lower()
            if reason.startswith(_SPAM_CONTENT):
                return "content"
            return _DROP_REASONS.get(reason, "other")
        case _:
            return ""
