"""What was asked for and decided of a message, as one number: so that the greatest is the one that counts.

In:  a request, or a decision's; when, and the hash by which those of one moment are told apart.
Out: 32 bytes, which ClickHouse reads as a UInt256, and what its parts are.

A number of fixed size is compared many times as fast as a tuple, and so it can be read of millions of messages:
docs/adr/0013-what-millions-of-messages-are-counted-by.md. From the highest bit to the lowest:

    known         2 is a decision, 1 a request
    inverse_at    63 bits: the earlier is the greater
    inverse_hash  64 bits
    to_hash       64 bits: of the To; 0 where every address counts as the To's
    kind          4 bits: KINDS
    channel       8 bits: CHANNELS
    outcome       4 bits: OUTCOMES

The views read it with the same shifts (projections/store/views/message_rows.py).
"""

from typing import Final, NamedTuple

from projections.messages.arrow_types import address_hash
from schemas.facts import Request

__all__ = ["CHANNELS", "KINDS", "Intent", "intent", "read_intent"]

CHANNELS: Final = ("", "email", "sms")
KINDS: Final = ("", "client", "staff")
"""What a recipient may be."""

_CHANNEL_AT, _KIND_AT, _TO_AT, _HASH_AT, _TIME_AT, _KNOWN_AT = 4, 12, 16, 80, 144, 208


class Intent(NamedTuple):
    """The parts of the number."""

    known: int
    inverse_at: int
    outcome: int
    channel: str
    recipient_kind: str
    to_hash: int


def intent(known: int, inverse_at: int, inverse_hash: int, request: Request, outcome: int) -> bytes:
    """Return the number, the lowest byte first."""
    # An SMS has no CC: whatever address an event names, it is the To's.
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
    """Return the parts of the number."""
    return Intent(
        number >> _KNOWN_AT,
        number >> _TIME_AT & (1 << 63) - 1,
        number & 15,
        CHANNELS[number >> _CHANNEL_AT & 255],
        KINDS[number >> _KIND_AT & 15],
        number >> _TO_AT & (1 << 64) - 1,
    )
