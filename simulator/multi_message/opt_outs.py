"""Opt-outs, preferences and opt-ins of recipients."""

from functools import partial
from typing import Final

from simulator import people
from simulator.durations import HOUR, MINUTE
from simulator.multi_message.timeline import MultiMessageScenario, MultiMessageTimeline
from simulator.timeline import Timeline

__all__ = ["SCENARIOS"]


def _delivered_then(t: Timeline, kind: str, variant: str = "") -> None:
    t.delivered_normally()
    t.wait(MINUTE, HOUR)
    t.add(kind, variant)


def _unsubscribed(m: MultiMessageTimeline) -> None:
    to = m.new_person()
    m.request("sendgrid", to, template="newsletter", build=partial(_delivered_then, kind="unsubscribed"))
    m.barrier()
    m.request("sendgrid", to, "declined", "unsubscribed", template="newsletter", evidence=1)
    m.request("postmark", to, "declined", "unsubscribed", template="review-invitation", evidence=1)
    m.request("sendgrid", to)  # transactional mail is still allowed
    m.request("sendgrid", to, template="newsletter", account=m.other)
    m.barrier()
    m.command("opt_in", to, scope=m.account)
    m.barrier()
    m.request("sendgrid", to, template="newsletter")


def _unsubscribed_from_all_mail(m: MultiMessageTimeline) -> None:
    # "Opt Out of All Emails" in a mail of a group: the event has the group's id, but the opt-out is for all mail.
    to = m.new_person()
    m.request(
        "sendgrid",
        to,
        template="newsletter",
        build=partial(_delivered_then, kind="unsubscribed", variant="with a group id"),
    )
    m.barrier()
    m.request("sendgrid", to, "declined", "unsubscribed", template="newsletter", evidence=1)
    m.request("postmark", to, "declined", "unsubscribed", template="review-invitation", evidence=1)
    m.request("sendgrid", to)


def _asked_to_be_removed(m: MultiMessageTimeline) -> None:
    # A reply that Postmark takes for a removal request: it is for all mail, not for the stream of the message.
    to = m.new_person()
    m.request("postmark", to, template="newsletter", build=partial(_delivered_then, kind="unsubscribed"))
    m.barrier()
    m.request("sendgrid", to, "declined", "unsubscribed", template="review-invitation", evidence=1)
    m.request("postmark", to)


def _unsubscribed_from_group(m: MultiMessageTimeline) -> None:
    to = m.new_person()
    m.request(
        "sendgrid", to, template="newsletter", build=partial(_delivered_then, kind="unsubscribed", variant="group")
    )
    m.barrier()
    m.request("sendgrid", to, "declined", "group_unsubscribed", template="newsletter", evidence=1)
    m.request("sendgrid", to, template="review-invitation", build=partial(_delivered_then, kind="resubscribed"))
    m.barrier()
    m.request("sendgrid", to, template="newsletter")


def _unsubscribed_from_stream(m: MultiMessageTimeline) -> None:
    to = m.new_person()
    m.request("postmark", to, template="newsletter", build=partial(_delivered_then, kind="listed"))
    m.barrier()
    m.request("postmark", to, "declined", "group_unsubscribed", template="newsletter", evidence=1)
    m.request("postmark", to)
    m.barrier()
    m.command("opt_in", to, scope=m.account, group="broadcast")
    m.barrier()
    m.request("postmark", to, template="review-invitation")


def _stop(m: MultiMessageTimeline) -> None:
    # The opt-out is for the number and for the messaging service, in all accounts; START lifts both.
    to = m.new_person("sms")
    ours = people.sender(m.account, "sms", to)
    m.request("twilio", to, build=partial(_delivered_then, kind="text_received", variant="stop"), sender=ours)
    m.barrier()
    m.request("twilio", to, "declined", "sms_opt_out", sender=ours, evidence=1)
    m.request("twilio", to, "declined", "sms_opt_out", sender=ours, account=m.other, evidence=1)
    m.request(
        "twilio", to, sender="+999555000111", build=partial(_delivered_then, kind="text_received", variant="start")
    )
    m.barrier()
    # START went to another number: the opt-out for the first one is still in force.
    m.request("twilio", to, "declined", "sms_opt_out", sender=ours, evidence=1)


