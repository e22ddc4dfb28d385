"""What is broken on purpose: posts, elements and records that can't be read, and the reason that must be given.

Each has a text of its own in it, so that its dead letter can be told from all others.
"""

from collections.abc import Callable
from random import Random
from typing import Final, Literal, NamedTuple

from schemas.topics import SENDS_DECIDED, SENDS_DISPATCHED, SENDS_REQUESTED, WEBHOOKS, Topic

__all__ = ["BROKEN", "Broken"]


class Broken(NamedTuple):
    """A way to be broken: `kind` and `provider` as of a delivery, or kind `element` of a list that is posted."""

    kind: Literal["element", "post", "request", "decision", "dispatch"]
    provider: str
    reason: str
    """The code that the dead letter must have."""
    write: Callable[[str], str]
    """Returns the value, with a text of its own in it."""

    @property
    def topic(self) -> str:
        """Where it is read."""
        return _TOPICS[self.kind].name if self.kind in _TOPICS else WEBHOOKS[self.provider].name

    def value(self, rng: Random) -> bytes:
        """Return a new one."""
        return self.write(rng.randbytes(8).hex()).encode()


_TOPICS: Final[dict[str, Topic]] = {
    "request": SENDS_REQUESTED,
    "decision": SENDS_DECIDED,
    "dispatch": SENDS_DISPATCHED,
}
_TOO_MUCH: Final = "x" * 256 * 1024

BROKEN: Final = (
    Broken("element", "sendgrid", "event_missing", lambda own: f'{{"email":"ann@example.com","note":"{own}"}}'),
    Broken("element", "sendgrid", "event_missing", lambda own: f'{{"event":" ","note":"{own}"}}'),
    Broken("element", "sendgrid", "element_not_object", lambda own: f'"no object {own}"'),
    Broken("element", "sendgrid", "element_not_object", lambda own: f'[1,"{own}"]'),
    Broken("post", "sendgrid", "body_not_json", lambda own: f'[{{"event":"delivered","note":"{own}"'),
    Broken("post", "sendgrid", "body_not_events", lambda own: f'"{own}"'),
    Broken("post", "twilio", "status_missing", lambda own: f"CallSid=CA{own}&CallStatus=completed"),
    Broken("post", "twilio", "body_not_form", lambda own: own),
    Broken("post", "postmark", "body_not_json", lambda own: f'{{"RecordType":"Delivery","Tag":"{own}"'),
    Broken("post", "postmark", "body_not_object", lambda own: f'[{{"RecordType":"Delivery","Tag":"{own}"}}]'),
    Broken("post", "postmark", "record_type_missing", lambda own: f'{{"FromFull":{{}},"Subject":"{own}"}}'),
    Broken("request", "", "record_not_json", lambda own: f'{{"message_id":"{own}"'),
    Broken("request", "", "record_invalid", lambda own: f'{{"message_id":"{own}","account_id":"acme"}}'),
    Broken("request", "", "record_too_large", lambda own: f'{{"message_id":"{own}","note":"{_TOO_MUCH}"}}'),
    Broken("decision", "", "record_invalid", lambda own: f'{{"message_id":"{own}","outcome":"maybe"}}'),
    Broken("dispatch", "", "record_not_json", lambda own: f"dispatched {own}"),
    Broken("dispatch", "", "record_invalid", lambda own: f'{{"message_id":"{own}","provider":"mailgun"}}'),
)
