"""The ids that providers give to messages, in the form in which they compare.

A dispatch says the id that the sender got when it called the provider; an event says it in another form. Both sides of
the match go through one function a provider, so that they meet.
"""

import re
from collections.abc import Callable
from typing import Final

__all__ = ["PROVIDER_ID_KEYS", "postmark_id_key", "sendgrid_id_key", "sendgrid_id_key_of", "twilio_id_key"]

_UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_NIL: Final = "00000000-0000-0000-0000-000000000000"
_NO_ID_AT_ALL: Final = ("filter", "recvd")
"""What an `sg_message_id` begins with that has no first half: it names machines of SendGrid's alone."""


def sendgrid_id_key(text: str) -> str:
    """Return the `X-Message-Id` of a send, whatever form of it is given: that id, an `sg_message_id` or an `smtp-id`.

    An `smtp-id` may have angle brackets, and names a machine behind the `@`. Behind `.filter`, `.stfilter` or `.recvd`
    an `sg_message_id` names machines and the recipient's number; the word changed in January 2024.
    """
    if "@" in text or "<" in text:
        text = text.strip().strip("<>").partition("@")[0]
    if "filter" in text:
        text = text.partition(".filter")[0].partition(".stfilter")[0]
    return text.partition(".recvd")[0].strip()


def sendgrid_id_key_of(sg_message_id: str, smtp_id: str) -> str:
    """Return the key of the message that an event names by these two, either of which may be blank.

    The `smtp-id` counts where `sg_message_id` begins with it, or has no id in front; else `sg_message_id` counts.
    """
    key, mark, _ = sg_message_id.partition(".recvd")
    if mark and "." not in key and smtp_id.startswith(f"<{key}@"):
        return key  # most events: both say the same
    key = sendgrid_id_key(sg_message_id)
    local = smtp_id and sendgrid_id_key(smtp_id)
    if local and (not key or sg_message_id.strip().startswith((local, *_NO_ID_AT_ALL))):
        return local
    return key


def twilio_id_key(text: str) -> str:
    """Return a `MessageSid`, trimmed."""
    return text.strip()


def postmark_id_key(text: str) -> str:
    """Return a `MessageID`, trimmed, and in lower case if it is a UUID; blank for the nil UUID, which is no id.

    Postmark's ids are UUIDs, whose letters have no case; of any other id we know nothing, and leave it as it is.
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
"""How each provider's id is brought into the form that compares."""
