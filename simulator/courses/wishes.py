"""What people want: to complain, to be left out, to be let in again. And what providers tell beside it."""

from typing import Final

from simulator.courses.course import MAIL, POSTMARK, SENDGRID, TWILIO, Course, each
from simulator.durations import DAY, HOUR, MINUTE, SECOND
from simulator.script import Script

__all__ = ["COURSES"]

_BULK: Final = ("marketing", "invitation")


def _looked_at(s: Script) -> None:
    s.kinds = _BULK
    s.arrives()
    s.opened()
    s.wait(SECOND, HOUR)


def _complained(s: Script) -> None:
    _looked_at(s)
    s.tell("complained")


def _complained_by_bounce(s: Script) -> None:
    s.arrives()
    s.wait(HOUR, 5 * HOUR)
    s.tell("complained", "bounce")


def _complained_weeks_later(s: Script) -> None:
    s.arrives()
    s.wait(14 * DAY, 20 * DAY)
    s.tell("complained")


def _copy_complained(s: Script) -> None:
    s.ccs = 1
    s.arrives()
    s.tell("delivered", cc=1)
    s.wait(HOUR, 5 * HOUR)
    s.tell("complained", cc=1)


def _unsubscribed(s: Script) -> None:
    _looked_at(s)
    s.tell("unsubscribed")


def _unsubscribed_below_a_group(s: Script) -> None:
    _looked_at(s)
    s.tell("unsubscribed", "carrying a group")


def _left_group(s: Script) -> None:
    _looked_at(s)
    s.tell("unsubscribed", "group")


def _came_back(s: Script) -> None:
    _looked_at(s)
    s.tell("unsubscribed", "group")
    s.wait(5 * SECOND, HOUR)
    s.tell("resubscribed")


def _subscribed(s: Script) -> None:
    _looked_at(s)
    s.tell("resubscribed")


def _listed(s: Script) -> None:
    # The recipient left the stream: a change of its suppression list, which names the message.
    _looked_at(s)
    s.tell("listed")


def _listed_for_complaint(s: Script) -> None:
    s.arrives()
    s.wait(HOUR, 5 * HOUR)
    s.tell("complained")
    s.wait(SECOND, 3 * SECOND)
    s.tell("listed", "complaint")


def _listed_then_unlisted(s: Script) -> None:
    _looked_at(s)
    s.tell("listed")
    s.wait(MINUTE, HOUR)
    s.tell("unlisted")


def _unlisted_told_late(s: Script) -> None:
    # It was let in before it was left out, and the first of the two is told once more, last: ChangedAt counts.
    _looked_at(s)
    s.tell("unlisted")
    s.wait(MINUTE, HOUR)
    s.tell("listed")
    s.wait(MINUTE, HOUR)
    s.tell_again(back=2)


def _suppressed_by_hand(how: str) -> Course:
    def play(s: Script) -> None:
        s.arrives()
        s.wait(MINUTE, 5 * HOUR)
        s.tell("listed", how, lacks="id ours")

    return Course(f"suppressed {how}", 0.15, play, POSTMARK)


def _reactivated(s: Script) -> None:
    s.arrives()
    s.wait(MINUTE, 5 * HOUR)
    s.tell("listed", "by hand", lacks="id ours")
    s.wait(HOUR, 5 * HOUR)
    s.tell("unlisted", lacks="id ours")


def _texted(s: Script, how: str) -> None:
    s.arrives()
    s.wait(20 * SECOND, HOUR)
    s.tell("texted", how)


def _texted_twice(s: Script) -> None:
    s.arrives()
    s.wait(20 * SECOND, HOUR)
    s.tell("texted", "stop")
    s.wait(MINUTE, HOUR)
    s.tell_again()
    s.tell("texted", "start")


def _unknown(s: Script, how: str) -> None:
    s.arrives()
    s.wait(SECOND, MINUTE)
    s.tell("unknown", "" if how == "plainly" else how)


def _account_alert(s: Script, how: str) -> None:
    s.arrives()
    s.wait(SECOND, HOUR)
    s.tell("alert", how, lacks="address ids ours")


COURSES: Final = (
    Course("complained", 0.2, _complained, MAIL),
    Course("complained, told as a bounce", 0.1, _complained_by_bounce, POSTMARK),
    Course("complained weeks later", 0.1, _complained_weeks_later, MAIL),
    Course("the copy complained", 0.1, _copy_complained, MAIL),
    Course("unsubscribed", 0.3, _unsubscribed, MAIL),
    Course("unsubscribed below a mail of a group", 0.1, _unsubscribed_below_a_group, SENDGRID),
    Course("left a group", 0.3, _left_group, SENDGRID),
    Course("left a group and came back", 0.1, _came_back, SENDGRID),
    Course("subscribed", 0.1, _subscribed, POSTMARK),
    Course("left the stream", 0.3, _listed, POSTMARK),
    Course("complained and listed", 0.1, _listed_for_complaint, POSTMARK),
    Course("left the stream and came back", 0.1, _listed_then_unlisted, POSTMARK),
    Course("left the stream, an older change told late", 0.1, _unlisted_told_late, POSTMARK),
    _suppressed_by_hand("by hand"),
    _suppressed_by_hand("by Postmark"),
    Course("suppressed by hand and let in", 0.15, _reactivated, POSTMARK),
    *each(
        "texted",
        (
            "stop",
            "stop, spelled freely",
            "stop by rcs",
            "stop by sms",
            "cancel",
            "judged stop",
            "start",
            "yes",
            "judged start",
            "help",
        )
        + ("judged otherwise", "free"),
        0.15,
        _texted,
        TWILIO,
    ),
    Course("texted twice", 0.1, _texted_twice, TWILIO),
    *each("unknown", ("plainly", "amp"), 0.1, _unknown, SENDGRID),
    *each("unknown", ("plainly", "huh"), 0.1, _unknown, TWILIO),
    *each(
        "unknown",
        ("plainly", "AutoResponder", "AddressChange", "OpenRelayTest", "ChallengeVerification", "InboundError")
        + ("NotAnnouncedYet",),
        0.1,
        _unknown,
        POSTMARK,
    ),
    *each(
        "account alert",
        ("compliance_suspend", "compliance_deactivate", "sg_under_review"),
        0.01,
        _account_alert,
        SENDGRID,
    ),
)
