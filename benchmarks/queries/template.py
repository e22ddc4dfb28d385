"""Life-like messages that the log is made of: each with its request, decision, dispatch and events.

In:  how many, and a seed.
Out: `Template`s, all of one account and one Date Sent, with the status that each must show. The status is written down
     by the scenario that made the events, and by no code of the product's, so that it can be compared.
Promise: no two events of a message have one time; ids end in 12 characters that a copy may replace.
"""

from dataclasses import dataclass, field
from random import Random
from typing import Any, Final, NamedTuple

import orjson

from schemas.decoding.addresses import address_key
from schemas.decoding.ids import fact_id, uuid7
from schemas.decoding.sends import Decision, Dispatch, Request, decode_decision, decode_dispatch, decode_request
from schemas.decoding.times import rfc3339
from schemas.events import Event, SourcePosition

__all__ = ["ACCOUNT", "RARE_STATUSES", "SENT_MS", "Template", "templates"]

ACCOUNT: Final = "template"
SENT_MS: Final = 1_600_000_000_000
"""Date Sent of every template: earlier than any copy's, so that a copy only adds to times."""
RARE_STATUSES: Final = ("Quota_Exceeded", "Dropped", "Subscriptionchange", "Not_opted_in")

_SENT_US: Final = SENT_MS * 1000
_CC_SHARE: Final = 0.03 / 0.8 / 0.955
"""Of emails that a provider has; SMS have no CC, and a few emails are refused. 3 % of all messages."""
_REFUSED_BELOW: Final = (
    ("quota_exceeded", 0.001),
    ("not_opted_in", 0.002),
    ("blocked", 0.004),
    ("declined", 0.010),
    ("suppressed", 0.020),
)
_SAYING_NOTHING: Final[dict[str, Any]] = {
    **dict.fromkeys(("provider_event_id", "code", "enhanced_code", "reason", "classification", "fault", "url"), ""),
    **dict.fromkeys(("user_agent", "ip", "attempt", "group", "extra"), ""),
    "machine": False,
}
_USER_AGENT: Final = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 Chrome/131.0 Safari/537.36"
_SUBJECTS: Final = (
    "Your appointment with {name} on {day}",
    "Reminder: see you on {day} at {hour}:00",
    "{name} has sent you a form to fill in",
    "Receipt for your visit of {day}",
    "Please confirm your appointment on {day}",
    "How was your visit with {name}?",
    "Your invitation to the client portal",
)
_NAMES: Final = ("Ann Field", "Bo Marsh", "Cleo Hart", "Dan Stone", "Eve Lake", "Finn Wood", "Gus Hill", "Ida Reed")
_DOMAINS: Final = ("gmail.com", "outlook.com", "yahoo.com", "icloud.com", "hotmail.com", "example.com", "proton.me")
_REFUSALS: Final = {
    "blocked": ("Blocked", "account_blocked"),
    "declined": ("Declined", "template_declined"),
    "not_opted_in": ("Not_opted_in", "invitation_not_opted_in"),
    "suppressed": ("Suppressed", "bounces"),
    "quota_exceeded": ("Quota_Exceeded", "trial_email_limit"),
}


class _Bounce(NamedTuple):
    type: str
    code: str
    enhanced_code: str
    classification: str
    fault: str
    reason: str

    def said(self) -> dict[str, str]:
        """Return its fields as an event's."""
        return {name: value for name, value in self._asdict().items() if name != "type"}


_BOUNCES: Final = (
    _Bounce("bounced", "550", "5.1.1", "Invalid Address", "recipient", "550 5.1.1 The email account does not exist"),
    _Bounce("bounced", "552", "5.2.2", "Mailbox Unavailable", "mailbox", "552 5.2.2 The mailbox is full"),
    _Bounce("bounced", "554", "5.4.4", "Technical", "infrastructure", "554 5.4.4 Unable to route"),
    _Bounce("blocked", "550", "5.7.1", "Reputation", "sender", "550 5.7.1 Message rejected due to its content"),
)
_FAILURES: Final = (
    _Bounce("failed", "30005", "", "undelivered", "recipient", "Unknown destination handset"),
    _Bounce("failed", "30003", "", "undelivered", "mailbox", "Unreachable destination handset"),
    _Bounce("failed", "30007", "", "failed", "sender", "Message filtered"),
)


