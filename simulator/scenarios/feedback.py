"""Complaints, unsubscribes and resubscribes, suppression list changes, incoming texts, and events of unknown type."""

from typing import Final

from simulator.durations import DAY, HOUR, MINUTE, SECOND
from simulator.scenarios.scenario import MAIL, POSTMARK, SENDGRID, TWILIO, Scenario, variants_of
from simulator.timeline import Timeline

__all__ = ["SCENARIOS"]

_BULK: Final = ("marketing", "invitation")


def _opened(t: Timeline) -> None:
    t.kinds = _BULK
    t.delivered_normally()
    t.opened()
    t.wait(SECOND, HOUR)


def _complained(t: Timeline) -> None:
    _opened(t)
    t.add("complained")


def _complained_by_bounce(t: Timeline) -> None:
    t.delivered_normally()
    t.wait(HOUR, 5 * HOUR)
    t.add("complained", "bounce")


def _complained_weeks_later(t: Timeline) -> None:
    t.delivered_normally()
    t.wait(14 * DAY, 20 * DAY)
    t.add("complained")


def _copy_complained(t: Timeline) -> None:
    t.ccs = 1
    t.delivered_normally()
    t.add("delivered", cc=1)
    t.wait(HOUR, 5 * HOUR)
    t.add("complained", cc=1)


def _unsubscribed(t: Timeline) -> None:
    _opened(t)
    t.add("unsubscribed")


def _unsubscribed_from_all_mail(t: Timeline) -> None:
    _opened(t)
    t.add("unsubscribed", "with a group id")


def _unsubscribed_from_group(t: Timeline) -> None:
    _opened(t)
    t.add("unsubscribed", "group")


def _resubscribed(t: Timeline) -> None:
    _opened(t)
    t.add("unsubscribed", "group")
    t.wait(5 * SECOND, HOUR)
    t.add("resubscribed")


def _subscribed(t: Timeline) -> None:
    _opened(t)
    t.add("resubscribed")


def _unsubscribed_from_stream(t: Timeline) -> None:
    # The recipient unsubscribed from the stream: a change of its suppression list that names the message.
    _opened(t)
    t.add("listed")


def _listed_for_complaint(t: Timeline) -> None:
    t.delivered_normally()
    t.wait(HOUR, 5 * HOUR)
    t.add("complained")
    t.wait(SECOND, 3 * SECOND)
    t.add("listed", "complaint")


def _listed_then_unlisted(t: Timeline) -> None:
    _opened(t)
    t.add("listed")
    t.wait(MINUTE, HOUR)
    t.add("unlisted")


def _unlisted_told_late(t: Timeline) -> None:
    # Removed from the list, then added; the first change is delivered again at the end. The later ChangedAt counts.
    _opened(t)
    t.add("unlisted")
    t.wait(MINUTE, HOUR)
    t.add("listed")
    t.wait(MINUTE, HOUR)
    t.redeliver(back=2)


def _suppressed_by_hand(variant: str) -> Scenario:
    def build(t: Timeline) -> None:
        t.delivered_normally()
        t.wait(MINUTE, 5 * HOUR)
        t.add("listed", variant, omits="provider_id our_ids")

    return Scenario(f"suppressed {variant}", 0.15, build, POSTMARK)


def _reactivated(t: Timeline) -> None:
    t.delivered_normally()
    t.wait(MINUTE, 5 * HOUR)
    t.add("listed", "by hand", omits="provider_id our_ids")
    t.wait(HOUR, 5 * HOUR)
    t.add("unlisted", omits="provider_id our_ids")


def _text_received(t: Timeline, variant: str) -> None:
    t.delivered_normally()
    t.wait(20 * SECOND, HOUR)
    t.add("text_received", variant)


def _text_received_twice(t: Timeline) -> None:
    t.delivered_normally()
    t.wait(20 * SECOND, HOUR)
    t.add("text_received", "stop")
    t.wait(MINUTE, HOUR)
    t.redeliver()
    t.add("text_received", "start")


def _unknown(t: Timeline, variant: str) -> None:
    t.delivered_normally()
    t.wait(SECOND, MINUTE)
    t.add("unknown", "" if variant == "plain" else variant)


def _account_alert(t: Timeline, variant: str) -> None:
    t.delivered_normally()
    t.wait(SECOND, HOUR)
    t.add("alert", variant, omits="address all_provider_ids our_ids")


SCENARIOS: Final = (
    Scenario("complained", 0.2, _complained, MAIL),
    Scenario("complained, reported as a bounce", 0.1, _complained_by_bounce, POSTMARK),
    Scenario("complained weeks later", 0.1, _complained_weeks_later, MAIL),
    Scenario("the copy complained", 0.1, _copy_complained, MAIL),
    Scenario("unsubscribed", 0.3, _unsubscribed, MAIL),
    Scenario("unsubscribed from all mail, in a mail of a group", 0.1, _unsubscribed_from_all_mail, SENDGRID),
    Scenario("unsubscribed from a group", 0.3, _unsubscribed_from_group, SENDGRID),
    Scenario("unsubscribed from a group and resubscribed", 0.1, _resubscribed, SENDGRID),
    Scenario("subscribed", 0.1, _subscribed, POSTMARK),
    Scenario("unsubscribed from the stream", 0.3, _unsubscribed_from_stream, POSTMARK),
    Scenario("complained and added to the list", 0.1, _listed_for_complaint, POSTMARK),
    Scenario("unsubscribed from the stream and resubscribed", 0.1, _listed_then_unlisted, POSTMARK),
    Scenario("unsubscribed from the stream, an older change delivered late", 0.1, _unlisted_told_late, POSTMARK),
    _suppressed_by_hand("by hand"),
    _suppressed_by_hand("by Postmark"),
    Scenario("suppressed by hand and reactivated", 0.15, _reactivated, POSTMARK),
    *variants_of(
        "text received",
        (
            "stop",
            "stop, in mixed case",
            "stop by rcs",
            "stop by sms",
            "cancel",
            "classified as stop",
            "start",
            "yes",
            "classified as start",
            "help",
        )
        + ("classified as help", "free text"),
        0.15,
        _text_received,
        TWILIO,
    ),
    Scenario("text received twice", 0.1, _text_received_twice, TWILIO),
    *variants_of("unknown", ("plain", "amp"), 0.1, _unknown, SENDGRID),
    *variants_of("unknown", ("plain", "huh"), 0.1, _unknown, TWILIO),
    *variants_of(
        "unknown",
        ("plain", "AutoResponder", "AddressChange", "OpenRelayTest", "ChallengeVerification", "InboundError")
        + ("NotAnnouncedYet",),
        0.1,
        _unknown,
        POSTMARK,
    ),
    *variants_of(
        "account alert",
        ("compliance_suspend", "compliance_deactivate", "sg_under_review"),
        0.01,
        _account_alert,
        SENDGRID,
    ),
)
