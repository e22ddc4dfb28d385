"""Which texts are valid addresses, and how SMS senders are compared (`schemas.decoding.addresses` makes the keys).

An email address is `local@domain`, at most 254 characters of its key. The local part has at most 64: letters, digits,
the punctuation of RFC 5322 and any non-ASCII character, in parts joined by single dots; or a quoted string. The domain
has at least two labels, each of 1 to 63 letters, digits and inner hyphens, in IDNA form; the last label is not a
number. A display name, a literal IP or a domain without a dot is invalid: no provider delivers to it.

A phone number is E.164: `+`, then 2 to 15 digits, the first of them not 0; `whatsapp:` may precede it.
"""

import re
from typing import Final, NamedTuple

from schemas.decoding.addresses import phone_key

__all__ = ["AddressKey", "is_address", "sender_key"]

_ATOM: Final = r"[^\s\"(),.:;<>@\[\\\]\x00-\x20\x7f-\x9f]+"
_QUOTED: Final = r'"(?:[^"\\\x00-\x1f\x7f]|\\[^\x00-\x1f\x7f])+"'
_LABEL: Final = r"(?!-)[a-z0-9-]{1,63}(?<!-)"
_EMAIL: Final = re.compile(
    rf"(?=.{{1,254}}\Z)(?=.{{1,64}}@[^@]*\Z)(?:{_ATOM}(?:\.{_ATOM})*|{_QUOTED})@(?:{_LABEL}\.)+(?!\d+\Z){_LABEL}"
)
_PHONE: Final = re.compile(r"(?:whatsapp:)?\+[1-9]\d{1,14}", re.ASCII)


class AddressKey(NamedTuple):
    """An address on its channel: the key of suppressions."""

    channel: str
    address: str
    """As `schemas.decoding.addresses.address_key` gives it."""

    def __str__(self) -> str:
        """The Kafka key of its records: `channel:address`."""
        return f"{self.channel}:{self.address}"


def is_address(key: str, channel: str) -> bool:
    """Return whether the key of a To is a valid address of its channel."""
    return (_PHONE if channel == "sms" else _EMAIL).fullmatch(key) is not None


def sender_key(text: str) -> str:
    """Return the key by which SMS senders are compared: numbers, names and ids of messaging services, without case."""
    return phone_key(text)
