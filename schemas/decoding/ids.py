"""The ids that other systems give us, and the ids that we make.

A message id is a UUID version 7 in its canonical text form; the time in it is the message's Date Sent.
An event id is a hash of the fact itself, so that every delivery of one fact has the same id.
"""

import re
from collections.abc import Sequence
from hashlib import blake2b
from typing import Final

import orjson

from schemas.decoding.caching import cache_short_texts

__all__ = ["ALL", "account_id_or_blank", "fact_id", "message_id_or_blank", "sent_at_us", "uuid7"]

ALL: Final = "*"
"""All accounts, in place of an account id: a scope, owner or filter of the whole platform. No account has this id."""

_ACCOUNT: Final = re.compile(r"[A-Za-z0-9_.\-]{1,64}")
_YEAR_2200: Final = "0699e991-a800"  # the first characters of that year's ids
_UUID7: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")

_BLAKE2B_128: Final = blake2b(digest_size=16)


@cache_short_texts(entries=1 << 14)
def account_id_or_blank(text: str) -> str:
    """Return `text` if it is an account id (1 to 64 of `[A-Za-z0-9_.-]`), else an empty string."""
    return text if _ACCOUNT.fullmatch(text) else ""


def message_id_or_blank(text: str) -> str:
    """Return `text` in lower case if it is a canonical UUID version 7 from before 2200, else an empty string.

    Later times can't be represented by both ClickHouse and `datetime`, and no real message has one.
    """
    lowered = text.lower()
    return lowered if lowered < _YEAR_2200 and _UUID7.fullmatch(lowered) else ""


def sent_at_us(message_id: str) -> int:
    """Return the time in a message id: microseconds since 1970, with millisecond precision."""
    return int(message_id[:8] + message_id[9:13], 16) * 1000


def uuid7(time_us: int, entropy: bytes) -> str:
    """Return a UUID version 7 made of a time (microseconds) and at least 10 bytes of randomness or of a hash."""
    value = (time_us // 1000) << 80 | int.from_bytes(entropy[:10], "big")
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def fact_id(natural_key: Sequence[object]) -> str:
    """Return the BLAKE2b-128 of a natural key, as 32 hexadecimal digits.

    The key is hashed as a JSON array, so that the parts stay separate whatever text they contain.
    """
    digest = _BLAKE2B_128.copy()  # takes two thirds of the time of a new one
    digest.update(orjson.dumps(natural_key))
    return digest.hexdigest()
