"""May this message be sent? A table of rules; the first that applies decides.

In:  a request; the policy, the preference and the address snapshot that apply to it; how much of a trial is used.
Out: a `Verdict`: outcome, reason code, a sentence for people, and the ids of the evidence.
Promise: pure and total. The order of the rules is docs/explanation/gate.md's.

CCs are not screened: a known limit, see docs/explanation/gate.md.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

from projections.decisions.trial import Trial, Usage, trial_of
from projections.suppressions.addressing import is_address, sender_key
from projections.suppressions.opt_outs import ActiveOptOut
from projections.suppressions.periods import REASONS
from projections.suppressions.rules import DEFAULT_RULES, GateRules
from projections.suppressions.state import AddressSnapshot
from projections.suppressions.texts import bounded
from schemas.decoding.gate_inputs import Policy, Preference
from schemas.decoding.ids import ALL
from schemas.decoding.sends import Request
from schemas.decoding.times import rfc3339

__all__ = ["RULES", "Verdict", "decide", "policy_id", "preference_id"]


class Verdict(NamedTuple):
    """The decision about one request."""

    outcome: str
    reason: str
    detail: str
    evidence: tuple[str, ...]
    trial_us: int | None = None
    """The start of the trial whose quota the message uses; None where it uses none."""

    def usage_after(self, usage: Usage) -> Usage:
        """Return the usage after this message. A message is decided once, so it counts once."""
        return usage if self.trial_us is None else usage.plus(self.trial_us)


class RuleInput(NamedTuple):
    """The input of all rules."""

    request: Request
    policy: Policy | None
    preference: Preference | None
    address: AddressSnapshot
    usage: Usage
    rules: GateRules


class Cause(NamedTuple):
    """Why a rule applies."""

    detail: str
    evidence: tuple[str, ...] = ()


Rule = Callable[[RuleInput], Cause | None]
_REASON_CHARACTERS: Final = 1_000
"""How much of a policy's reason a decision repeats: a policy may have megabytes, and must not fill the decision."""


def decide(
    request: Request,
    policy: Policy | None,
    preference: Preference | None,
    address: AddressSnapshot,
    usage: Usage,
    *,
    rules: GateRules = DEFAULT_RULES,
) -> Verdict:
    """Return the decision. `address` is the snapshot of the To; `policy` and `preference` are None where unknown."""
    case = RuleInput(request, policy, preference, address, usage, rules)
    for outcome, reason, applies in RULES:
        cause = applies(case)
        if cause is not None:
            return Verdict(outcome, reason, *cause)
    if policy is None:
        return Verdict("approved", "no_policy", "Nothing is known of this account, so nothing forbids it", ())
    trial = _unpaid_trial(case)  # the message is an email: an SMS was refused above
    return Verdict("approved", "ok", "Nothing speaks against it", (), trial.started_us if trial else None)


def policy_id(policy: Policy) -> str:
    """Return the id of a policy in evidence."""
    return f"policy:{policy.account_id}@{policy.updated_at}"


def preference_id(preference: Preference) -> str:
    """Return the id of a preference in evidence."""
    whose = f"{preference.account_id}/{preference.recipient_kind}/{preference.recipient_id}"
    return f"preference:{whose}@{preference.updated_at}"


def _account_blocked(case: RuleInput) -> Cause | None:
    policy = case.policy
    if policy is None or policy.blocked_since_us is None or policy.blocked_since_us > case.request.requested_us:
        return None
    why = f": {policy.blocked_reason[:_REASON_CHARACTERS]}" if policy.blocked_reason else ""
    return Cause(f"The account is blocked since {_day(policy.blocked_since_us)}{why}", (policy_id(policy),))


def _address_invalid(case: RuleInput) -> Cause | None:
    if is_address(case.request.to_key, case.request.channel):
        return None
    form = "a phone number in E.164, like +14155550100" if case.request.channel == "sms" else "an email address"
    return Cause(f"The To is not {form}")


def _template_disabled(case: RuleInput) -> Cause | None:
    policy, template = case.policy, case.request.template_id
    if policy is None or template not in policy.disabled_templates:
        return None
    return Cause(f"The account has switched off the template {template}", (policy_id(policy),))


def _template_declined(case: RuleInput) -> Cause | None:
    preference, template = case.preference, case.request.template_id
    if preference is None or template not in preference.declined_templates:
        return None
    return Cause(f"The recipient does not want messages of the template {template}", (preference_id(preference),))


def _unsubscribed(case: RuleInput) -> Cause | None:
    if case.request.template_kind not in ("marketing", "invitation"):
        return None
    out = _opt_out(case, "unsubscribed")
    return out and Cause(f"The recipient unsubscribed on {_day(out.since_us)}", (out.evidence,))


