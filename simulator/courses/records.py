"""What our own records do: they come twice, late, or at odds with each other; and the refusals."""

from typing import Final

from simulator.courses.course import ALL, MAIL, SENDGRID, TWILIO, Course
from simulator.durations import SECOND
from simulator.script import Script, Verdict

__all__ = ["COURSES"]

_SUPPRESSED: Final = Verdict(
    "suppressed", "bounces", "3 messages to this address bounced within 30 days", "events", after_us=5 * SECOND
)


def _requested(*requests: str) -> Course:
    def play(s: Script) -> None:
        s.requests = requests
        s.arrives()

    return Course(f"requested: {', '.join(requests)}", 0.15, play)


def _requested_differently_undecided(s: Script) -> None:
    s.requests, s.verdicts, s.dispatched = ("same", "other"), (), ""


def _other_request_decided(s: Script) -> None:
    s.requests, s.verdicts = ("same", "other"), (Verdict(about=1),)
    s.arrives()


def _never_requested(s: Script) -> None:
    s.requests, s.verdicts, s.dispatched = (), (), ""
    s.arrives()
    s.opened()


def _never_requested_two_addresses(s: Script) -> None:
    # Who is the To is not known, so each may be.
    s.requests, s.verdicts, s.dispatched = (), (), ""
    s.ccs = 1
    s.arrives()
    s.tell("processed", cc=1)
    s.fails("mailbox", cc=1)


def _dispatched_never_requested(s: Script) -> None:
    s.requests, s.verdicts = (), ()
    s.arrives()


def _request_lost(s: Script) -> None:
    # The decision has the request in it.
    s.requests = ()
    s.arrives()


def _late(*records: str) -> Course:
    def play(s: Script) -> None:
        s.late, s.ccs = records, 1
        s.arrives()
        s.tell("delivered", cc=1)
        s.opened(cc=1)

    return Course(f"late: {', '.join(records)}", 0.3, play, MAIL)


def _late_for_texts(s: Script) -> None:
    s.late = ("request", "decision", "dispatch")
    s.arrives()


def _refused_in_retrospect(s: Script) -> None:
    # Two decisions: the earlier by its own time stands.
    s.verdicts = (Verdict(), _SUPPRESSED)
    s.arrives()


def _refused_then_approved(s: Script) -> None:
    s.verdicts = (_SUPPRESSED, Verdict(after_us=10 * SECOND))
    s.dispatched = ""


def _sent_though_refused(s: Script) -> None:
    s.verdicts = (_SUPPRESSED._replace(after_us=0),)
    s.arrives()


def _bounced_though_refused(s: Script) -> None:
    s.verdicts = (Verdict("declined", "template_declined", "the recipient does not want this template", "command"),)
    s.processed()
    s.fails()


def _approved_without_policy(s: Script) -> None:
    s.verdicts = (Verdict("approved", "no_policy", "the account is unknown; DEFAULT_POLICY=allow"),)
    s.arrives()


def _dispatched_by_whole_id(s: Script) -> None:
    s.dispatched = "whole"
    s.arrives()


def _dispatched_by_smtp_id(lacks: str) -> Course:
    def play(s: Script) -> None:
        s.dispatched = "smtp-id"
        s.arrives(lacks=lacks)

    missing = ", our ids missing" if lacks else ""
    return Course(f"dispatched by its smtp-id{missing}", 0.3, play, SENDGRID)


def _refused(
    outcome: str, reason: str, detail: str, evidence: str, *kinds: str, providers: tuple[str, ...] = ALL
) -> Course:
    def play(s: Script) -> None:
        s.refuse(outcome, reason, detail, evidence)
        s.kinds = kinds
        s.to = "invalid" if reason == "address_invalid" else ""

    return Course(f"refused: {reason}", 0.35, play, providers, decides=True)


COURSES: Final = (
    _requested("same", "same"),
    _requested("same", "respelled"),
    _requested("shouted"),
    _requested("same", "other"),
    _requested("same", "other", "same"),
    Course("requested differently, undecided", 0.1, _requested_differently_undecided),
    Course("the other request decided", 0.1, _other_request_decided, decides=True),
    Course("never requested", 0.1, _never_requested, MAIL),
    Course("never requested, two addresses", 0.1, _never_requested_two_addresses, MAIL),
    Course("dispatched, never requested", 0.1, _dispatched_never_requested),
    Course("request lost", 0.1, _request_lost, decides=True),
    _late("request"),
    _late("decision"),
    _late("request", "decision"),
    _late("dispatch"),
    Course("late: all", 0.3, _late_for_texts, TWILIO),
    Course("refused in retrospect", 0.05, _refused_in_retrospect, decides=True),
    Course("refused, then approved", 0.05, _refused_then_approved, decides=True),
    Course("sent though refused", 0.05, _sent_though_refused, decides=True),
    Course("bounced though refused", 0.05, _bounced_though_refused, decides=True),
    Course("approved without policy", 1, _approved_without_policy, decides=True),
    Course("dispatched by its whole id", 1, _dispatched_by_whole_id, SENDGRID),
    _dispatched_by_smtp_id(""),
    _dispatched_by_smtp_id("ours"),
    _refused("blocked", "account_blocked", "the account is blocked: unpaid invoices", "policy"),
    _refused("blocked", "address_invalid", "the address is no email address", ""),
    _refused("blocked", "no_policy", "the account is unknown; DEFAULT_POLICY=refuse", ""),
    _refused("declined", "template_disabled", "the account has switched this template off", "policy"),
    _refused("declined", "template_declined", "the recipient does not want this template", "command"),
    _refused(
        "declined",
        "unsubscribed",
        "the recipient has unsubscribed",
        "events",
        "marketing",
        "invitation",
        providers=MAIL,
    ),
    _refused(
        "declined", "group_unsubscribed", "the recipient has left the group", "events", "marketing", providers=SENDGRID
    ),
    _refused("declined", "sms_opt_out", "the recipient answered STOP to this number", "events", providers=TWILIO),
    _refused("not_opted_in", "invitation_not_opted_in", "the client has not opted in", "policy", "invitation"),
    _refused("suppressed", "bounces", "3 messages to this address bounced within 30 days", "events"),
    _refused("suppressed", "complaint", "the recipient reported a message as spam", "events", providers=MAIL),
    _refused("suppressed", "manual", "suppressed by support: asked on the phone", "command"),
    _refused("suppressed", "provider", "the provider refuses this address", "events", providers=MAIL),
    _refused("quota_exceeded", "trial_email_limit", "the trial's 100 emails are used up", "policy", providers=MAIL),
    _refused("quota_exceeded", "sms_requires_billing", "a trial has no texts", "policy", providers=TWILIO),
    _refused("quota_exceeded", "sms_not_enabled", "texts are not switched on", "policy", providers=TWILIO),
    _refused("quota_exceeded", "trial_ended", "the trial is over and no billing was entered", "policy"),
)
