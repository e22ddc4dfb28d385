"""What fails: refused by the other side, given up, or never tried."""

from typing import Final

from simulator.courses.course import MAIL, POSTMARK, SENDGRID, TWILIO, Course, each
from simulator.durations import DAY, HOUR, MINUTE, SECOND
from simulator.providers.sendgrid import DROP_REASONS
from simulator.providers.twilio import ERRORS
from simulator.script import Script

__all__ = ["COURSES"]

_MAIL_BOUNCES: Final = (
    "hard", "three digits", "disabled", "mailbox", "technical", "sender", "content", "reputation", "volume",
    "unclassified", "unexplained", "blocked",
)  # fmt: skip


def _bounced(s: Script, how: str) -> None:
    s.processed()
    s.fails(how)


def _expired(s: Script) -> None:
    s.processed()
    s.deferred(5)
    s.at_us = 3 * DAY  # SendGrid tries for 72 hours
    s.fails("expired")


def _bounced_after_delivery(s: Script) -> None:
    s.arrives()
    s.wait(MINUTE, 5 * HOUR)
    s.fails("hard")


def _delivered_after_bounce(s: Script) -> None:
    # One of the receiver's servers refused, another took it.
    s.processed()
    s.fails("mailbox")
    s.wait(SECOND, MINUTE)
    s.delivered()


def _part_failed(s: Script) -> None:
    # A long text goes in parts, and each has its receipt.
    s.processed()
    s.sent()
    s.fails("30008")
    s.wait(MINUTE, 2 * MINUTE)
    s.delivered()


def _opened_after_bounce(s: Script) -> None:
    # The bounce was somebody's mail filter. It stands.
    s.processed()
    s.fails("mailbox")
    s.opened()
    s.clicked()


def _code_then_none(s: Script) -> None:
    s.processed()
    s.sent()
    s.fails("30003")
    s.wait(MINUTE, HOUR)
    s.tell("bounced", "without code")


def _deferred_by_dns(s: Script) -> None:
    s.deferred(1, "dns")


def _async_bounce(lacks: str) -> Course:
    def play(s: Script) -> None:
        s.arrives()
        s.wait(MINUTE, 5 * HOUR)
        s.fails("hard", lacks=lacks)

    return Course(f"bounced later, lacking {lacks}", 0.2, play, SENDGRID)


def _dropped(s: Script, how: str) -> None:
    s.wait(3 * SECOND, 7 * SECOND)
    s.tell("dropped", how)


def _dropped_without_address(s: Script) -> None:
    s.wait(3 * SECOND, 7 * SECOND)
    s.tell("dropped", "invalid", lacks="address")


def _canceled(s: Script) -> None:
    s.processed("scheduled")
    s.wait(MINUTE, HOUR)
    s.tell("dropped", "canceled")


def _copy_bounced(s: Script) -> None:
    s.ccs = 1
    s.arrives()
    s.tell("processed", cc=1)
    s.fails("hard", cc=1)


def _to_bounced_copy_arrived(s: Script) -> None:
    s.ccs = 1
    s.processed()
    s.tell("delivered", cc=1)
    s.fails("hard")


COURSES: Final = (
    *(
        course
        for provider in MAIL
        for course in (
            *each("bounced", _MAIL_BOUNCES[:1], 0.8, _bounced, (provider,)),
            *each("bounced", _MAIL_BOUNCES[1:], 0.12, _bounced, (provider,)),
        )
    ),
    *each("bounced", ("blocked, it says the address", "behind a version", "a version"), 0.1, _bounced, SENDGRID),
    *each("bounced", ("mailbox, a code of hard", "virus"), 0.1, _bounced, POSTMARK),
    *each("not delivered", ERRORS, 0.3, _bounced, TWILIO),
    Course("expired", 0.3, _expired, SENDGRID),
    Course("deferred by a name server", 0.1, _deferred_by_dns, POSTMARK),
    Course("bounced after delivery", 0.3, _bounced_after_delivery),
    Course("delivered after a bounce", 0.1, _delivered_after_bounce, MAIL),
    Course("a part failed", 0.2, _part_failed, TWILIO),
    Course("opened after a bounce", 0.1, _opened_after_bounce, MAIL),
    Course("a code, then none", 0.2, _code_then_none, TWILIO),
    _async_bounce("id"),
    _async_bounce("ids"),
    _async_bounce("id ours"),
    _async_bounce("ids ours"),
    *each("dropped", DROP_REASONS, 0.12, _dropped, SENDGRID),
    *each("dropped", ("inactive", "api", "template"), 0.12, _dropped, POSTMARK),
    Course("dropped without an address", 0.1, _dropped_without_address, SENDGRID),
    Course("canceled", 0.3, _canceled, TWILIO),
    Course("copy bounced", 0.2, _copy_bounced, MAIL),
    Course("bounced, the copy arrived", 0.2, _to_bounced_copy_arrived, MAIL),
)