@dataclass(slots=True)
class Template:
    """One message, and what must be seen of it."""

    number: int
    request: Request
    decision: Decision
    dispatch: Dispatch | None = None
    events: list[Event] = field(default_factory=list)
    """Of its provider, in the order in which they came."""
    status: str = "Pending"
    has_cc_event: bool = False


def templates(count: int, *, seed: int = 1) -> list[Template]:
    """Return `count` messages; one seed gives the same ones."""
    chance = Random(seed)
    return [_template(number, chance) for number in range(count)]


def _template(number: int, chance: Random) -> Template:
    channel = "sms" if chance.random() < 0.2 else "email"
    drawn = chance.random()
    outcome = next((name for name, below in _REFUSED_BELOW if drawn < below), "approved")
    with_cc = channel == "email" and outcome == "approved" and chance.random() < _CC_SHARE
    record = _request_record(number, channel, chance, with_cc=with_cc)
    made = Template(number, _request(record, number), _decision(record, number, outcome))
    if outcome != "approved":
        made.status = _REFUSALS[outcome][0]
    elif chance.random() >= 0.004:
        provider = "twilio" if channel == "sms" else "postmark" if chance.random() < 0.25 else "sendgrid"
        scenario = _Scenario(made, provider, chance)
        scenario.sms() if channel == "sms" else scenario.email()
        if with_cc:
            scenario.cc()
    return made


def _request_record(number: int, channel: str, chance: Random, *, with_cc: bool) -> dict[str, Any]:
    recipient = number * 8 // 10  # some get several messages
    template = number % 40
    to = f"+1555{recipient:07}" if channel == "sms" else f"Client{recipient}@{_DOMAINS[recipient % len(_DOMAINS)]}"
    record: dict[str, Any] = {
        "message_id": uuid7(_SENT_US, number.to_bytes(10, "big")),
        "account_id": ACCOUNT,
        "channel": channel,
        "template": {
            "id": f"t{template}",
            "name": f"Template {template}",
            "kind": "marketing" if template % 10 == 9 else "transactional",
        },
        "recipient": {
            "kind": "staff" if recipient % 10 == 3 else "client",
            "id": f"r{recipient}",
            "name": chance.choice(_NAMES),
        },
        "to": to,
        "requested_at": rfc3339(_SENT_US),
    }
    if channel == "email":
        subject = chance.choice(_SUBJECTS)
        day, hour = f"{chance.randrange(1, 29)} June", chance.randrange(8, 19)
        record |= {"subject": subject.format(name=chance.choice(_NAMES), day=day, hour=hour)}
    if with_cc:
        record["cc"] = [_cc_of(recipient)]
    if number % 10 < 7:
        record["appointment_id"] = f"a{number:08}"
    return record


def _cc_of(recipient: int) -> str:
    return f"partner{recipient}@example.org"


def _place(topic: str, number: int, at_us: int) -> SourcePosition:
    return SourcePosition(topic, number % 4, number, at_us)


def _request(record: dict[str, Any], number: int) -> Request:
    place = _place("sends.requested", number, _SENT_US + 10_000)
    return decode_request(orjson.dumps(record), place, decision_days=30)


def _decision(record: dict[str, Any], number: int, outcome: str) -> Decision:
    decided = {
        "message_id": record["message_id"],
        "account_id": ACCOUNT,
        "outcome": outcome,
        "reason": "ok" if outcome == "approved" else _REFUSALS[outcome][1],
        "detail": "" if outcome == "approved" else "The account or the recipient does not want it",
        "evidence": [],
        "decided_at": rfc3339(_SENT_US + 80_000),
        "channel": record["channel"],
        "to": record["to"],
        "request": record,
    }
    return decode_decision(orjson.dumps(decided), _place("sends.decided", number, _SENT_US + 90_000))


def _provider_message_id(provider: str, number: int) -> str:
    """An id in its provider's form, of which the last 12 characters are a copy's own."""
    if provider == "twilio":
        return f"SM{number:020x}{0:012x}"
    return f"{number:08x}-5ca1-4ab1-8e00-{0:012x}" if provider == "postmark" else f"q{number:09x}{0:012x}"


