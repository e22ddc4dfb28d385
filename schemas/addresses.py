"""The key of an address: the one spelling under which all that concerns it meets.

In:  an email address or a phone number, as somebody wrote it.
Out: its key. The original spelling is kept elsewhere, for display.

A key is always given, also for text that is no address: an event must be kept whatever it names.
Whether a text *is* an address is a question of the gate's.
"""

import re
import unicodedata
from functools import lru_cache
from typing import Final

import idna

__all__ = ["address_key", "domain_of", "email_key", "phone_key"]

_PHONE_PREFIX: Final = re.compile(r"\A([a-z]+:)?(.*)\Z", re.S)
_PHONE_NOISE: Final = re.compile(r"[\s().\-\u00a0]+")


@lru_cache(maxsize=1 << 16)
def email_key(text: str) -> str:
    """Return `text` trimmed, in Unicode NFC, case-folded, its domain in IDNA form.

    A domain that IDNA refuses stays as it is written, case-folded: the key stays stable and nothing is lost.
    """
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", text.strip()).casefold())
    local, at, domain = folded.rpartition("@")
    if not at or domain.isascii():
        return folded
    try:
        return f"{local}@{idna.encode(domain, uts46=True).decode('ascii')}"
    except idna.IDNAError:
        return folded


@lru_cache(maxsize=1 << 16)
def phone_key(text: str) -> str:
    """Return `text` without the spaces, dots, dashes and brackets that people put into numbers.

    A channel prefix (`whatsapp:`) is kept, in lower case. Text that is no number is only trimmed and lowered,
    since alphanumeric senders and raw carrier strings occur ("E.164 if possible", says Twilio).
    """
    prefix, rest = _PHONE_PREFIX.fullmatch(text.strip().casefold()).groups(default="")  # type: ignore[union-attr]
    # (the pattern matches every text)
    digits = _PHONE_NOISE.sub("", rest)
    return prefix + (digits if digits.lstrip("+").isdigit() else rest.strip())


def address_key(text: str, channel: str) -> str:
    """Return the key of `text` on `channel` (`email` or `sms`)."""
    return phone_key(text) if channel == "sms" else email_key(text)


def domain_of(key: str) -> str:
    """Return the domain of an email key; blank for a phone number."""
    return key.rpartition("@")[2] if "@" in key else ""
