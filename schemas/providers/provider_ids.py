"""Providers' message ids in a canonical form, in which they can be compared.

A dispatch has the id that the sender got when it called the provider; an event may have it in another form. The ids of
both are normalised by the same function, one per provider, so that they match.
"""

import re
from collections.abc import Callable
from typing import Final

__all__ = ["PROVIDER_ID_KEYS", "postmark_id_key", "sendgrid_id_key", "sendgrid_id_of_event", "twilio_id_key"]

_UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_NIL: Final = "00000000-0000-0000-0000-000000000000"
_NO_ID_PREFIXES: Final = ("filter", "recvd")
"""How an `sg_message_id` without an id begins: it only names machines of SendGrid."""


def sendgrid_id_key(text: str) -> str:
    """Return the `X-Message-Id` of a send, given in any of its forms: that id, an `sg_message_id` or an `smtp-id`.

    It is a part of an event's id, so cutting it in another way would give events that are stored already new ids.
    An `smtp-id` may have angle brackets, and names a machine after the `@`. After `.filter`, `.stfilter` or `.recvd`,
    an `sg_message_id` names machines and the recipient's number; the separator changed in January 2024.
    """
    if "@" in text or "<" in text:
        text = text.strip().strip("<>").partition("@")[0]
    if "filter" in text:
        text = text.partition(".filter")[0].partition(".stfilter")[0]
    return text.partition(".recvd")[0].strip()


def sendgrid_id_of_event(sg_message_id: str, smtp_id: str) -> str:
    """Return the key of the message with these two ids, either of which may be blank.

    The `smtp-id` is used if `sg_message_id` begins with it, or does not begin with an id; else `sg_message_id` is used.
    """
    key, mark, _ = sg_message_id.partition(".recvd")
    if mark and "." not in key and smtp_id.startswith(f"<{key}@"):
        return key  # most events: both have the same id. It is cut as in `sendgrid_id_key`
    key = sendgrid_id_key(sg_message_id)
    local = smtp_id and sendgrid_id_key(smtp_id)
    if local and (not key or sg_message_id.strip().startswith((local, *_NO_ID_PREFIXES))):
        return local
    return key


def twilio_id_key(text: str) -> str:
    """Return a `MessageSid`, trimmed."""
    return text.strip()


def postmark_id_key(text: str) -> str:
    """Return a `MessageID`, trimmed, and in lower case if it is a UUID; blank for the nil UUID, which means no id.

    Postmark's ids are UUIDs, which are case-insensitive. Any other id is not changed.
    """
    trimmed = text.strip()
    lowered = trimmed.lower()
    if lowered == _NIL:
        return ""
    return lowered if lowered != trimmed and _UUID.fullmatch(lowered) else trimmed


PROVIDER_ID_KEYS: Final[dict[str, Callable[[str], str]]] = {
    "sendgrid": sendgrid_id_key,
    "twilio": twilio_id_key,
    "postmark": postmark_id_key,
}
"""The function that brings a provider's message ids into canonical form, by provider."""
