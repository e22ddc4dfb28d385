"""Account policies: trials and their limits, billing, texts, disabled templates, blocked accounts."""

from typing import Final

from simulator.durations import DAY, HOUR
from simulator.multi_message.timeline import MultiMessageScenario, MultiMessageTimeline, Quota

__all__ = ["SCENARIOS"]


def _trial_limit_reached(m: MultiMessageTimeline) -> None:
    account = m.new_account()
    policy = m.policy(account, {"trial_started_at": -2 * DAY}, trial_email_limit=3)
    m.barrier()
    first = m.request("sendgrid", m.new_person(), account=account)
    for provider in ("postmark", "sendgrid"):
        m.request(provider, m.new_person(), account=account)
    m.barrier()
    m.request("sendgrid", m.new_person(), "quota_exceeded", "trial_email_limit", account=account, evidence=(policy,))
    m.request_again(first)  # it uses no more of the quota and stays approved
    m.barrier()
    m.policy(account, {"trial_started_at": -2 * DAY, "billing_entered_at": m.at_us}, trial_email_limit=3)
    m.barrier()
    m.request("sendgrid", m.new_person(), account=account)


def _trial_limit_exceeded_at_once(m: MultiMessageTimeline) -> None:
    account, limit = m.new_account(), 4
    m.policy(account, {"trial_started_at": -DAY}, trial_email_limit=limit)
    m.barrier()
    quota = Quota(account, limit)
    for _ in range(limit + 5):
        m.request("postmark", m.new_person(), "quota_exceeded", "trial_email_limit", account=account, quota=quota)


def _second_trial(m: MultiMessageTimeline) -> None:
    account = m.new_account()
    first = m.policy(account, {"trial_started_at": -10 * DAY}, trial_email_limit=1)
    m.barrier()
    m.request("sendgrid", m.new_person(), account=account)
    m.barrier()
    m.request("sendgrid", m.new_person(), "quota_exceeded", "trial_email_limit", account=account, evidence=(first,))
    m.barrier()
    m.policy(account, {"trial_started_at": -DAY}, trial_email_limit=1)
    m.barrier()
    m.request("postmark", m.new_person(), account=account)


def _texts_during_trial(m: MultiMessageTimeline) -> None:
    account = m.new_account()
    unpaid = m.policy(account, {"trial_started_at": -2 * DAY})
    m.barrier()
    m.request(
        "twilio", m.new_person("sms"), "quota_exceeded", "sms_requires_billing", account=account, evidence=(unpaid,)
    )
    m.request("sendgrid", m.new_person(), account=account)
    m.barrier()
    times = {"trial_started_at": -2 * DAY, "billing_entered_at": m.at_us}
    paid = m.policy(account, times)
    m.barrier()
    m.request("twilio", m.new_person("sms"), "quota_exceeded", "sms_not_enabled", account=account, evidence=(paid,))
    m.barrier()
    m.policy(account, times, sms_enabled=True)
    m.barrier()
    m.request("twilio", m.new_person("sms"), account=account)


def _trial_ends(m: MultiMessageTimeline) -> None:
    account = m.new_account()
    policy = m.policy(account, {"trial_started_at": -14 * DAY + 6 * HOUR})
    m.barrier()
    m.request("sendgrid", m.new_person(), account=account)
    m.barrier(7 * HOUR)
    m.request("postmark", m.new_person(), "quota_exceeded", "trial_ended", account=account, evidence=(policy,))
    m.request("twilio", m.new_person("sms"), "quota_exceeded", "trial_ended", account=account, evidence=(policy,))
    m.barrier()
    m.policy(account, {"trial_started_at": -14 * DAY + 6 * HOUR, "billing_entered_at": m.at_us})
    m.barrier()
    m.request("twilio", m.new_person("sms"), account=account)


def _blocked(m: MultiMessageTimeline) -> None:
    account = m.new_account()
    m.policy(account, {"blocked_since": m.at_us + 6 * HOUR})
    m.barrier()
    m.request("sendgrid", m.new_person(), account=account)  # the block starts later
    m.barrier(7 * HOUR)
    policy = m.policy(account, {"blocked_since": m.at_us})
    m.barrier()
    m.request("sendgrid", m.new_person(), "blocked", "account_blocked", account=account, evidence=(policy,))
    m.request("twilio", m.new_person("sms"), "blocked", "account_blocked", account=account, evidence=(policy,))
    m.barrier()
    m.policy(account)
    m.barrier()
    m.request("postmark", m.new_person(), account=account)


def _unknown(m: MultiMessageTimeline) -> None:
    outcome = "blocked" if m.refuses_unknown else "approved"
    m.request("sendgrid", m.new_person(), outcome, "no_policy", account=m.new_account(), evidence=())


def _template_disabled(m: MultiMessageTimeline) -> None:
    account, disabled = m.new_account(), ("declined", "template_disabled")
    policy = m.policy(account, disabled_templates=["receipt", "newsletter"])
    m.barrier()
    m.request("sendgrid", m.new_person(), *disabled, account=account, template="receipt", evidence=(policy,))
    m.request("sendgrid", m.new_person(), account=account)
    m.barrier()
    m.policy(account, updated_us=policy.at_us - HOUR)  # older than the known policy: no change
    m.barrier()
    m.request("twilio", m.new_person("sms"), *disabled, account=account, template="receipt", evidence=(policy,))
    m.barrier()
    m.policy(account)
    m.barrier()
    m.request("postmark", m.new_person(), account=account, template="receipt")


SCENARIOS: Final = (
    MultiMessageScenario("a trial limit is reached, then billing entered", _trial_limit_reached),
    MultiMessageScenario("a trial limit is exceeded at once", _trial_limit_exceeded_at_once),
    MultiMessageScenario("a second trial", _second_trial),
    MultiMessageScenario("texts during a trial", _texts_during_trial),
    MultiMessageScenario("a trial ends", _trial_ends),
    MultiMessageScenario("an account is blocked, then unblocked", _blocked),
    MultiMessageScenario("an unknown account", _unknown),
    MultiMessageScenario("a template is disabled, then enabled", _template_disabled),
)
