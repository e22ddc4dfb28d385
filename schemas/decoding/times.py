"""Conversion of times to what we store: whole microseconds since 1970, UTC.

ClickHouse's DateTime64(6) holds an integer of microseconds, too. Integers compare fast, and keep the full precision
of a provider's time. `datetime` is used only where a person or an API reads a time.
"""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

__all__ = ["DAY_US", "SECOND_US", "YEAR_2009_US", "epoch_us", "occurred_us", "rfc3339", "rfc3339_us", "time_us"]

SECOND_US: Final = 1_000_000
DAY_US: Final = 86_400 * SECOND_US
YEAR_2009_US: Final = 1_230_768_000 * SECOND_US
"""SendGrid was founded in 2009: an event with an earlier time comes from a wrong clock."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FAR_US: Final = 253_402_300_800 * SECOND_US  # the year 10000
_RFC3339: Final = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d{1,12}))?(?:([Zz])|([+-])(\d\d):?(\d\d))",
    re.ASCII,
)
_SEPARATORS: Final = "--T::."
"""Every third character of a time that `rfc3339` wrote, from index 4 up to the microseconds.

Such times are parsed by `datetime.fromisoformat`, which takes a fifth of the time of the regular expression. The
gateway puts one on each record.
"""


def epoch_us(value: object) -> int | None:
    """Return the microseconds of a Unix time in seconds, milliseconds or microseconds, as number or text; else None.

    The vendors' own examples have all of these. A value of at least 10^11 is taken as milliseconds (as seconds it would
    be in the year 5138), one of at least 10^14 as microseconds.
    """
    if type(value) is int:
        if 0 < value < 10**11:  # most values: seconds
            return value * SECOND_US
        number: float = value
    elif isinstance(value, str):
        try:
            number = int(value) if value.strip().isdecimal() else float(value)
        except ValueError:
            return None
    elif isinstance(value, float):
        number = value
    else:
        return None
    if not 0 < number < 10**17:  # also false for NaN
        return None
    if number < 10**11:
        return round(number * SECOND_US)
    return round(number * 1000) if number < 10**14 else round(number)


def rfc3339_us(text: str) -> int | None:
    """Return the microseconds of an RFC 3339 time, further digits cut off; None if `text` is not such a time.

    Postmark sends seven decimal digits of a second, and offsets other than Z.
    """
    if len(text) == 27 and text[4:20:3] == _SEPARATORS and text[26] == "Z":
        try:
            us = _since_1970(datetime.fromisoformat(text))
        except ValueError:  # a leap second, for example
            pass
        else:
            return us if us >= 0 else None
    match = _RFC3339.fullmatch(text.strip())
    if match is None:
        return None
    year, month, day, hour, minute, second = map(int, match.group(1, 2, 3, 4, 5, 6))
    try:
        # 60 is a leap second: the next second, as POSIX counts.
        at = datetime(year, month, day, hour, minute, min(second, 59), tzinfo=UTC)
    except ValueError:
        return None
    if second > 60:
        return None
    us = _since_1970(at) + (second == 60) * SECOND_US
    us += int((match[7] or "0").ljust(6, "0")[:6])
    if match[9]:
        if match[10] > "23" or match[11] > "59":
            return None
        offset = (int(match[10]) * 60 + int(match[11])) * 60 * SECOND_US
        us -= offset if match[9] == "+" else -offset
    return us if 0 <= us < _FAR_US else None


def time_us(value: object) -> int | None:
    """Return the microseconds of an RFC 3339 time or a Unix time, as `rfc3339_us` or `epoch_us` does; else None."""
    if not isinstance(value, str):
        return epoch_us(value)
    us = rfc3339_us(value)
    return epoch_us(value) if us is None else us


def _since_1970(at: datetime) -> int:
    since = at - _EPOCH
    return (since.days * 86_400 + since.seconds) * SECOND_US + since.microseconds


def rfc3339(us: int) -> str:
    """Return a time as RFC 3339 text, in UTC, with microseconds."""
    return (_EPOCH + timedelta(microseconds=us)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def occurred_us(provider_us: int | None, received_us: int) -> int | None:
    """Return the provider's time of an event if it is plausible, else None.

    A time before 2009, or more than a day after the event was received, is not plausible.
    """
    if provider_us is None or provider_us < YEAR_2009_US or provider_us > received_us + DAY_US:
        return None
    return provider_us
