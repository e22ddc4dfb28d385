"""What recipients want: no mail, less mail, no texts; and mail again."""

from collections.abc import Callable
from functools import partial
from typing import Final

from simulator import people
from simulator.durations import HOUR, MINUTE
from simulator.plot import Plot
from simulator.script import Script

__all__ = ["PLOTS"]


def _tells(s: Script, what: str, how: str = "") -> None:
    s.arrives()
    s.wait(MINUTE, HOUR)
    s.tell(what, how)


def _unsubscribed(p: Plot) -> None:
    to = p.person()
    p.ask("sendgrid", to, template="newsletter", play=partial(_tells, what="unsubscribed"))
    p.heard()
    p.ask("sendgrid", to, "declined", "unsubscribed", template="newsletter", because=1)
    p.ask("postmark", to, "declined", "unsubscribed", template="review-invitation", because=1)
    p.ask("sendgrid", to)  # what belongs to an appointment is not meant
    p.ask("sendgrid", to, template="newsletter", account=p.other)
    p.heard()
    p.command("opt_in", to, scope=p.account)
    p.heard()
    p.ask("sendgrid", to, template="newsletter")


def _left_all_mail_of_a_group(p: Plot) -> None:
    # "Opt Out of All Emails" below a mail of a group: SendGrid tells the group, too, but it is not what was left.
    to = p.person()
    p.ask("sendgrid", to, template="newsletter", play=partial(_tells, what="unsubscribed", how="carrying a group"))
    p.heard()
    p.ask("sendgrid", to, "declined", "unsubscribed", template="newsletter", because=1)
    p.ask("postmark", to, "declined", "unsubscribed", template="review-invitation", because=1)
    p.ask("sendgrid", to)


def _asks_to_be_removed(p: Plot) -> None:
    # By an answer that Postmark takes for a request to be removed; the stream is only what the mail came by.
    to = p.person()
    p.ask("postmark", to, template="newsletter", play=partial(_tells, what="unsubscribed"))
    p.heard()
    p.ask("sendgrid", to, "declined", "unsubscribed", template="review-invitation", because=1)
    p.ask("postmark", to)


def _left_a_group(p: Plot) -> None:
    to = p.person()
    p.ask("sendgrid", to, template="newsletter", play=partial(_tells, what="unsubscribed", how="group"))
    p.heard()
    p.ask("sendgrid", to, "declined", "group_unsubscribed", template="newsletter", because=1)
    p.ask("sendgrid", to, template="review-invitation", play=partial(_tells, what="resubscribed"))
    p.heard()
    p.ask("sendgrid", to, template="newsletter")


def _left_a_stream(p: Plot) -> None:
    to = p.person()
    p.ask("postmark", to, template="newsletter", play=partial(_tells, what="listed"))
    p.heard()
    p.ask("postmark", to, "declined", "group_unsubscribed", template="newsletter", because=1)
    p.ask("postmark", to)
    p.heard()
    p.command("opt_in", to, scope=p.account, group="broadcast")
    p.heard()
    p.ask("postmark", to, template="review-invitation")


def _stop(p: Plot) -> None:
    # Both the number and the service that it was sent to are left, by every account; START comes back to both.
    to = p.person("sms")
    ours = people.sender(p.account, "sms", to)
    p.ask("twilio", to, play=partial(_tells, what="texted", how="stop"), sender=ours)
    p.heard()
    p.ask("twilio", to, "declined", "sms_opt_out", sender=ours, because=1)
    p.ask("twilio", to, "declined", "sms_opt_out", sender=ours, account=p.other, because=1)
    p.ask("twilio", to, sender="+999555000111", play=partial(_tells, what="texted", how="start"))
    p.heard()
    # The word went to the other number: the one is left still.
    p.ask("twilio", to, "declined", "sms_opt_out", sender=ours, because=1)


def _stop_and_start(p: Plot) -> None:
    to = p.person("sms")
    p.ask("twilio", to, play=partial(_tells, what="texted", how="stop"))
    p.heard()
    second = p.ask("twilio", to, "declined", "sms_opt_out", because=1, play=_sends_start)
    p.heard()
    p.ask("twilio", to)
    p.ask_again(second)  # what was declined stays so


def _sends_start(s: Script) -> None:
    s.dispatched = ""
    s.wait(MINUTE, HOUR)
    s.tell("texted", "start")


def _carrier_says_stop(p: Plot) -> None:
    to = p.person("sms")
    p.ask("twilio", to, play=lambda s: s.fails("21610"))
    p.heard()
    p.ask("twilio", to, "declined", "sms_opt_out", because=1)


def _carrier_names_no_sender(p: Plot) -> None:
    # An opt-out that names no sender is of all; START to any of them lifts it.
    to = p.person("sms")
    p.ask("twilio", to, play=lambda s: s.fails("21610, no sender"))
    p.heard()
    p.ask("twilio", to, "declined", "sms_opt_out", because=1, sender="+999555000111")
    p.ask("twilio", to, "declined", "sms_opt_out", because=1, play=_sends_start)
    p.heard()
    p.ask("twilio", to)


def _stop_by_another_channel(p: Plot, how: str) -> None:
    # It is the same number, whatever stands before it.
    to = p.person("sms")
    p.ask("twilio", to, play=partial(_tells, what="texted", how=how))
    p.heard()
    p.ask("twilio", to, "declined", "sms_opt_out", because=1)


def _template_declined(p: Plot) -> None:
    to = p.person()
    wish = p.preference(p.account, to, declined_templates=["reminder-24h"])
    p.heard()
    p.ask("sendgrid", to, "declined", "template_declined", because=(wish,))
    p.ask("sendgrid", to, template="receipt")
    p.ask("sendgrid", to, account=p.other)
    p.heard()
    p.preference(p.account, to)
    p.heard()
    p.ask("postmark", to)


def _not_opted_in(p: Plot) -> None:
    account, to = p.own_account(), p.person()
    policy = p.policy(account, invitation_opt_in_enabled=True)
    p.heard()
    p.ask("sendgrid", to, "not_opted_in", "invitation_not_opted_in", account=account, template="review-invitation",
          because=(policy,))  # fmt: skip
    p.ask("sendgrid", people.staff(p.rng.randrange(40)), account=account, template="review-invitation")
    p.ask("sendgrid", to, account=account, template="newsletter")
    p.heard()
    p.preference(account, to, invitation_opted_in=True)
    p.heard()
    p.ask("postmark", to, account=account, template="review-invitation")


PLOTS: Final[tuple[tuple[str, Callable[[Plot], None]], ...]] = (
    ("unsubscribed, opted in again", _unsubscribed),
    ("left all mail below a mail of a group", _left_all_mail_of_a_group),
    ("asks to be removed", _asks_to_be_removed),
    ("left a group and came back", _left_a_group),
    ("left a stream, opted in again", _left_a_stream),
    ("STOP to one number", _stop),
    ("STOP and START", _stop_and_start),
    ("STOP by rcs", partial(_stop_by_another_channel, how="stop by rcs")),
    ("STOP by sms", partial(_stop_by_another_channel, how="stop by sms")),
    ("the carrier says STOP", _carrier_says_stop),
    ("the carrier says STOP and names no sender", _carrier_names_no_sender),
    ("a template is declined, and no more", _template_declined),
    ("an invitation that was not wished", _not_opted_in),
)
