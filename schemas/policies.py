"""What an account may send, and what a recipient wishes: the records that the gate decides by.

In:  JSON objects of `accounts.policies` and `recipients.preferences`, each written by the one service that owns it.
Out: validated models. A record is whole: what it omits has its default, whatever an earlier record said; of several
the one with the latest `updated_at` is in force. Times are checked for their form only, never against a clock.
"""

from pydantic import Field

from schemas.records import AccountId, Id, NonblankId, RecipientKind, Record, Time

__all__ = ["AccountPolicy", "Blocked", "RecipientPreference"]


class Blocked(Record):
    """That an account may send nothing, from `since` on."""

    reason: str
    since: Time


class AccountPolicy(Record):
    """What one account may send. Without `trial_started_at` it is a paying account."""

    account_id: AccountId
    trial_started_at: Time | None = Field(None, description="Another time starts another count of the trial's emails")
    billing_entered_at: Time | None = Field(None, description="Lifts the quota for every request read after it")
    trial_days: int = Field(14, ge=0, description="The trial's end is excluded from it")
    trial_email_limit: int = Field(100, ge=0, description="Emails of a trial without billing")
    sms_enabled: bool = Field(False, description="Whether a trial with billing may send SMS")
    disabled_templates: list[Id] = Field([], description="Ids of templates that the account has switched off")
    invitation_opt_in_enabled: bool = Field(
        False, description="Whether clients must have opted in before they are sent invitations"
    )
    blocked: Blocked | None = None
    updated_at: Time


class RecipientPreference(Record):
    """What one recipient of one account wishes."""

    account_id: AccountId
    recipient_kind: RecipientKind
    recipient_id: NonblankId
    declined_templates: list[Id] = Field([], description="Ids of templates that the recipient does not want")
    invitation_opted_in: bool = False
    updated_at: Time
