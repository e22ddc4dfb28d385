"""The request or decision of a message packed into one number, so that the greatest number is the one in force.

In:  a request, or the request of a decision; its time, and a hash that orders those of the same time.
Out: 32 bytes, which ClickHouse reads as a UInt256, and the function that unpacks it.

ClickHouse compares a number of fixed size many times faster than a tuple, so it can be read for millions of messages:
docs/adr/0013-what-millions-of-messages-are-counted-by.md. From the highest bit to the lowest:

    known         2 for a decision, 1 for a request
    inverse_at    63 bits: an earlier time is a greater number
    inverse_hash  64 bits
    to_hash       64 bits: hash of the To key; 0 if events of every address count as events of the To
    kind          4 bits: KINDS
    channel       8 bits: CHANNELS
    outcome       4 bits: OUTCOMES

The views unpack it with the same shifts (projections/store/views/message_rows.py).
"""

from typing import Final, NamedTuple

from projections.messages.arrow_types import address_hash
from schemas.decoding.sends import Request

__all__ = ["CHANNELS", "KINDS", "Intent", "intent", "read_intent"]

CHANNELS: Final = ("", "email", "sms")
KINDS: Final = ("", "client", "staff")
"""The kinds of a recipient."""

_CHANNEL_AT, _KIND_AT, _TO_AT, _HASH_AT, _TIME_AT, _KNOWN_AT = 4, 12, 16, 80, 144, 208


class Intent(NamedTuple):
    """The unpacked parts of the number."""

    known: int
    inverse_at: int
    outcome: int
    channel: str
    recipient_kind: str
    to_hash: int


def intent(known: int, inverse_at: int, inverse_hash: int, request: Request, outcome: int) -> bytes:
    """Return the packed number, little-endian."""
    # An SMS has no CC: events of every address are events of the To.
    to_hash = 0 if request.channel == "sms" else address_hash(request.to_key)
    number = (
        known << _KNOWN_AT
        | inverse_at << _TIME_AT
        | inverse_hash << _HASH_AT
        | to_hash << _TO_AT
        | KINDS.index(request.recipient_kind) << _KIND_AT
        | CHANNELS.index(request.channel) << _CHANNEL_AT
        | outcome
    )
    return number.to_bytes(32, "little")


def read_intent(number: int) -> Intent:
    """Unpack the number."""
    return Intent(
        number >> _KNOWN_AT,
        number >> _TIME_AT & (1 << 63) - 1,
        number & 15,
        CHANNELS[number >> _CHANNEL_AT & 255],
        KINDS[number >> _KIND_AT & 15],
        number >> _TO_AT & (1 << 64) - 1,
    )
