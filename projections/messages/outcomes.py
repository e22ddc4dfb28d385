"""What one event says of a message's delivery: its rank, and the sub-status that it would give.

Both are functions of the event alone, so that they can be worked out where the event is written.
"""

from typing import Final

from schemas.events import Event

__all__ = ["DELIVERY_RANKS", "SUB_STATUS_TYPES", "sub_status", "sub_status_of"]

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
    "spam content": "content",
    "spam content (if spam checker app is enabled)": "content",
    "recipient list over package quota": "quota",
    "duplicate message": "duplicate",
}
_DROP_CODES: Final = {"ManuallyDeactivated": "inactive"}  # Postmark's Type
_BOUNCE_FAULTS: Final = {"recipient": "hard", "mailbox": "soft", "infrastructure": "soft", "sender": "blocked"}


def sub_status(event: Event) -> str:
    """Return the sub-status that `event` gives where it wins the delivery axis."""
    return sub_status_of(event.type, event.provider, event.classification, event.fault, event.code, event.reason)


def sub_status_of(type_: str, provider: str, classification: str, fault: str, code: str, reason: str) -> str:
    """Return the sub-status that an event of these values gives."""
    match type_:
        case "failed":
            return classification.strip().lower() or "failed"  # Twilio's own word: failed or undelivered
        case "blocked":
            return "blocked"
        case "bounced":
            return _BOUNCE_FAULTS.get(fault, "unclassified")
        case "dropped":
            if provider == "twilio":
                return "canceled"
            if provider == "postmark":
                return _DROP_CODES.get(code, "other")
            return _DROP_REASONS.get(reason.strip().lower(), "other")
        case _:
            return ""
