"""Every topic of the contract, in one place: name, key, clean-up and what flows through it.

The key is the order guarantee: order is promised within one topic and key, and nowhere else. Names are never
changed: other systems read them. Partition counts and replication come from settings.
"""

from dataclasses import dataclass
from typing import Final, Literal

__all__ = [
    "ACCOUNTS_POLICIES",
    "ALL",
    "DEAD_LETTERS",
    "LEDGER_INPUTS",
    "MAX_RECORD_BYTES",
    "RECIPIENTS_PREFERENCES",
    "SENDS_CONTENT",
    "SENDS_DECIDED",
    "SENDS_DISPATCHED",
    "SENDS_REQUESTED",
    "SUPPRESSIONS_CHANGED",
    "SUPPRESSIONS_COMMANDS",
    "WEBHOOKS",
    "Topic",
]

MAX_RECORD_BYTES: Final = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic. `keep`: a fact, kept for ever; `content`: deleted after `CONTENT_RETENTION_DAYS`."""

    name: str
    key: str
    holds: str
    cleanup: Literal["keep", "content"] = "keep"


SENDS_REQUESTED = Topic("sends.requested", key="message_id", holds="SendRequest")
SENDS_CONTENT = Topic("sends.content", key="message_id", holds="what was sent: html, text", cleanup="content")
SENDS_DECIDED = Topic("sends.decided", key="message_id", holds="SendDecision")
SENDS_DISPATCHED = Topic("sends.dispatched", key="message_id", holds="SendDispatched")
WEBHOOKS: Final = {
    provider: Topic(f"webhooks.{provider}", key="webhook_id", holds="the POST's body, byte for byte")
    for provider in ("sendgrid", "twilio", "postmark")
}
ACCOUNTS_POLICIES = Topic("accounts.policies", key="account_id", holds="AccountPolicy")
RECIPIENTS_PREFERENCES = Topic(
    "recipients.preferences", key="account_id/kind/recipient_id", holds="RecipientPreference"
)
SUPPRESSIONS_COMMANDS = Topic("suppressions.commands", key="channel:address", holds="SuppressionCommand")
SUPPRESSIONS_CHANGED = Topic("suppressions.changed", key="channel:address", holds="SuppressionState")
DEAD_LETTERS = Topic("dead-letters", key="as the source", holds="the source's value, byte for byte")

ALL: Final = (
    SENDS_REQUESTED,
    SENDS_CONTENT,
    SENDS_DECIDED,
    SENDS_DISPATCHED,
    *WEBHOOKS.values(),
    ACCOUNTS_POLICIES,
    RECIPIENTS_PREFERENCES,
    SUPPRESSIONS_COMMANDS,
    SUPPRESSIONS_CHANGED,
    DEAD_LETTERS,
)

LEDGER_INPUTS: Final = (SENDS_REQUESTED, SENDS_DECIDED, SENDS_DISPATCHED, *WEBHOOKS.values())
"""What the ledger folds; it is also the owner that parks their dead letters."""
