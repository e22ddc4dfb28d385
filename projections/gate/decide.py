"""May this message be sent? One row of rules, of which the first that applies decides.

In:  a request; what its account, its recipient and its address have said; how much of a trial was used.
Out: a `Verdict`: outcome, reason code, the reason for people, and the ids of what caused it.
Promise: pure and total. The order of the rules is docs/explanation/gate.md's.

CCs are not screened: a limit, stated in docs/explanation/gate.md.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

from projections.gate.addressing import is_address, sender_key
from projections.gate.opt_outs import OptOut
from projections.gate.rules import DEFAULTS, Rules
from projections.gate.spells import REASONS
from projections.gate.suppression import SuppressionView
from projections.gate.texts import bounded
from projections.gate.trial import Trial, Usage, trial_of
from schemas.facts import Request
from schemas.gate_facts import Policy, Preference
from schemas.suppressions import EVERYWHERE
from schemas.times import rfc3339

__all__ = ["RULES", "Verdict", "decide", "policy_id", "preference_id"]


class Verdict(NamedTuple):
    """What is decided of one request."""

    outcome: str
    reason: str
    detail: str
    evidence: tuple[str, ...]
    trial_us: int | None = None
    """The trial, by its start, whose quota the message uses; None where it uses none."""

    def usage_after(self, usage: Usage) -> Usage:
        """Return the usage once this message counts. A message is decided once, so that it counts once."""
        return usage if self.trial_us is None else usage.plus(self.trial_us)


class Case(NamedTuple):
    """All that the rules look at."""

    request: Request
    policy: Policy | None
    preference: Preference | None
    address: SuppressionView
    usage: Usage
    rules: Rules


class Cause(NamedTuple):
    """Why a rule applies."""

    detail: str
    evidence: tuple[str, ...] = ()


Rule = Callable[[Case], Cause | None]
_REASON_CHARACTERS: Final = 1_000
"""How much of a policy's reason a decision repeats: the policy may be of megabytes, and a decision has a request."""


def decide(
    request: Request,
    policy: Policy | None,
    preference: Preference | None,
    address: SuppressionView,
    usage: Usage,
    *,
    rules: Rules = DEFAULTS,
) -> Verdict:
    """Return what is decided. `address` is what holds for the To; an unknown account or recipient has said None."""
    case = Case(request, policy, preference, address, usage, rules)
    for outcome, reason, applies in RULES:
        cause = applies(case)
        if cause is not None:
            return Verdict(outcome, reason, *cause)
    if policy is None:
        return Verdict("approved", "no_policy", "Nothing is known of this account, so nothing forbids it", ())
    trial = _unpaid_trial(case)  # of an email: an SMS was refused in it
    return Verdict("approved", "ok", "Nothing speaks against it", (), trial.started_us if trial else None)


def policy_id(policy: Policy) -> str:
    """Return how evidence names a policy."""
    return f"policy:{policy.account_id}@{policy.updated_at}"


def preference_id(preference: Preference) -> str:
    """Return how evidence names a preference."""
    whose = f"{preference.account_id}/{preference.recipient_kind}/{preference.recipient_id}"
    return f"preference:{whose}@{preference.updated_at}"


def _account_blocked(case: Case) -> Cause | None:
    policy = case.policy
    if policy is None or policy.blocked_since_us is None or policy.blocked_since_us > case.request.requested_us:
        return None
    why = f": {policy.blocked_reason[:_REASON_CHARACTERS]}" if policy.blocked_reason else ""
    return Cause(f"The account is blocked since {_day(policy.blocked_since_us)}{why}", (policy_id(policy),))


def _address_invalid(case: Case) -> Cause | None:
    if is_address(case.request.to_key, case.request.channel):
        return None
    wanted = "a phone number in E.164, like +14155550100" if case.request.channel == "sms" else "an email address"
    return Cause(f"The To is not {wanted}")


def _template_disabled(case: Case) -> Cause | None:
    policy, template = case.policy, case.request.template_id
    if policy is None or template not in policy.disabled_templates:
        return None
    return Cause(f"The account has switched off the template {template}", (policy_id(policy),))


def _template_declined(case: Case) -> Cause | None:
    preference, template = case.preference, case.request.template_id
    if preference is None or template not in preference.declined_templates:
        return None
    return Cause(f"The recipient does not want messages of the template {template}", (preference_id(preference),))


def _unsubscribed(case: Case) -> Cause | None:
    if case.request.template_kind not in ("marketing", "invitation"):
        return None
    out = _opt_out(case, "unsubscribed")
    return out and Cause(f"The recipient unsubscribed on {_day(out.since_us)}", (out.evidence,))


def _group_unsubscribed(case: Case) -> Cause | None:
    group = bounded(case.request.unsubscribe_group)
    out = _opt_out(case, "group_unsubscribed", lambda out: out.group == group)
    return out and Cause(f"The recipient left the group {out.group} on {_day(out.since_us)}", (out.evidence,))


