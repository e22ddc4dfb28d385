"""Whose fault a delivery failure is, according to its enhanced status code (RFC 3463).

In:  the texts that a provider gives with a failure.
Out: the enhanced status code in them, and the fault that it means (docs/reference/providers/sendgrid.md, "Fault").

A provider's own classification, if it has one, takes precedence; its table is in the provider's adapter.
"""

import re
from typing import Final

from schemas.decoding.caching import cache_short_texts
from schemas.events import DeliveryFault, EventType

__all__ = ["FAILURE_TYPES", "enhanced_code_in", "fault_of", "fault_of_enhanced_code"]

FAILURE_TYPES: Final = frozenset(
    {EventType.BOUNCED, EventType.BLOCKED, EventType.DROPPED, EventType.DEFERRED, EventType.FAILED}
)
"""The event types that are delivery failures. Only these have a fault."""

# Class 2, 4 or 5, subject 0 to 7, and not part of a longer dotted number (192.5.1.1), a word (v4.9.3) or a date
# (5.11.2026). The look-behind is after the first digit, because a pattern that starts with a character set is searched
# three times as fast.
_ENHANCED: Final = re.compile(r"[245](?<![\w.].)\.[0-7]\.\d{1,3}(?!\d|\.\d)", re.A)
_REPLY_CODES: Final = frozenset(f"{class_}{rest:02}{sign}" for class_ in "245" for rest in range(100) for sign in " -")
_SHORT_CODES: Final = frozenset(
    f"{class_}.{subject}.{detail}" for class_ in "245" for subject in range(8) for detail in range(10)
)
_ENDS: Final = frozenset({"", " "})
_BEHIND_WORD: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.]*)[\s/_-]{1,3}\Z", re.A)
_LONGEST_WORD: Final = 32

_PRODUCTS: Final = frozenset({"exim", "postfix", "sendmail", "qmail", "smtp", "esmtp", "version", "ver", "release"})
"""Words before a version number, in any case. Other words count as a product's name if they have a capital letter."""
_NOT_PRODUCTS: Final = frozenset(
    {"code", "status", "error", "err", "dsn", "reason", "diagnostic", "response", "reply", "result", "returned", "said"}
    | {
        "failed",
        "failure",
        "rejected",
        "refused",
        "denied",
        "blocked",
        "bounce",
        "bounced",
        "undeliverable",
        "undelivered",
    }
    | {"unknown", "invalid", "permanent", "temporary", "transient", "fatal", "recipient", "address", "mailbox", "user"}
    | {"to", "from", "rcpt", "mail", "data", "delivery", "message", "ndr", "host", "server", "domain", "sender"}
    | {"policy"}
    | {"quarantined", "deferred", "not", "is", "with", "for", "quota", "spam", "content", "access", "relay", "relaying"}
)
"""Words that are not product names though they may begin with a capital: what follows is a code (`Status 5.1.1`)."""
_SENDER_SUBJECTS: Final = frozenset({"5", "6", "7"})
_INFRASTRUCTURE_SUBJECTS: Final = frozenset({"3", "4"})


def enhanced_code_in(text: str) -> str:
    """Return the enhanced status code (`x.y.z`) in `text`; blank if there is none.

    The first one directly after a reply code is taken (`550 5.1.1`, `550-5.1.1`), otherwise the first of all. A number
    after a product's name (`Exim 4.1.2`, `SMTP 5.1.16`) is a version, not a code.
    """
    if len(text) == 5 and text in _SHORT_CODES:
        return text
    if text[:4] in _REPLY_CODES and text[4:9] in _SHORT_CODES and text[9:10] in _ENDS:  # most other texts
        return text[4:9]
    match = _ENHANCED.search(text)
    if match is None:
        return ""
    code, start = match[0], match.start()
    if _is_behind_reply_code(text, start):
        return code
    first = "" if _is_version(text, start) else code
    for later in _ENHANCED.finditer(text, match.end()):
        start = later.start()
        if _is_behind_reply_code(text, start):
            return later[0]
        if not first and not _is_version(text, start):
            first = later[0]
    return first


def _is_behind_reply_code(text: str, start: int) -> bool:
    if text[start - 4 : start] not in _REPLY_CODES:
        return False
    # not the end of a word or an IP address
    return start == 4 or not (text[start - 5].isalnum() or text[start - 5] == ".")


def _is_version(text: str, start: int) -> bool:
    """Return whether the number that starts at `start` follows a product's name."""
    match = _BEHIND_WORD.search(text[max(0, start - _LONGEST_WORD) : start])
    if match is None:
        return False
    word = match[1]
    lowered = word.lower()
    return lowered in _PRODUCTS or (word != lowered and lowered not in _NOT_PRODUCTS)


@cache_short_texts(entries=1 << 12)
def fault_of_enhanced_code(code: str) -> DeliveryFault:
    """Return the fault that an enhanced status code means; UNKNOWN if it means none."""
    if not code:
        return DeliveryFault.UNKNOWN
    class_, subject, _ = code.split(".")
    if class_ == "5" and (subject == "1" or code == "5.2.1"):
        # 5.1.7 and 5.1.8 are about the sender's address.
        return DeliveryFault.SENDER if code in {"5.1.7", "5.1.8"} else DeliveryFault.RECIPIENT
    if subject == "2":
        return DeliveryFault.MAILBOX
    if class_ == "5" and subject in _SENDER_SUBJECTS:
        return DeliveryFault.SENDER
    if subject in _INFRASTRUCTURE_SUBJECTS or class_ == "4":
        return DeliveryFault.INFRASTRUCTURE
    return DeliveryFault.UNKNOWN


def fault_of(type_: str, by_provider: DeliveryFault | None, enhanced_code: str) -> str:
    """Return the fault of an event: the provider's classification, else the code's; blank if it is not a failure.

    A block is never the recipient's fault: the receiving server rejected this mail, not the address permanently.
    """
    if type_ not in FAILURE_TYPES:
        return ""
    fault = by_provider or fault_of_enhanced_code(enhanced_code)
    if type_ == EventType.BLOCKED and fault is DeliveryFault.RECIPIENT:
        return DeliveryFault.SENDER.value
    return fault.value