def _group_unsubscribed(case: RuleInput) -> Cause | None:
    group = bounded(case.request.unsubscribe_group)
    out = _opt_out(case, "group_unsubscribed", lambda out: out.group == group)
    return out and Cause(f"The recipient left the group {out.group} on {_day(out.since_us)}", (out.evidence,))


def _sms_opt_out(case: RuleInput) -> Cause | None:
    """An SMS opt-out. A request without a sender may go through any sender; an opt-out without one applies to all."""
    sender = sender_key(bounded(case.request.sender.strip()))
    out = _opt_out(case, "sms_opt_out", lambda out: not sender or not out.sender or sender_key(out.sender) == sender)
    if out is None:
        return None
    return Cause(f"The recipient opted out of texts of {out.sender or 'us'} on {_day(out.since_us)}", (out.evidence,))


def _opt_out(
    case: RuleInput, reason: str, applies: Callable[[ActiveOptOut], bool] = lambda _: True
) -> ActiveOptOut | None:
    """The earliest opt-out of this reason from this account or from all accounts."""
    scopes = (ALL, case.request.account_id)
    outs = (out for out in case.address.opt_outs if out.reason == reason and out.scope in scopes and applies(out))
    return min(outs, key=lambda out: (out.since_us, out), default=None)


def _invitation_not_opted_in(case: RuleInput) -> Cause | None:
    request, policy, preference = case.request, case.policy, case.preference
    if request.template_kind != "invitation" or request.recipient_kind != "client":
        return None
    if policy is None or not policy.invitation_opt_in_enabled or (preference and preference.invitation_opted_in):
        return None
    evidence = (policy_id(policy), preference_id(preference)) if preference else (policy_id(policy),)
    return Cause("The account invites only clients who opted in, and this client did not", evidence)


def _suppressed(reason: str) -> Rule:
    """Return the rule that refuses a message for a suppression with this reason, platform-wide or of the account."""

    def applies(case: RuleInput) -> Cause | None:
        for scope in case.address.scopes:
            if scope.suppressed and scope.reason == reason and scope.scope in (ALL, case.request.account_id):
                fields = {"day": _day(scope.since_us), "count": len(scope.evidence)}
                return Cause(
                    _SUPPRESSIONS[reason].format(**fields, days=case.rules.suppress_window_days), scope.evidence
                )
        return None

    return applies


_SUPPRESSIONS: Final = {
    "complaint": "The recipient reported a message as spam on {day}",
    "manual": "Somebody suppressed this address by hand on {day}",
    "provider": "The provider refuses to send to this address since {day}",
    "bounces": "{count} messages to this address bounced within {days} days; the last of them on {day}",
}


def _trial_email_limit(case: RuleInput) -> Cause | None:
    trial = _unpaid_trial(case)
    if trial is None or case.request.channel != "email":
        return None
    limit = trial.policy.trial_email_limit
    if case.usage.of(trial.started_us) < limit:
        return None
    return Cause(f"The trial's {limit} emails are used; entering billing lifts the limit", (policy_id(trial.policy),))


def _sms_requires_billing(case: RuleInput) -> Cause | None:
    trial = _unpaid_trial(case)
    if trial is None or case.request.channel != "sms":
        return None
    return Cause("A trial sends no SMS before billing is entered", (policy_id(trial.policy),))


def _sms_not_enabled(case: RuleInput) -> Cause | None:
    trial = trial_of(case.policy, case.request.requested_us)
    if trial is None or not trial.running or case.request.channel != "sms" or trial.policy.sms_enabled:
        return None
    return Cause("SMS is not enabled for this account during its trial", (policy_id(trial.policy),))


def _trial_ended(case: RuleInput) -> Cause | None:
    trial = trial_of(case.policy, case.request.requested_us)
    if trial is None or trial.running or trial.paid:
        return None
    return Cause(f"The trial ended on {_day(trial.ended_us)}, and billing is not entered", (policy_id(trial.policy),))


def _unpaid_trial(case: RuleInput) -> Trial | None:
    """The trial that is running for this request, of an account without billing; else None."""
    trial = trial_of(case.policy, case.request.requested_us)
    return trial if trial is not None and trial.running and not trial.paid else None


def _unknown_account(case: RuleInput) -> Cause | None:
    if case.policy is not None or not case.rules.refuse_unknown:
        return None
    return Cause("Nothing is known of this account")


def _day(us: int) -> str:
    """A day for people, in UTC. Times after the year 9999 give its last day."""
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
"""Each rule with its outcome and reason, in order of precedence."""