def _sms_opt_out(case: Case) -> Cause | None:
    """An opt-out of one sender. A request that names none may go through any, and so does an opt-out."""
    sender = sender_key(bounded(case.request.sender.strip()))
    out = _opt_out(case, "sms_opt_out", lambda out: not sender or not out.sender or sender_key(out.sender) == sender)
    if out is None:
        return None
    return Cause(f"The recipient opted out of texts of {out.sender or 'us'} on {_day(out.since_us)}", (out.evidence,))


def _opt_out(case: Case, reason: str, wanted: Callable[[OptOut], bool] = lambda _: True) -> OptOut | None:
    """The opt-out of this account, or of all, that began first."""
    scopes = (EVERYWHERE, case.request.account_id)
    outs = (out for out in case.address.opt_outs if out.reason == reason and out.scope in scopes and wanted(out))
    return min(outs, key=lambda out: (out.since_us, out), default=None)


def _invitation_not_opted_in(case: Case) -> Cause | None:
    request, policy, preference = case.request, case.policy, case.preference
    if request.template_kind != "invitation" or request.recipient_kind != "client":
        return None
    if policy is None or not policy.invitation_opt_in_enabled or (preference and preference.invitation_opted_in):
        return None
    said = (policy_id(policy), preference_id(preference)) if preference else (policy_id(policy),)
    return Cause("The account invites only clients who opted in, and this client did not", said)


def _suppressed(reason: str) -> Rule:
    """The rule that a suppression for this reason, of the whole platform or of the account, refuses the message."""

    def applies(case: Case) -> Cause | None:
        for scope in case.address.scopes:
            if scope.suppressed and scope.reason == reason and scope.scope in (EVERYWHERE, case.request.account_id):
                said = {"day": _day(scope.since_us), "count": len(scope.evidence)}
                return Cause(_SUPPRESSIONS[reason].format(**said, days=case.rules.suppress_window_days), scope.evidence)
        return None

    return applies


_SUPPRESSIONS: Final = {
    "complaint": "The recipient reported a message as spam on {day}",
    "manual": "Somebody suppressed this address by hand on {day}",
    "provider": "The provider refuses to send to this address since {day}",
    "bounces": "{count} messages to this address bounced within {days} days; the last of them on {day}",
}


def _trial_email_limit(case: Case) -> Cause | None:
    trial = _unpaid_trial(case)
    if trial is None or case.request.channel != "email":
        return None
    limit = trial.policy.trial_email_limit
    if case.usage.of(trial.started_us) < limit:
        return None
    return Cause(f"The trial's {limit} emails are used; entering billing lifts the limit", (policy_id(trial.policy),))


def _sms_requires_billing(case: Case) -> Cause | None:
    trial = _unpaid_trial(case)
    if trial is None or case.request.channel != "sms":
        return None
    return Cause("A trial sends no SMS before billing is entered", (policy_id(trial.policy),))


def _sms_not_enabled(case: Case) -> Cause | None:
    trial = trial_of(case.policy, case.request.requested_us)
    if trial is None or not trial.running or case.request.channel != "sms" or trial.policy.sms_enabled:
        return None
    return Cause("SMS is not enabled for this account during its trial", (policy_id(trial.policy),))


def _trial_ended(case: Case) -> Cause | None:
    trial = trial_of(case.policy, case.request.requested_us)
    if trial is None or trial.running or trial.paid:
        return None
    return Cause(f"The trial ended on {_day(trial.ended_us)}, and billing is not entered", (policy_id(trial.policy),))


def _unpaid_trial(case: Case) -> Trial | None:
    """The trial of an account that is in it for this request and has not entered billing."""
    trial = trial_of(case.policy, case.request.requested_us)
    return trial if trial is not None and trial.running and not trial.paid else None


def _unknown_account(case: Case) -> Cause | None:
    if case.policy is not None or not case.rules.refuse_unknown:
        return None
    return Cause("Nothing is known of this account")


def _day(us: int) -> str:
    """A day for people, UTC. Days beyond the calendar are its last one."""
    return rfc3339(min(us, _LAST_US))[:10]


_LAST_US: Final = 253_402_300_799_999_999

RULES: Final[tuple[tuple[str, str, Rule], ...]] = (
    ("blocked", "account_blocked", _account_blocked),
    ("blocked", "address_invalid", _address_invalid),
    ("declined", "template_disabled", _template_disabled),
    ("declined", "template_declined", _template_declined),
    ("declined", "unsubscribed", _unsubscribed),
    ("declined", "group_unsubscribed", _group_unsubscribed),
    ("declined", "sms_opt_out", _sms_opt_out),
    ("not_opted_in", "invitation_not_opted_in", _invitation_not_opted_in),
    *(("suppressed", reason, _suppressed(reason)) for reason in REASONS),
    ("quota_exceeded", "trial_email_limit", _trial_email_limit),
    ("quota_exceeded", "sms_requires_billing", _sms_requires_billing),
    ("quota_exceeded", "sms_not_enabled", _sms_not_enabled),
    ("quota_exceeded", "trial_ended", _trial_ended),
    ("blocked", "no_policy", _unknown_account),
)
"""Each rule with the outcome and the reason that it gives."""
