"""The key of an address: its canonical form, by which records about one address are found.

In:  an email address or a phone number as it was written.
Out: its key. The original spelling is kept elsewhere, for display.

Any text has a key, even if it is not an address, because an event must be kept whatever address it names. The gate
decides whether a text is a valid address.
"""

import re
import unicodedata
from contextlib import suppress
from hashlib import blake2b
from typing import Final

import idna

from schemas.decoding.caching import cache_short_texts

__all__ = ["MAX_ADDRESS_CHARACTERS", "address_key", "domain_of", "email_key", "phone_key"]

MAX_ADDRESS_CHARACTERS: Final = 320
"""64 for the local part, `@`, and 255 for the domain. A longer text is not an address.

Longer texts are never normalised: sorting a million combining marks takes minutes.
"""

_SAME_NUMBER_PREFIX: Final = re.compile(r"(?:(?:sms|mms|rcs|tel)\s*:\s*)+(?=\S)")
_OTHER_IDENTITY_PREFIX: Final = re.compile(r"[a-z]+:")
_PHONE_PUNCTUATION: Final = re.compile(r"[\s().\-\u00a0]+")


def email_key(text: str) -> str:
    """Return `text` trimmed, the local part in Unicode NFC and case-folded, the domain in lower case and in IDNA form.

    The domain is not case-folded: ß and ς are valid in IDNA 2008, and folding them would give another domain. A domain
    that IDNA rejects is only lower-cased, so that the key is stable and nothing is lost.
    """
    if len(text) > MAX_ADDRESS_CHARACTERS:
        return _too_long(text)
    if not text.isascii():
        return _email_key(text)
    key = text.strip().lower()  # same result as `_email_key`, without splitting
    return _without_final_dot(key) if key[-1:] == "." and "@" in key else key


@cache_short_texts(entries=1 << 14)
def _email_key(text: str) -> str:
    local, at, domain = text.strip().rpartition("@")
    if not at:
        return _bounded(_folded(domain), text)
    return _bounded(f"{_folded(local)}@{_domain_key(domain)}", text)


@cache_short_texts(entries=1 << 16)
def phone_key(text: str) -> str:
    """Return `text` without the spaces, dots, dashes and brackets that people write in phone numbers.

    The prefixes `sms:`, `mms:`, `rcs:` and `tel:` are removed: they are other ways to reach the same number. Other
    prefixes (`whatsapp:`, `messenger:`) mean another identity, and are kept in lower case. Text that is not a number is
    only trimmed and lower-cased: alphanumeric senders and raw carrier strings occur ("E.164 if possible", says Twilio).
    """
    if len(text) > MAX_ADDRESS_CHARACTERS:
        return _too_long(text)
    folded = text.strip().casefold()
    same = _SAME_NUMBER_PREFIX.match(folded)
    number = folded[same.end() :] if same else folded
    other = _OTHER_IDENTITY_PREFIX.match(number)
    prefix = other[0] if other else ""
    rest = number[len(prefix) :]
    digits = _PHONE_PUNCTUATION.sub("", rest)
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
    """Return a domain in lower case and in IDNA form, without a final dot.

    Repeated until nothing changes: without its final dot a domain may be one that IDNA accepts.
    """
    while (key := _simpler_domain(domain)) != domain:
        domain = key
    return key


def _simpler_domain(domain: str) -> str:
    lowered = domain.lower()
    if not lowered.isascii():
        lowered = unicodedata.normalize("NFC", unicodedata.normalize("NFC", domain).lower())
        with suppress(idna.IDNAError):
            lowered = idna.encode(lowered, uts46=True).decode("ascii")
    return _without_final_dot(lowered)


def _without_final_dot(text: str) -> str:
    """Return the text without its last dot; unless a dot or a blank is before it, since the rest would change again."""
    return text if text[-2:-1] == "." or text[-2:-1].isspace() else text.removesuffix(".")


def _bounded(key: str, text: str) -> str:
    """Return the key, or that of a too long text if folding made it longer than an address: keys must be idempotent."""
    return key if len(key) <= MAX_ADDRESS_CHARACTERS else _too_long(text)


def _too_long(text: str) -> str:
    """Return the key of a text that is too long to be an address: its hash, of a fixed size."""
    return "too-long:" + blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
