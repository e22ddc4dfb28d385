"""What can become of a mail at SendGrid, as scripts: one function for each course of events.

In:  a `Script` with a source of randomness.
Out: the same script, with its decision and its beats: what SendGrid tells, and how long after the request.
Promise: every event type and every display status that SendGrid can reach has a script in `COURSES`.

The texts are life-like; the field names are those of SendGrid's Event Webhook reference (read 2026-11-24).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final, NamedTuple

__all__ = ["COURSES", "DAY", "DROP_REASONS", "HOUR", "MINUTE", "MS", "SECOND", "Beat", "Course", "Script", "randomness"]

MS: Final = 1_000
SECOND: Final = 1_000 * MS
MINUTE: Final = 60 * SECOND
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR


class Beat(NamedTuple):
    """One thing that SendGrid tells about a message."""

    after_us: int
    word: str
    """SendGrid's `event`."""
    type: str
    """What sendledger calls it."""
    said: dict[str, Any]
    """Fields besides those that every element has."""
    cc: int = 0
    """0: it is about the To; n: about the n-th CC."""
    lacks: tuple[str, ...] = ()
    """Fields that every element has, but not this one."""


@dataclass(slots=True)
class Script:
    """One message's course. `at_us` is the time reached so far, counted from the request."""

    rng: Random
    requests: tuple[str, ...] = ("same",)
    """One entry for each record of `sends.requested`: `same` content, or `other` content."""
    decided: bool = True
    outcome: str = "approved"
    reason: str = "ok"
    detail: str = ""
    evidence: str = ""
    """What the evidence is: `policy`, `events`, `command` or blank."""
    kinds: tuple[str, ...] = ()
    """The template kinds that fit; empty: any."""
    to: str = ""
    """`gone`: a mailbox that is no more; `invalid`: no address; blank: a client or staff."""
    ccs: int = 0
    beats: list[Beat] = field(default_factory=list)
    at_us: int = 0

    def tell(self, word: str, type_: str, said: dict[str, Any] | None = None, *, cc: int = 0, lacks: str = "") -> None:
        """Add a beat now."""
        self.beats.append(Beat(self.at_us, word, type_, said or {}, cc, tuple(lacks.split())))

    def wait(self, least_us: int, most_us: int) -> None:
        """Let time pass, short waits being more likely than long ones."""
        self.at_us += least_us + int((most_us - least_us) * self.rng.random() ** 2)

    def processed(self) -> None:
        """SendGrid took the mail."""
        self.wait(2 * SECOND, 6 * SECOND)
        self.tell("processed", "processed")

    def deferred(self, times: int) -> None:
        """The receiving server asked for patience, `times` times."""
        for attempt in range(1, times + 1):
            self.wait(attempt * MINUTE, attempt * 10 * MINUTE)
            response = self.rng.choice(_DEFERRALS)
            self.tell("deferred", "deferred", {"response": response, "attempt": str(attempt), "tls": 0})

    def delivered(self) -> None:
        """The receiving server took the mail."""
        self.wait(1 * SECOND, 8 * SECOND)
        self.tell("delivered", "delivered", {"response": self.rng.choice(_ACCEPTANCES), "tls": 1})

    def sent(self) -> None:
        """Processed and delivered, sometimes after a deferral."""
        self.processed()
        if self.rng.random() < 0.04:
            self.deferred(1 + (self.rng.random() < 0.3))
        self.delivered()

    def opened(self, *, machine: bool = False) -> None:
        """Somebody, or a privacy proxy, loaded the pixel."""
        agent = "Mozilla/5.0" if machine else self.rng.choice(_AGENTS)
        said = {"useragent": agent, "ip": _ip(self.rng), "sg_machine_open": machine, "sg_content_type": "html"}
        if machine:
            self.wait(2 * SECOND, 2 * MINUTE)
        else:
            self.wait(20 * SECOND, 4 * HOUR)
        self.tell("open", "opened", said)

    def clicked(self) -> None:
        """Somebody followed a link."""
        self.wait(3 * SECOND, 4 * MINUTE)
        place = self.rng.randrange(4)
        self.tell(
            "click",
            "clicked",
            {
                "url": f"https://booking.example.com/{_LINKS[place]}",
                "url_offset": {"index": place, "type": "html"},
                "useragent": self.rng.choice(_AGENTS),
                "ip": _ip(self.rng),
            },
        )

    def bounced(self, classification: str, status: str, reason: str, *, cc: int = 0, lacks: str = "") -> None:
        """The receiving server refused the address, or the mail came back."""
        self.wait(1 * SECOND, 20 * SECOND)
        said = {"type": "bounce", "status": status, "reason": reason, "tls": 1}
        if classification:
            said["bounce_classification"] = classification
        self.tell("bounce", "bounced", said, cc=cc, lacks=lacks)

    def blocked(self, type_: str, classification: str, status: str, reason: str) -> None:
        """The receiving server refused this one mail (`blocked`), or SendGrid gave up (`expired`)."""
        said = {"type": type_, "status": status, "reason": reason, "bounce_classification": classification, "tls": 1}
        self.wait(1 * SECOND, 20 * SECOND)
        self.tell("bounce", "blocked", said)