def _stop_and_start(m: MultiMessageTimeline) -> None:
    to = m.new_person("sms")
    m.request("twilio", to, build=partial(_delivered_then, kind="text_received", variant="stop"))
    m.barrier()
    second = m.request("twilio", to, "declined", "sms_opt_out", evidence=1, build=_start_received)
    m.barrier()
    m.request("twilio", to)
    m.request_again(second)  # it stays declined


def _start_received(t: Timeline) -> None:
    t.dispatched = ""
    t.wait(MINUTE, HOUR)
    t.add("text_received", "start")


def _carrier_reports_stop(m: MultiMessageTimeline) -> None:
    to = m.new_person("sms")
    m.request("twilio", to, build=lambda t: t.bounced("21610"))
    m.barrier()
    m.request("twilio", to, "declined", "sms_opt_out", evidence=1)


def _carrier_reports_stop_without_sender(m: MultiMessageTimeline) -> None:
    # An opt-out without a sender is for all senders; START to any of them lifts it.
    to = m.new_person("sms")
    m.request("twilio", to, build=lambda t: t.bounced("21610, no sender"))
    m.barrier()
    m.request("twilio", to, "declined", "sms_opt_out", evidence=1, sender="+999555000111")
    m.request("twilio", to, "declined", "sms_opt_out", evidence=1, build=_start_received)
    m.barrier()
    m.request("twilio", to)


def _stop_over_another_channel(m: MultiMessageTimeline, variant: str) -> None:
    # It is the same number, with any channel prefix.
    to = m.new_person("sms")
    m.request("twilio", to, build=partial(_delivered_then, kind="text_received", variant=variant))
    m.barrier()
    m.request("twilio", to, "declined", "sms_opt_out", evidence=1)


def _template_declined(m: MultiMessageTimeline) -> None:
    to = m.new_person()
    preference = m.preference(m.account, to, declined_templates=["reminder-24h"])
    m.barrier()
    m.request("sendgrid", to, "declined", "template_declined", evidence=(preference,))
    m.request("sendgrid", to, template="receipt")
    m.request("sendgrid", to, account=m.other)
    m.barrier()
    m.preference(m.account, to)
    m.barrier()
    m.request("postmark", to)


def _not_opted_in(m: MultiMessageTimeline) -> None:
    account, to = m.new_account(), m.new_person()
    policy = m.policy(account, invitation_opt_in_enabled=True)
    m.barrier()
    m.request("sendgrid", to, "not_opted_in", "invitation_not_opted_in", account=account, template="review-invitation",
          evidence=(policy,))  # fmt: skip
    m.request("sendgrid", people.staff(m.rng.randrange(40)), account=account, template="review-invitation")
    m.request("sendgrid", to, account=account, template="newsletter")
    m.barrier()
    m.preference(account, to, invitation_opted_in=True)
    m.barrier()
    m.request("postmark", to, account=account, template="review-invitation")


SCENARIOS: Final = (
    MultiMessageScenario("unsubscribed, opted in again", _unsubscribed),
    MultiMessageScenario("unsubscribed from all mail, in a mail of a group", _unsubscribed_from_all_mail),
    MultiMessageScenario("asked to be removed", _asked_to_be_removed),
    MultiMessageScenario("unsubscribed from a group and resubscribed", _unsubscribed_from_group),
    MultiMessageScenario("unsubscribed from a stream, opted in again", _unsubscribed_from_stream),
    MultiMessageScenario("STOP to one number", _stop),
    MultiMessageScenario("STOP and START", _stop_and_start),
    MultiMessageScenario("STOP by rcs", partial(_stop_over_another_channel, variant="stop by rcs")),
    MultiMessageScenario("STOP by sms", partial(_stop_over_another_channel, variant="stop by sms")),
    MultiMessageScenario("the carrier reports STOP", _carrier_reports_stop),
    MultiMessageScenario("the carrier reports STOP without a sender", _carrier_reports_stop_without_sender),
    MultiMessageScenario("a template declined, then allowed", _template_declined),
    MultiMessageScenario("an invitation without opt-in", _not_opted_in),
)
