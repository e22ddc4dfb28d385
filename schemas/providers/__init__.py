"""The providers' adapters: each turns the value of one record of `webhooks.<provider>` into events.

An adapter is pure and total: it reads no clock, does no I/O and raises nothing, whatever the bytes are. It is given the
record's headers too, since a body does not always say all: Twilio's callbacks carry our ids in the URL they were
posted to.
"""

from collections.abc import Callable
from typing import Final

from schemas.events import Headers, Parsed, Place
from schemas.providers import postmark, sendgrid, twilio

__all__ = ["ADAPTERS", "ToEvents"]

ToEvents = Callable[[bytes, Place, Headers], Parsed]

ADAPTERS: Final[dict[str, ToEvents]] = {
    "sendgrid": sendgrid.to_events,
    "twilio": twilio.to_events,
    "postmark": postmark.to_events,
}
