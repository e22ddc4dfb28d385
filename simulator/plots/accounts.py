"""What an account may do: trials that run out, billing that is entered, texts, templates and blocks."""

from collections.abc import Callable
from typing import Final

from simulator.durations import DAY, HOUR
from simulator.plot import Plot, Quota

__all__ = ["PLOTS"]


def _trial_runs_out(p: Plot) -> None:
    account = p.own_account()
    policy = p.policy(account, {"trial_started_at": -2 * DAY}, trial_email_limit=3)
    p.heard()
    first = p.ask("sendgrid", p.person(), account=account)
    for provider in ("postmark", "sendgrid"):
        p.ask(provider, p.person(), account=account)
    p.heard()
    p.ask("sendgrid", p.person(), "quota_exceeded", "trial_email_limit", account=account, because=(policy,))
    p.ask_again(first)  # it uses no more quota, and stays approved
    p.heard()
    p.policy(account, {"trial_started_at": -2 * DAY, "billing_entered_at": p.at_us}, trial_email_limit=3)
    p.heard()
    p.ask("sendgrid", p.person(), account=account)


def _trial_runs_out_at_once(p: Plot) -> None:
    account, limit = p.own_account(), 4
    p.policy(account, {"trial_started_at": -DAY}, trial_email_limit=limit)
    p.heard()
    quota = Quota(account, limit)
    for _ in range(limit + 5):
        p.ask("postmark", p.person(), "quota_exceeded", "trial_email_limit", account=account, quota=quota)


def _second_trial(p: Plot) -> None:
    account = p.own_account()
    first = p.policy(account, {"trial_started_at": -10 * DAY}, trial_email_limit=1)
    p.heard()
    p.ask("sendgrid", p.person(), account=account)
    p.heard()
    p.ask("sendgrid", p.person(), "quota_exceeded", "trial_email_limit", account=account, because=(first,))
    p.heard()
    p.policy(account, {"trial_started_at": -DAY}, trial_email_limit=1)
    p.heard()
    p.ask("postmark", p.person(), account=account)


def _texts_in_a_trial(p: Plot) -> None:
    account = p.own_account()
    unpaid = p.policy(account, {"trial_started_at": -2 * DAY})
    p.heard()
    p.ask("twilio", p.person("sms"), "quota_exceeded", "sms_requires_billing", account=account, because=(unpaid,))
    p.ask("sendgrid", p.person(), account=account)
    p.heard()
    times = {"trial_started_at": -2 * DAY, "billing_entered_at": p.at_us}
    paid = p.policy(account, times)
    p.heard()
    p.ask("twilio", p.person("sms"), "quota_exceeded", "sms_not_enabled", account=account, because=(paid,))
    p.heard()
    p.policy(account, times, sms_enabled=True)
    p.heard()
    p.ask("twilio", p.person("sms"), account=account)


def _trial_ends(p: Plot) -> None:
    account = p.own_account()
    policy = p.policy(account, {"trial_started_at": -14 * DAY + 6 * HOUR})
    p.heard()
    p.ask("sendgrid", p.person(), account=account)
    p.heard(7 * HOUR)
    p.ask("postmark", p.person(), "quota_exceeded", "trial_ended", account=account, because=(policy,))
    p.ask("twilio", p.person("sms"), "quota_exceeded", "trial_ended", account=account, because=(policy,))
    p.heard()
    p.policy(account, {"trial_started_at": -14 * DAY + 6 * HOUR, "billing_entered_at": p.at_us})
    p.heard()
    p.ask("twilio", p.person("sms"), account=account)


def _blocked(p: Plot) -> None:
    account = p.own_account()
    p.policy(account, {"blocked_since": p.at_us + 6 * HOUR})
    p.heard()
    p.ask("sendgrid", p.person(), account=account)  # it is blocked from later on
    p.heard(7 * HOUR)
    policy = p.policy(account, {"blocked_since": p.at_us})
    p.heard()
    p.ask("sendgrid", p.person(), "blocked", "account_blocked", account=account, because=(policy,))
    p.ask("twilio", p.person("sms"), "blocked", "account_blocked", account=account, because=(policy,))
    p.heard()
    p.policy(account)
    p.heard()
    p.ask("postmark", p.person(), account=account)


def _unknown(p: Plot) -> None:
    outcome = "blocked" if p.refuses_unknown else "approved"
    p.ask("sendgrid", p.person(), outcome, "no_policy", account=p.own_account(), because=())


def _template_switched_off(p: Plot) -> None:
    account, off = p.own_account(), ("declined", "template_disabled")
    policy = p.policy(account, disabled_templates=["receipt", "newsletter"])
    p.heard()
    p.ask("sendgrid", p.person(), *off, account=account, template="receipt", because=(policy,))
    p.ask("sendgrid", p.person(), account=account)
    p.heard()
    p.policy(account, updated_us=policy.at_us - HOUR)  # older than what is known: it changes nothing
    p.heard()
    p.ask("twilio", p.person("sms"), *off, account=account, template="receipt", because=(policy,))
    p.heard()
    p.policy(account)
    p.heard()
    p.ask("postmark", p.person(), account=account, template="receipt")


PLOTS: Final[tuple[tuple[str, Callable[[Plot], None]], ...]] = (
    ("a trial runs out, billing is entered", _trial_runs_out),
    ("a trial runs out at once", _trial_runs_out_at_once),
    ("a second trial", _second_trial),
    ("texts in a trial", _texts_in_a_trial),
    ("a trial ends", _trial_ends),
    ("an account is blocked, and no more", _blocked),
    ("an unknown account", _unknown),
    ("a template is switched off and on", _template_switched_off),
)
