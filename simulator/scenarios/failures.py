"""Failures: rejected by the receiving side, expired, or never tried."""

from typing import Final

from simulator.durations import DAY, HOUR, MINUTE, SECOND
from simulator.providers.sendgrid import DROP_REASONS
from simulator.providers.twilio import ERRORS
from simulator.scenarios.scenario import MAIL, POSTMARK, SENDGRID, TWILIO, Scenario, variants_of
from simulator.timeline import Timeline

__all__ = ["SCENARIOS"]

_MAIL_BOUNCES: Final = (
    "hard", "three digits", "disabled", "mailbox", "technical", "sender", "content", "reputation", "volume",
    "unclassified", "unexplained", "blocked",
)  # fmt: skip


def _bounced(t: Timeline, variant: str) -> None:
    t.processed()
    t.bounced(variant)


def _expired(t: Timeline) -> None:
    t.processed()
    t.deferred(5)
    t.at_us = 3 * DAY  # SendGrid tries for 72 hours
    t.bounced("expired")


def _bounced_after_delivery(t: Timeline) -> None:
    t.delivered_normally()
    t.wait(MINUTE, 5 * HOUR)
    t.bounced("hard")


def _delivered_after_bounce(t: Timeline) -> None:
    # One of the receiving servers rejected it, another accepted it.
    t.processed()
    t.bounced("mailbox")
    t.wait(SECOND, MINUTE)
    t.delivered()


def _segment_failed(t: Timeline) -> None:
    # A long text is sent in segments, each with its own receipt.
    t.processed()
    t.sent()
    t.bounced("30008")
    t.wait(MINUTE, 2 * MINUTE)
    t.delivered()


def _opened_after_bounce(t: Timeline) -> None:
    # The bounce came from a mail filter. It still counts.
    t.processed()
    t.bounced("mailbox")
    t.opened()
    t.clicked()


def _code_then_no_code(t: Timeline) -> None:
    t.processed()
    t.sent()
    t.bounced("30003")
    t.wait(MINUTE, HOUR)
    t.add("bounced", "without code")


def _deferred_by_dns(t: Timeline) -> None:
    t.deferred(1, "dns")


def _async_bounce(omits: str) -> Scenario:
    def build(t: Timeline) -> None:
        t.delivered_normally()
        t.wait(MINUTE, 5 * HOUR)
        t.bounced("hard", omits=omits)

    return Scenario(f"bounced later, omitting {omits}", 0.2, build, SENDGRID)


def _dropped(t: Timeline, variant: str) -> None:
    t.wait(3 * SECOND, 7 * SECOND)
    t.add("dropped", variant)


def _dropped_without_address(t: Timeline) -> None:
    t.wait(3 * SECOND, 7 * SECOND)
    t.add("dropped", "invalid", omits="address")


def _canceled(t: Timeline) -> None:
    t.processed("scheduled")
    t.wait(MINUTE, HOUR)
    t.add("dropped", "canceled")


def _copy_bounced(t: Timeline) -> None:
    t.ccs = 1
    t.delivered_normally()
    t.add("processed", cc=1)
    t.bounced("hard", cc=1)


def _to_bounced_copy_delivered(t: Timeline) -> None:
    t.ccs = 1
    t.processed()
    t.add("delivered", cc=1)
    t.bounced("hard")


SCENARIOS: Final = (
    *(
        scenario
        for provider in MAIL
        for scenario in (
            *variants_of("bounced", _MAIL_BOUNCES[:1], 0.8, _bounced, (provider,)),
            *variants_of("bounced", _MAIL_BOUNCES[1:], 0.12, _bounced, (provider,)),
        )
    ),
    *variants_of(
        "bounced",
        ("blocked, classified as invalid address", "after a version number", "only a version number"),
        0.1,
        _bounced,
        SENDGRID,
    ),
    *variants_of("bounced", ("mailbox, with the code of hard", "virus"), 0.1, _bounced, POSTMARK),
    *variants_of("not delivered", ERRORS, 0.3, _bounced, TWILIO),
    Scenario("expired", 0.3, _expired, SENDGRID),
    Scenario("deferred by DNS", 0.1, _deferred_by_dns, POSTMARK),
    Scenario("bounced after delivery", 0.3, _bounced_after_delivery),
    Scenario("delivered after a bounce", 0.1, _delivered_after_bounce, MAIL),
    Scenario("a segment failed", 0.2, _segment_failed, TWILIO),
    Scenario("opened after a bounce", 0.1, _opened_after_bounce, MAIL),
    Scenario("a code, then no code", 0.2, _code_then_no_code, TWILIO),
    _async_bounce("provider_id"),
    _async_bounce("all_provider_ids"),
    _async_bounce("provider_id our_ids"),
    _async_bounce("all_provider_ids our_ids"),
    *variants_of("dropped", DROP_REASONS, 0.12, _dropped, SENDGRID),
    *variants_of("dropped", ("inactive", "api", "template"), 0.12, _dropped, POSTMARK),
    Scenario("dropped without an address", 0.1, _dropped_without_address, SENDGRID),
    Scenario("canceled", 0.3, _canceled, TWILIO),
    Scenario("copy bounced", 0.2, _copy_bounced, MAIL),
    Scenario("bounced, the copy delivered", 0.2, _to_bounced_copy_delivered, MAIL),
)