class Course(NamedTuple):
    """A way that a message can go, and how often it does."""

    name: str
    weight: float
    play: Callable[[Script], None]


_ACCEPTANCES: Final = (
    "250 2.0.0 OK  1731935400 d2e1a72fcca58-7246a9d5b1fsi12345678b3a.12 - gsmtp",
    "250 2.6.0 <mail@geopod.example.net> [InternalId=24889] Queued mail for delivery",
    "250 ok dirdel",
    "250 Message accepted for delivery",
)
_DEFERRALS: Final = (
    "451 4.7.1 Greylisting in action, please come back later",
    "421 4.7.0 [TSS04] Messages temporarily deferred due to user complaints",
    "450 4.2.1 The user you are trying to contact is receiving mail at a rate that prevents delivery",
    "452 4.2.2 The email account that you tried to reach is over quota",
    "unable to get mx info: failed to get IPs from PTR record: lookup <nil>: unrecognized address",
)
_AGENTS: Final = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:131.0) Gecko/20100101 Thunderbird/128.4.0",
)
_LINKS: Final = ("appointment?utm_source=mail", "reschedule", "cancel?sure=1", "directions#map")
DROP_REASONS: Final = (
    "Bounced Address",
    "Unsubscribed Address",
    "Spam Reporting Address",
    "Invalid",
    "Invalid SMTPAPI header",
    "Spam Content (if Spam Checker app is enabled)",
    "Recipient List over Package Quota",
    "Duplicate Message",
    "Mail From Domain Not Verified",  # new to us: shown as "other"
)
_BOUNCES: Final = {
    "hard": ("Invalid Address", "5.1.1", "550 5.1.1 The email account that you tried to reach does not exist."),
    "hard_disabled": ("", "5.2.1", "550 5.2.1 The email account that you tried to reach is disabled."),
    "mailbox": ("Mailbox Unavailable", "5.2.2", "552 5.2.2 The recipient's inbox is out of storage space."),
    "content": ("Content", "5.7.1", "550 5.7.1 Message contains content that is not allowed"),
    "reputation": ("Reputation", "5.7.1", "554 5.7.1 Service unavailable; Client host blocked using a block list"),
    "volume": ("Frequency or Volume Too High", "5.7.1", "550 5.7.1 Too many messages from your network"),
    "technical": ("Technical", "5.4.4", "unable to get mx info: no MX record: NXDOMAIN"),
    "unclassified": ("Unclassified", "", "500 unknown recipient state"),
}


def randomness(seed: str) -> Random:
    """Return a source of randomness that gives the same for the same seed."""
    return Random(seed)  # noqa: S311  (nothing secret is made of it)


def _ip(rng: Random) -> str:
    """An address of the nets that are kept for documentation."""
    return f"{rng.choice(('192.0.2', '198.51.100', '203.0.113'))}.{rng.randrange(1, 255)}"


# What becomes of most mails


def _delivered(s: Script) -> None:
    s.sent()


