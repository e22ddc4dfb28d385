"""The providers' adapters: each turns the value of one record of `webhooks.<provider>` into events.

An adapter is pure and total: it reads no clock, does no I/O and raises nothing, whatever the bytes are.
"""

from collections.abc import Callable
from typing import Final

from schemas.events import Parsed, Place
from schemas.providers import sendgrid

__all__ = ["ADAPTERS", "ToEvents"]

ToEvents = Callable[[bytes, Place], Parsed]

ADAPTERS: Final[dict[str, ToEvents]] = {
    "sendgrid": sendgrid.to_events,
}