class _Scenario:
    """What a provider tells of one message."""

    def __init__(self, made: Template, provider: str, chance: Random) -> None:
        self._made, self._provider, self._chance = made, provider, chance
        self._provider_message_id = _provider_message_id(provider, made.number)
        self._at_us = _SENT_US + 300_000
        dispatched = {
            "message_id": made.request.message_id,
            "account_id": ACCOUNT,
            "provider": provider,
            "provider_message_id": self._provider_message_id,
            "dispatched_at": rfc3339(self._at_us),
        }
        place = _place("sends.dispatched", made.number, self._at_us + 10_000)
        made.dispatch = decode_dispatch(orjson.dumps(dispatched), place)

    def email(self) -> None:
        """Processed; then bounced, dropped, deferred or delivered, and what the recipient does."""
        drawn = self._chance.random()
        if drawn < 0.001:
            self._made.status = "Dropped"
            self._tell("dropped", 2, reason="Bounced Address")
            return
        self._made.status = "Processed"
        self._tell("processed", 1)
        if drawn < 0.010:
            self._tell("deferred", 60, code="451", reason="451 4.7.1 Try again later", attempt="1")
        elif drawn < 0.045:
            self._bounce(self._chance.choice(_BOUNCES))
        else:
            if drawn < 0.065:
                self._tell("deferred", 60, code="451", reason="451 4.7.1 Try again later", attempt="1")
            self._made.status = "Delivered"
            self._tell("delivered", 3, code="250", reason="250 2.0.0 OK")
            self._read()

    def sms(self) -> None:
        """Sent; then delivered or failed."""
        drawn = self._chance.random()
        self._made.status = "Processed"
        self._tell("sent", 1)
        if drawn < 0.03:
            self._bounce(self._chance.choice(_FAILURES))
        elif drawn < 0.98:
            self._made.status = "Delivered"
            self._tell("delivered", 4)

    def cc(self) -> None:
        """The CC has events of its own, which say nothing of the message's status; some of them bounce."""
        address = address_key(self._made.request.cc[0], "email")
        self._made.has_cc_event = True
        self._tell("processed", 1, address)
        if self._chance.random() < 0.1:
            self._tell("bounced", 2, address, **_BOUNCES[0].said())
        else:
            self._tell("delivered", 2, address, code="250", reason="250 2.0.0 OK")

    def _bounce(self, bounce: _Bounce) -> None:
        self._made.status = "Bounced"
        self._tell(bounce.type, 3, **bounce.said())

    def _read(self) -> None:
        chance = self._chance
        browser = {"user_agent": _USER_AGENT, "ip": f"198.51.100.{chance.randrange(250)}"}
        if chance.random() < 0.2:
            self._tell("opened", 5, machine=True, **browser)
        if chance.random() < 0.45:
            self._made.status = "Opened"
            for _ in range(1 if chance.random() < 0.7 else 2):
                self._tell("opened", chance.randrange(20, 3_000), **browser)
        if chance.random() < 0.12:
            self._made.status = "Clicked"
            url = f"https://booking.example.com/confirm/{self._made.number}"
            self._tell("clicked", chance.randrange(5, 600), url=url, **browser)
        if chance.random() < 0.001:
            self._tell("complained", 60)
        if chance.random() < 0.001:
            self._made.status = "Subscriptionchange"
            self._tell("subscription_changed", 60, classification="removed")

    def _tell(self, kind: str, later_seconds: float, address: str | None = None, **said: Any) -> None:
        """Add an event that comes so much later than the one before."""
        self._at_us += int(later_seconds * 1_000_000) + self._chance.randrange(1, 1_000_000)
        made = self._made
        place = len(made.events)
        made.events.append(
            Event(
                **_SAYING_NOTHING
                | {
                    "event_id": fact_id([kind, made.number, place]),
                    "provider": self._provider,
                    "type": kind,
                    "account_id": ACCOUNT,
                    "message_id": made.request.message_id,
                    "provider_message_id": self._provider_message_id,
                    "address": made.request.to_key if address is None else address,
                    "occurred_us": self._at_us,
                    "received_us": self._at_us + 800_000,
                    "topic": f"webhooks.{self._provider}",
                    "partition": made.number % 4,
                    "offset": made.number * 16 + place,
                    "position": 0,
                }
                | said
            )
        )
