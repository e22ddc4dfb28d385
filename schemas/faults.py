"""Whose fault a failure is, as far as an enhanced status code (RFC 3463) tells.

In:  the texts that a provider gives with a failure.
Out: the enhanced status code in them, and the fault that it means (CONTRACT section 3, row "enhanced code").

A provider's own classification, where it has one, comes first: that table stands in the provider's adapter.
"""

import re
from functools import lru_cache
from typing import Final

from schemas.events import EventType, Fault

__all__ = ["FAILURE_TYPES", "enhanced_code_in", "fault_of", "fault_of_enhanced_code"]

FAILURE_TYPES: Final = frozenset(
    {EventType.BOUNCED, EventType.BLOCKED, EventType.DROPPED, EventType.DEFERRED, EventType.FAILED}
)
"""The types that are failures, and so have a fault."""

# Class 2, 4 or 5, and no part of a longer dotted number (192.5.1.1), a word (v4.9.3) or a date (5.11.2026).
# The look-behind stands after the first digit, because a pattern that starts with a set of characters is searched
# three times as fast.
_ENHANCED: Final = re.compile(r"[245](?<![\w.].)\.\d{1,3}\.\d{1,3}(?!\d|\.\d)", re.A)
_SENDER_SUBJECTS: Final = frozenset({"5", "6", "7"})
_INFRASTRUCTURE_SUBJECTS: Final = frozenset({"3", "4"})


def enhanced_code_in(text: str) -> str:
    """Return the first enhanced status code (`x.y.z`) in `text`; blank if there is none."""
    match = _ENHANCED.search(text)
    return match[0] if match else ""


@lru_cache(maxsize=1 << 12)
def fault_of_enhanced_code(code: str) -> Fault:
    """Return the fault that an enhanced status code means; UNKNOWN where it tells nothing."""
    if not code:
        return Fault.UNKNOWN
    class_, subject, _ = code.split(".")
    if class_ == "5" and (subject == "1" or code == "5.2.1"):
        # 5.1.7 and 5.1.8 are about the sender's address.
        return Fault.SENDER if code in {"5.1.7", "5.1.8"} else Fault.RECIPIENT
    if subject == "2":
        return Fault.MAILBOX
    if class_ == "5" and subject in _SENDER_SUBJECTS:
        return Fault.SENDER
    if subject in _INFRASTRUCTURE_SUBJECTS or class_ == "4":
        return Fault.INFRASTRUCTURE
    return Fault.UNKNOWN


def fault_of(type_: str, by_provider: Fault | None, enhanced_code: str) -> str:
    """Return the fault of an event: first what the provider says, then what the code says; blank for no failure.

    A block is never the recipient's fault: the receiving server refused this mail, not the address for good.
    """
    if type_ not in FAILURE_TYPES:
        return ""
    fault = by_provider or fault_of_enhanced_code(enhanced_code)
    if type_ == EventType.BLOCKED and fault is Fault.RECIPIENT:
        return Fault.SENDER.value
    return fault.value
