"""What is an address, and what is the sender of an SMS: the questions that keys (`schemas.addresses`) leave open.

An email address is `local@domain`, at most 254 characters of its key. The local part has at most 64: letters, digits,
the signs of RFC 5322 and anything beyond ASCII, in parts that single dots join; or a quoted text. The domain has two
labels or more, each of 1 to 63 letters, digits and inner hyphens, in IDNA form, the last one no number. A name in
front of the address, a literal IP or a domain without a dot is refused: no provider delivers to it.

A phone number is E.164: `+`, then 2 to 15 digits, the first of them not 0; `whatsapp:` may stand before it.
"""

import re
from typing import Final, NamedTuple

from schemas.addresses import phone_key

__all__ = ["AddressKey", "is_address", "sender_key"]

_ATOM: Final = r"[^\s\"(),.:;<>@\[\\\]\x00-\x20\x7f-\x9f]+"
_QUOTED: Final = r'"(?:[^"\\\x00-\x1f\x7f]|\\[^\x00-\x1f\x7f])+"'
_LABEL: Final = r"(?!-)[a-z0-9-]{1,63}(?<!-)"
_EMAIL: Final = re.compile(
    rf"(?=.{{1,254}}\Z)(?=.{{1,64}}@[^@]*\Z)(?:{_ATOM}(?:\.{_ATOM})*|{_QUOTED})@(?:{_LABEL}\.)+(?!\d+\Z){_LABEL}"
)
_PHONE: Final = re.compile(r"(?:whatsapp:)?\+[1-9]\d{1,14}", re.ASCII)


class AddressKey(NamedTuple):
    """An address on its channel: what suppression is kept by."""

    channel: str
    address: str
    """The address's key."""

    def __str__(self) -> str:
        """The key of its records: `channel:address`."""
        return f"{self.channel}:{self.address}"


def is_address(key: str, channel: str) -> bool:
    """Return whether the key of a To is one of an address at all."""
    return (_PHONE if channel == "sms" else _EMAIL).fullmatch(key) is not None


def sender_key(text: str) -> str:
    """Return the key of an SMS sender: a number, a name, or the id of a messaging service, in any case."""
    return phone_key(text)
