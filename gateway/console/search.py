"""Turns the text of the search box into a filter, by its form: an address, a phone number, an id, a code or a subject.

In:  a text. Out: a filter of the log and its value, or None for a blank text. Pure.

Any other text is searched for in subjects, so no text is an error.
"""

import re
from typing import Final, NamedTuple

from projections.suppressions.addressing import is_address
from schemas.decoding.addresses import address_key, domain_of, email_key
from schemas.decoding.ids import message_id_or_blank

__all__ = ["SEARCHED", "Search", "read_address", "read_search"]

SEARCHED: Final = ("address", "address_prefix", "domain", "email_id", "provider_message_id", "code", "subject")
"""The filters that the search box may set. A new search removes all of them."""


class Search(NamedTuple):
    """A filter of the log: the name of its parameter, and its value."""

    parameter: str
    value: str


_IN_BRACKETS: Final = re.compile(r".*<([^<>\s]+@[^<>\s]+)>\s*\Z")
_PHONE: Final = re.compile(r"(?:\+|00)?[\d ().\-/\u00a0]{7,28}\Z")
_NO_DIGIT: Final = re.compile(r"\D")
_NORTH_AMERICAN_DIGITS: Final = 10
_MIN_DIGITS: Final = 11
_MIN_DIGITS_AFTER_PREFIX: Final = 7
"""After `+` or `00`."""
_MAX_DIGITS: Final = 15
"""The most that E.164 allows."""
_CODE: Final = re.compile(r"[1-9]\d{2}\Z|[1-9]\d{4}\Z|[245]\.\d{1,3}\.\d{1,3}\Z")
"""SMTP reply codes, Twilio error codes, enhanced status codes."""
_UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z", re.I)
_TWILIO_ID: Final = re.compile(r"(?:SM|MM)[0-9a-f]{32}\Z", re.I)
_SENDGRID_ID: Final = re.compile(r"(?=[^.]*\d)[A-Za-z0-9_\-]{14,}(?:\.[A-Za-z0-9_.\-]+)?\Z")
_MAX_CHARACTERS: Final = 1_000


def read_search(text: str) -> Search | None:
    """Return the filter of a text."""
    text = " ".join(text.split())[:_MAX_CHARACTERS].strip()
    if not text:
        return None
    return _id(text) or _email(text) or _phone(text) or _code(text) or _provider_id(text) or Search("subject", text)


def read_address(text: str) -> Search | None:
    """Return a filter by address, for lists of addresses. The list refuses a text that is no address, with an error."""
    read = read_search(text)
    return None if read is None else Search("address", read.value)


def _id(text: str) -> Search | None:
    known = message_id_or_blank(text.strip("<>"))
    return Search("email_id", known) if known else None


def _email(text: str) -> Search | None:
    if text.startswith("@"):
        domain = domain_of(email_key(f"x{text}"))
        return Search("domain", domain) if domain else None
    if bracketed := _IN_BRACKETS.match(text):
        text = bracketed[1]
    text = text.removeprefix("mailto:").strip("<>,;\"'")
    if text.endswith("@") and " " not in text:
        return Search("address_prefix", text)
    if text.count("@") == 1 and is_address(address_key(text, "email"), "email"):
        return Search("address", text)
    return None


def _phone(text: str) -> Search | None:
    """A phone number in a common spelling. Ten digits without a country code are a North American number."""
    bare = text.removeprefix("tel:").removeprefix("whatsapp:")
    if not _PHONE.match(bare):
        return None
    digits = _NO_DIGIT.sub("", bare)
    if bare.startswith("00"):
        digits = digits.removeprefix("00")
    elif not bare.startswith("+") and len(digits) == _NORTH_AMERICAN_DIGITS:
        digits = f"1{digits}"
    least = _MIN_DIGITS_AFTER_PREFIX if bare.startswith(("+", "00")) else _MIN_DIGITS
    number = f"+{digits}"
    if least <= len(digits) <= _MAX_DIGITS and is_address(address_key(number, "sms"), "sms"):
        return Search("address", number)
    return None


def _code(text: str) -> Search | None:
    return Search("code", text) if _CODE.match(text) else None


def _provider_id(text: str) -> Search | None:
    bare = text.strip("<>")
    if _UUID.match(bare) or _TWILIO_ID.match(bare) or _SENDGRID_ID.match(bare):
        return Search("provider_message_id", bare)
    return None
