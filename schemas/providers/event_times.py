"""The time of an event, as a provider states it."""

from typing import Any

from schemas.decoding.times import epoch_us, occurred_us, time_us

__all__ = ["take_time"]


def take_time(rest: dict[str, Any], field: str, received_us: int) -> tuple[int | None, int]:
    """Take the stated time out of an event's other fields; return it, and the time of the event, in microseconds.

    The time of the event is that of receipt if the provider states none that is plausible; then `rest` says so, and
    keeps what was stated.
    """
    stated = rest.pop(field, None)
    # SendGrid's is always an int, for which the general function would look at more.
    provider_us = epoch_us(stated) if type(stated) is int else time_us(stated)
    at_us = occurred_us(provider_us, received_us)
    if at_us is not None:
        return provider_us, at_us
    rest["occurred_at"] = "received_at"
    if stated is not None:
        rest[field] = stated
    return provider_us, received_us
