"""Malformed posts, elements and records that a plan sends on purpose, and the reason that their dead letter must have.

Each contains a unique text, so that its dead letter differs from all others.
"""

from collections.abc import Callable
from random import Random
from typing import Final, Literal, NamedTuple

from schemas.topics import WEBHOOKS
from simulator.message import OWN_TOPICS

__all__ = ["BROKEN", "Broken"]


class Broken(NamedTuple):
    """A malformed value: `kind` and `provider` as of a `Delivery`, or kind `element` of a posted list."""

    kind: Literal["element", "post", "request", "decision", "dispatch"]
    provider: str
    reason: str
    """The reason code of its dead letter."""
    make: Callable[[str], str]
    """Returns the value, given a unique text to put into it."""

    @property
    def topic(self) -> str:
        """The topic that it is read from."""
        return (OWN_TOPICS.get(self.kind) or WEBHOOKS[self.provider]).name

    def value(self, rng: Random) -> bytes:
        """Return a new value."""
        return self.make(rng.randbytes(8).hex()).encode()


_LARGE_TEXT: Final = "x" * 256 * 1024

BROKEN: Final = (
    Broken("element", "sendgrid", "event_missing", lambda unique: f'{{"email":"ann@example.com","note":"{unique}"}}'),
    Broken("element", "sendgrid", "event_missing", lambda unique: f'{{"event":" ","note":"{unique}"}}'),
    Broken("element", "sendgrid", "element_not_object", lambda unique: f'"no object {unique}"'),
    Broken("element", "sendgrid", "element_not_object", lambda unique: f'[1,"{unique}"]'),
    Broken("post", "sendgrid", "body_not_json", lambda unique: f'[{{"event":"delivered","note":"{unique}"'),
    Broken("post", "sendgrid", "body_not_events", lambda unique: f'"{unique}"'),
    Broken("post", "twilio", "status_missing", lambda unique: f"CallSid=CA{unique}&CallStatus=completed"),
    Broken("post", "twilio", "body_not_form", lambda unique: unique),
    Broken("post", "postmark", "body_not_json", lambda unique: f'{{"RecordType":"Delivery","Tag":"{unique}"'),
    Broken("post", "postmark", "body_not_object", lambda unique: f'[{{"RecordType":"Delivery","Tag":"{unique}"}}]'),
    Broken("post", "postmark", "record_type_missing", lambda unique: f'{{"FromFull":{{}},"Subject":"{unique}"}}'),
    Broken("request", "", "record_not_json", lambda unique: f'{{"message_id":"{unique}"'),
    Broken("request", "", "record_invalid", lambda unique: f'{{"message_id":"{unique}","account_id":"acme"}}'),
    Broken("request", "", "record_too_large", lambda unique: f'{{"message_id":"{unique}","note":"{_LARGE_TEXT}"}}'),
    Broken("decision", "", "record_invalid", lambda unique: f'{{"message_id":"{unique}","outcome":"maybe"}}'),
    Broken("dispatch", "", "record_not_json", lambda unique: f"dispatched {unique}"),
    Broken("dispatch", "", "record_invalid", lambda unique: f'{{"message_id":"{unique}","provider":"mailgun"}}'),
)
