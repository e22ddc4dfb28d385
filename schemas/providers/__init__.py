"""The providers' adapters: each turns the value of one record of `webhooks.<provider>` into events.

An adapter is pure and total: it reads no clock, does no I/O, and raises nothing for any bytes. It is given the record's
headers too, because a body does not always have everything: Twilio's callbacks carry our ids in the URL to which they
were posted.
"""

from collections.abc import Callable
from typing import Final

from schemas.events import Headers, Parsed, SourcePosition
from schemas.providers import postmark, sendgrid, twilio

__all__ = ["ADAPTERS", "ToEvents"]

ToEvents = Callable[[bytes, SourcePosition, Headers], Parsed]

ADAPTERS: Final[dict[str, ToEvents]] = {
    "sendgrid": sendgrid.to_events,
    "twilio": twilio.to_events,
    "postmark": postmark.to_events,
}
