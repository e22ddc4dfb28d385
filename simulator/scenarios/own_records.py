"""Records of our own topics that are repeated, late or contradictory; and refusals."""

from typing import Final

from simulator.durations import SECOND
from simulator.scenarios.scenario import ALL_PROVIDERS, MAIL, SENDGRID, TWILIO, Scenario
from simulator.timeline import PlannedDecision, Timeline

__all__ = ["SCENARIOS"]

_SUPPRESSED: Final = PlannedDecision(
    "suppressed", "bounces", "3 messages to this address bounced within 30 days", "events", after_us=5 * SECOND
)


def _requested(*requests: str) -> Scenario:
    def build(t: Timeline) -> None:
        t.requests = requests
        t.delivered_normally()

    return Scenario(f"requested: {', '.join(requests)}", 0.15, build)


def _requested_differently_undecided(t: Timeline) -> None:
    t.requests, t.decisions, t.dispatched = ("same", "changed"), (), ""


def _other_request_decided(t: Timeline) -> None:
    t.requests, t.decisions = ("same", "changed"), (PlannedDecision(about=1),)
    t.delivered_normally()


def _never_requested(t: Timeline) -> None:
    t.requests, t.decisions, t.dispatched = (), (), ""
    t.delivered_normally()
    t.opened()


def _never_requested_two_addresses(t: Timeline) -> None:
    # Which address is the To is not known, so both count as it.
    t.requests, t.decisions, t.dispatched = (), (), ""
    t.ccs = 1
    t.delivered_normally()
    t.add("processed", cc=1)
    t.bounced("mailbox", cc=1)


def _dispatched_never_requested(t: Timeline) -> None:
    t.requests, t.decisions = (), ()
    t.delivered_normally()


def _request_lost(t: Timeline) -> None:
    # The decision contains the request.
    t.requests = ()
    t.delivered_normally()


def _late(*records: str) -> Scenario:
    def build(t: Timeline) -> None:
        t.late, t.ccs = records, 1
        t.delivered_normally()
        t.add("delivered", cc=1)
        t.opened(cc=1)

    return Scenario(f"late: {', '.join(records)}", 0.3, build, MAIL)


def _late_for_texts(t: Timeline) -> None:
    t.late = ("request", "decision", "dispatch")
    t.delivered_normally()


def _refused_in_retrospect(t: Timeline) -> None:
    # Two decisions: the one with the earlier time counts.
    t.decisions = (PlannedDecision(), _SUPPRESSED)
    t.delivered_normally()


def _refused_then_approved(t: Timeline) -> None:
    t.decisions = (_SUPPRESSED, PlannedDecision(after_us=10 * SECOND))
    t.dispatched = ""


def _sent_though_refused(t: Timeline) -> None:
    t.decisions = (_SUPPRESSED._replace(after_us=0),)
    t.delivered_normally()


def _bounced_though_refused(t: Timeline) -> None:
    t.decisions = (
        PlannedDecision("declined", "template_declined", "the recipient does not want this template", "command"),
    )
    t.processed()
    t.bounced()


def _approved_without_policy(t: Timeline) -> None:
    t.decisions = (PlannedDecision("approved", "no_policy", "the account is unknown; DEFAULT_POLICY=allow"),)
    t.delivered_normally()


def _dispatched_by_whole_id(t: Timeline) -> None:
    t.dispatched = "full"
    t.delivered_normally()


def _dispatched_by_smtp_id(omits: str) -> Scenario:
    def build(t: Timeline) -> None:
        t.dispatched = "smtp-id"
        t.delivered_normally(omits=omits)

    missing = ", our ids missing" if omits else ""
    return Scenario(f"dispatched with its smtp-id{missing}", 0.3, build, SENDGRID)


def _refused(
    outcome: str, reason: str, detail: str, evidence: str, *kinds: str, providers: tuple[str, ...] = ALL_PROVIDERS
) -> Scenario:
    def build(t: Timeline) -> None:
        t.refuse(outcome, reason, detail, evidence)
        t.kinds = kinds
        t.to = "invalid" if reason == "address_invalid" else ""

    return Scenario(f"refused: {reason}", 0.35, build, providers, decides=True)


SCENARIOS: Final = (
    _requested("same", "same"),
    _requested("same", "reserialized"),
    _requested("uppercase_id"),
    _requested("same", "changed"),
    _requested("same", "changed", "same"),
    Scenario("requested differently, undecided", 0.1, _requested_differently_undecided),
    Scenario("the other request decided", 0.1, _other_request_decided, decides=True),
    Scenario("never requested", 0.1, _never_requested, MAIL),
    Scenario("never requested, two addresses", 0.1, _never_requested_two_addresses, MAIL),
    Scenario("dispatched, never requested", 0.1, _dispatched_never_requested),
    Scenario("request lost", 0.1, _request_lost, decides=True),
    _late("request"),
    _late("decision"),
    _late("request", "decision"),
    _late("dispatch"),
    Scenario("late: all", 0.3, _late_for_texts, TWILIO),
    Scenario("refused after approval", 0.05, _refused_in_retrospect, decides=True),
    Scenario("refused, then approved", 0.05, _refused_then_approved, decides=True),
    Scenario("sent although refused", 0.05, _sent_though_refused, decides=True),
    Scenario("bounced although refused", 0.05, _bounced_though_refused, decides=True),
    Scenario("approved without policy", 1, _approved_without_policy, decides=True),
    Scenario("dispatched with its full id", 1, _dispatched_by_whole_id, SENDGRID),
    _dispatched_by_smtp_id(""),
    _dispatched_by_smtp_id("our_ids"),
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
