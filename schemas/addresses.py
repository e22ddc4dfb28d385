"""The key of an address: the one spelling under which all that concerns it meets.

In:  an email address or a phone number, as somebody wrote it.
Out: its key. The original spelling is kept elsewhere, for display.

A key is always given, also for text that is no address: an event must be kept whatever it names.
Whether a text *is* an address is a question of the gate's.
"""

import re
import unicodedata
from contextlib import suppress
from hashlib import blake2b
from typing import Final

import idna

from schemas.caching import caching_short

__all__ = ["MAX_ADDRESS_CHARACTERS", "address_key", "domain_of", "email_key", "phone_key"]

MAX_ADDRESS_CHARACTERS: Final = 320
"""64 for the local part, `@`, and 255 for the domain. A longer text is no address.

It is never normalised: to put a million combining marks in order takes minutes.
"""

_SAME_NUMBER: Final = re.compile(r"(?:(?:sms|mms|rcs|tel)\s*:\s*)+(?=\S)")
_OTHER_IDENTITY: Final = re.compile(r"[a-z]+:")
_PHONE_NOISE: Final = re.compile(r"[\s().\-\u00a0]+")


def email_key(text: str) -> str:
    """Return `text` trimmed, the local part in Unicode NFC and case-folded, the domain in lower case and in IDNA form.

    The domain is not case-folded: IDNA 2008 knows ß and ς, and folding would make another domain of it. A domain that
    IDNA refuses stays as it is written, in lower case: the key stays stable and nothing is lost.
    """
    if len(text) > MAX_ADDRESS_CHARACTERS:
        return _too_long(text)
    if not text.isascii():
        return _email_key(text)
    key = text.strip().lower()  # as `_email_key` does, without taking it apart
    return key[:-1] if key[-1:] == "." and "@" in key and key[-2] != "." else key


@caching_short(entries=1 << 14)
def _email_key(text: str) -> str:
    local, at, domain = text.strip().rpartition("@")
    if not at:
        return _bounded(_folded(domain), text)
    return _bounded(f"{_folded(local)}@{_domain_key(domain)}", text)


@caching_short(entries=1 << 16)
def phone_key(text: str) -> str:
    """Return `text` without the spaces, dots, dashes and brackets that people put into numbers.

    `sms:`, `mms:`, `rcs:` and `tel:` in front are left out: they name another way to the same number. Other prefixes
    (`whatsapp:`, `messenger:`) name another identity, and are kept in lower case. Text that is no number is only
    trimmed and lowered, since alphanumeric senders and raw carrier strings occur ("E.164 if possible", says Twilio).
    """
    if len(text) > MAX_ADDRESS_CHARACTERS:
        return _too_long(text)
    folded = text.strip().casefold()
    same = _SAME_NUMBER.match(folded)
    number = folded[same.end() :] if same else folded
    other = _OTHER_IDENTITY.match(number)
    prefix = other[0] if other else ""
    rest = number[len(prefix) :]
    digits = _PHONE_NOISE.sub("", rest)
    return _bounded(prefix + (digits if digits.lstrip("+").isdigit() else rest.strip()), text)


def address_key(text: str, channel: str) -> str:
    """Return the key of `text` on `channel` (`email` or `sms`)."""
    return phone_key(text) if channel == "sms" else email_key(text)


def domain_of(key: str) -> str:
    """Return the domain of an email key; blank for a phone number."""
    return key.rpartition("@")[2] if "@" in key else ""


def _folded(text: str) -> str:
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())


def _domain_key(domain: str) -> str:
    lowered = domain.lower()
    if not lowered.isascii():
        lowered = unicodedata.normalize("NFC", unicodedata.normalize("NFC", domain).lower())
        with suppress(idna.IDNAError):
            lowered = idna.encode(lowered, uts46=True).decode("ascii")
    return lowered if lowered.endswith("..") else lowered.removesuffix(".")


def _bounded(key: str, text: str) -> str:
    """Return the key, unless folding made more of it than an address may have: a key must be its own key."""
    return key if len(key) <= MAX_ADDRESS_CHARACTERS else _too_long(text)


def _too_long(text: str) -> str:
    """Return the key of a text that is no address because of its length: its hash, of a fixed size."""
    return "too-long:" + blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