def _opened(s: Script) -> None:
    s.sent()
    for _ in range(1 + s.rng.randrange(3) // 2):
        s.opened()


def _opened_by_machine(s: Script) -> None:
    s.sent()
    s.opened(machine=True)


def _opened_by_machine_then_human(s: Script) -> None:
    s.sent()
    s.opened(machine=True)
    s.opened()


def _opened_often(s: Script) -> None:
    s.sent()
    for _ in range(8 + s.rng.randrange(30)):
        s.wait(30 * SECOND, 20 * MINUTE)
        s.tell("open", "opened", {"useragent": _AGENTS[2], "ip": _ip(s.rng), "sg_machine_open": False})


def _clicked(s: Script) -> None:
    s.sent()
    if s.rng.random() < 0.3:
        s.opened(machine=True)
    s.opened()
    for _ in range(1 + s.rng.randrange(4) // 3):
        s.clicked()


def _opened_without_delivery(s: Script) -> None:
    s.processed()
    s.opened()


# What is on its way


def _undecided(s: Script) -> None:
    s.decided = False


def _pending(_: Script) -> None:
    pass


def _processed(s: Script) -> None:
    s.processed()


def _deferred(s: Script) -> None:
    s.processed()
    s.deferred(1 + s.rng.randrange(4))


def _deferred_then_delivered(s: Script) -> None:
    s.processed()
    s.deferred(1 + s.rng.randrange(3))
    s.delivered()


# What fails


def _bounce(name: str) -> Callable[[Script], None]:
    def play(s: Script) -> None:
        s.to = "gone" if name.startswith("hard") else ""
        s.processed()
        s.bounced(*_BOUNCES[name])

    return play


def _blocked(s: Script) -> None:
    s.processed()
    s.blocked("blocked", "Reputation", "5.7.606", "550 5.7.606 Access denied, banned sending IP")


def _expired(s: Script) -> None:
    s.processed()
    s.deferred(5)
    s.at_us = 3 * DAY  # SendGrid tries for 72 hours
    s.blocked("expired", "Technical", "", "Message Expired")


def _bounced_late(s: Script) -> None:
    s.to = "gone"
    s.sent()
    s.wait(MINUTE, 5 * HOUR)
    s.bounced(*_BOUNCES["hard"])


def _delivered_after_bounce(s: Script) -> None:
    # One of the receiver's servers refused, another took it.
    s.processed()
    s.bounced(*_BOUNCES["mailbox"])
    s.delivered()


def _bounced_later_without_message_id(s: Script) -> None:
    s.sent()
    s.wait(MINUTE, 5 * HOUR)
    s.bounced("Mailbox Unavailable", "5.2.2", "552 5.2.2 mailbox full", lacks="sg_message_id")


def _bounced_later_without_any_id(s: Script) -> None:
    s.to = "gone"
    s.sent()
    s.wait(MINUTE, 5 * HOUR)
    s.bounced(*_BOUNCES["hard"], lacks="sg_message_id smtp-id")


def _dropped(reason: str) -> Callable[[Script], None]:
    def play(s: Script) -> None:
        s.wait(2 * SECOND, 6 * SECOND)
        s.tell("dropped", "dropped", {"reason": reason, "status": "5.0.0"})

    return play


# What people do


def _complained(s: Script) -> None:
    s.kinds = ("marketing", "invitation")
    s.sent()
    s.opened()
    s.wait(SECOND, HOUR)
    s.tell("spamreport", "complained")


def _unsubscribed(s: Script) -> None:
    s.kinds = ("marketing", "invitation")
    s.sent()
    s.opened()
    s.wait(SECOND, HOUR)
    s.tell("unsubscribe", "unsubscribed")


def _group_unsubscribed(s: Script) -> None:
    _left_group(s)


def _group_resubscribed(s: Script) -> None:
    said = _left_group(s)
    s.wait(5 * SECOND, HOUR)
    s.tell("group_resubscribe", "resubscribed", said)


def _left_group(s: Script) -> dict[str, Any]:
    s.kinds = ("marketing", "invitation")
    s.sent()
    s.opened()
    s.wait(SECOND, HOUR)
    said = {
        "asm_group_id": s.rng.choice((14250, 14251)),
        "url": "https://booking.example.com/asm/?user_id=1",
        "useragent": s.rng.choice(_AGENTS),
        "ip": _ip(s.rng),
    }
    s.tell("group_unsubscribe", "unsubscribed", said)
    return said


# What is odd


def _unknown_event(s: Script) -> None:
    s.sent()
    s.wait(SECOND, MINUTE)
    s.tell(s.rng.choice(("amp_open", "reputation_hint")), "unknown", {"note": "not in our tables yet"})


def _odd_spelling(s: Script) -> None:
    # As in examples of the vendor: a capital, a time in digits of a text, a list where a text is usual.
    s.processed()
    s.wait(SECOND, 4 * SECOND)
    s.tell("Delivered", "delivered", {"response": "250 OK", "timestamp_as_text": True, "category": "reminder"})


def _copied(s: Script) -> None:
    s.ccs = 1 + s.rng.randrange(2)
    s.sent()
    for cc in range(1, s.ccs + 1):
        s.tell("processed", "processed", cc=cc)
        s.wait(SECOND, 5 * SECOND)
        s.tell("delivered", "delivered", {"response": "250 OK", "tls": 1}, cc=cc)
    s.opened()


def _copy_bounced(s: Script) -> None:
    s.ccs = 1
    s.sent()
    s.tell("processed", "processed", cc=1)
    s.bounced(*_BOUNCES["hard"], cc=1)


def _account_alert(s: Script) -> None:
    s.sent()
    s.wait(SECOND, HOUR)
    word = s.rng.choice(("compliance_suspend", "compliance_deactivate", "sg_under_review"))
    s.tell("account_status_change", "provider_alert", {"type": word}, lacks="email sg_message_id smtp-id ours")


def _bounced_without_our_ids(s: Script) -> None:
    # Nothing names the message: an orphan, whose bounce counts for its address all the same.
    s.to = "gone"
    s.processed()
    s.bounced(*_BOUNCES["hard"], lacks="ours")


def _never_requested(s: Script) -> None:
    s.requests, s.decided = (), False
    s.sent()
    s.opened()


def _requested_twice(s: Script) -> None:
    s.requests = ("same", "same")
    s.sent()


def _requested_differently(s: Script) -> None:
    s.requests = ("same", "other")
    s.sent()


def _sent_though_refused(s: Script) -> None:
    s.outcome, s.reason, s.evidence = "suppressed", "bounces", "events"
    s.detail = "3 messages to this address bounced within 30 days"
    s.sent()


def _approved_without_policy(s: Script) -> None:
    s.reason = "no_policy"
    s.detail = "the account is unknown; DEFAULT_POLICY=allow"
    s.sent()


# What is refused


def _refused(outcome: str, reason: str, detail: str, evidence: str, *kinds: str) -> Course:
    def play(s: Script) -> None:
        s.outcome, s.reason, s.detail, s.evidence, s.kinds = outcome, reason, detail, evidence, kinds
        s.to = "invalid" if reason == "address_invalid" else ""

    return Course(f"refused: {reason}", 0.35, play)


COURSES: Final = (
    Course("delivered", 27, _delivered),
    Course("opened", 20, _opened),
    Course("clicked", 12, _clicked),
    Course("opened by a machine", 8, _opened_by_machine),
    Course("opened by a machine, then by a human", 4, _opened_by_machine_then_human),
    Course("opened often", 0.3, _opened_often),
    Course("opened, the delivery untold", 0.4, _opened_without_delivery),
    Course("undecided", 0.3, _undecided),
    Course("pending", 0.6, _pending),
    Course("processed", 0.8, _processed),
    Course("deferred", 0.8, _deferred),
    Course("deferred, then delivered", 3, _deferred_then_delivered),
    *(Course(f"bounced: {name}", 1.6 if name == "hard" else 0.4, _bounce(name)) for name in _BOUNCES),
    Course("blocked", 0.6, _blocked),
    Course("expired", 0.3, _expired),
    Course("bounced after delivery", 0.3, _bounced_late),
    Course("delivered after a bounce", 0.1, _delivered_after_bounce),
    Course("bounced later, without message id", 0.2, _bounced_later_without_message_id),
    Course("bounced later, without any id", 0.2, _bounced_later_without_any_id),
    *(Course(f"dropped: {reason}", 0.12, _dropped(reason)) for reason in DROP_REASONS),
    Course("complained", 0.2, _complained),
    Course("unsubscribed", 0.3, _unsubscribed),
    Course("left a group", 0.3, _group_unsubscribed),
    Course("left a group and came back", 0.1, _group_resubscribed),
    Course("unknown event", 0.1, _unknown_event),
    Course("odd spelling", 0.3, _odd_spelling),
    Course("copied", 1.5, _copied),
    Course("copy bounced", 0.2, _copy_bounced),
    Course("account alert", 0.02, _account_alert),
    Course("bounced, our ids missing", 0.1, _bounced_without_our_ids),
    Course("never requested", 0.1, _never_requested),
    Course("requested twice", 0.6, _requested_twice),
    Course("requested differently", 0.1, _requested_differently),
    Course("sent though refused", 0.05, _sent_though_refused),
    Course("approved without policy", 1, _approved_without_policy),
    _refused("blocked", "account_blocked", "the account is blocked: unpaid invoices", "policy"),
    _refused("blocked", "address_invalid", "the address is no email address", ""),
    _refused("blocked", "no_policy", "the account is unknown; DEFAULT_POLICY=refuse", ""),
    _refused("declined", "template_disabled", "the account has switched this template off", "policy"),
    _refused("declined", "template_declined", "the recipient does not want this template", "command"),
    _refused("declined", "unsubscribed", "the recipient has unsubscribed", "events", "marketing", "invitation"),
    _refused("declined", "group_unsubscribed", "the recipient has left the group", "events", "marketing"),
    _refused("not_opted_in", "invitation_not_opted_in", "the client has not opted in", "policy", "invitation"),
    _refused("suppressed", "bounces", "3 messages to this address bounced within 30 days", "events"),
    _refused("suppressed", "complaint", "the recipient reported a message as spam", "events"),
    _refused("suppressed", "manual", "suppressed by support: asked on the phone", "command"),
    _refused("suppressed", "provider", "the provider refuses this address", "events"),
    _refused("quota_exceeded", "trial_email_limit", "the trial's 100 emails are used up", "policy"),
    _refused("quota_exceeded", "trial_ended", "the trial is over and no billing was entered", "policy"),
)
