"""Account policies and recipient preferences: what the gate's decisions depend on.

In:  JSON objects of `accounts.policies` and `recipients.preferences`, each topic written by the service that owns it.
Out: validated models. A record replaces earlier ones as a whole: a field that it omits has its default. The record
with the latest `updated_at` is in force. Only the format of times is checked; they are never compared with a clock.
"""

from pydantic import Field

from schemas.records import AccountId, Id, NonblankId, RecipientKind, Record, Time

__all__ = ["AccountPolicy", "Blocked", "RecipientPreference"]


class Blocked(Record):
    """The account may send nothing from `since` on."""

    reason: str
    since: Time


class AccountPolicy(Record):
    """What one account may send. An account without `trial_started_at` counts as paying."""

    account_id: AccountId
    trial_started_at: Time | None = Field(None, description="A new value restarts the count of the trial's emails")
    billing_entered_at: Time | None = Field(None, description="Lifts the quota for every request read after it")
    trial_days: int = Field(14, ge=0, description="Length of the trial; its end is exclusive")
    trial_email_limit: int = Field(100, ge=0, description="Emails that a trial without billing may send")
    sms_enabled: bool = Field(False, description="Whether a trial with billing may send SMS")
    disabled_templates: list[Id] = Field([], description="Ids of templates that the account has disabled")
    invitation_opt_in_enabled: bool = Field(
        False, description="Whether clients must opt in before they are sent invitations"
    )
    blocked: Blocked | None = None
    updated_at: Time


class RecipientPreference(Record):
    """The preferences of one recipient of one account."""

    account_id: AccountId
    recipient_kind: RecipientKind
    recipient_id: NonblankId
    declined_templates: list[Id] = Field([], description="Ids of templates that the recipient has declined")
    invitation_opted_in: bool = False
    updated_at: Time
