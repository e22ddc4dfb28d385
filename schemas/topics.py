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
    "FRAME_BYTES",
    "GATE_BY_ACCOUNT",
    "GATE_BY_ADDRESS",
    "GATE_INPUTS",
    "GATE_INTERNAL",
    "INTERNAL_RETENTION_DAYS",
    "LEDGER_INPUTS",
    "MAX_RECORD_BYTES",
    "PARKED_BY_GATE",
    "RECIPIENTS_PREFERENCES",
    "SENDS_CONTENT",
    "SENDS_DECIDED",
    "SENDS_DISPATCHED",
    "SENDS_REQUESTED",
    "SUPPRESSIONS_CHANGED",
    "SUPPRESSIONS_COMMANDS",
    "WEBHOOKS",
    "InternalTopic",
    "Topic",
]

MAX_RECORD_BYTES: Final = 8 * 1024 * 1024
FRAME_BYTES: Final = 64 * 1024
"""Room for the headers and the batch around a record of the full size."""

_DAY_MS: Final = 86_400_000
_FOR_EVER: Final = "-1"


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic. `keep`: a fact, kept for ever; `content`: deleted after `CONTENT_RETENTION_DAYS`."""

    name: str
    key: str
    holds: str
    written_by: str
    cleanup: Literal["keep", "content"] = "keep"

    def configuration(self, content_retention_days: int) -> dict[str, str]:
        """Return what a broker must be told of this topic, in Kafka's words."""
        return {
            "cleanup.policy": "delete",
            "retention.ms": str(content_retention_days * _DAY_MS) if self.cleanup == "content" else _FOR_EVER,
            "retention.bytes": _FOR_EVER,
            "max.message.bytes": str(MAX_RECORD_BYTES + FRAME_BYTES),
            # Times of records are the log's, not the senders': "ahead" and "old" are measured from them.
            "message.timestamp.type": "LogAppendTime",
        }


_BOOKING: Final = "booking services, `POST /v1/sends`"

SENDS_REQUESTED = Topic("sends.requested", key="message_id", holds="SendRequest", written_by=_BOOKING)
SENDS_CONTENT = Topic("sends.content", key="message_id", holds="SendContent", written_by=_BOOKING, cleanup="content")
SENDS_DECIDED = Topic("sends.decided", key="message_id", holds="SendDecision", written_by="gate")
SENDS_DISPATCHED = Topic(
    "sends.dispatched", key="message_id", holds="SendDispatched", written_by="whatever calls the provider"
)
WEBHOOKS: Final = {
    provider: Topic(
        f"webhooks.{provider}", key="webhook_id", holds="the POST's body, byte for byte", written_by="gateway"
    )
    for provider in ("sendgrid", "twilio", "postmark")
}
ACCOUNTS_POLICIES = Topic("accounts.policies", key="account_id", holds="AccountPolicy", written_by="billing, settings")
RECIPIENTS_PREFERENCES = Topic(
    "recipients.preferences",
    key="account_id/kind/recipient_id",
    holds="RecipientPreference",
    written_by="client profile",
)
SUPPRESSIONS_COMMANDS = Topic(
    "suppressions.commands", key="channel:address", holds="SuppressionCommand", written_by="console, API, CLI"
)
SUPPRESSIONS_CHANGED = Topic("suppressions.changed", key="channel:address", holds="SuppressionState", written_by="gate")
DEAD_LETTERS = Topic(
    "dead-letters", key="as the source", holds="the source's value, byte for byte", written_by="any processor"
)

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

LEDGER_INPUTS: Final = (
    SENDS_REQUESTED,
    SENDS_CONTENT,
    SENDS_DECIDED,
    SENDS_DISPATCHED,
    SUPPRESSIONS_CHANGED,
    *WEBHOOKS.values(),
    SUPPRESSIONS_COMMANDS,
    ACCOUNTS_POLICIES,
    RECIPIENTS_PREFERENCES,
)
"""What the ledger reads. It is also the owner that parks their dead letters, but for `PARKED_BY_GATE`."""
PARKED_BY_GATE: Final = frozenset({SUPPRESSIONS_COMMANDS, ACCOUNTS_POLICIES, RECIPIENTS_PREFERENCES})
"""Topics whose malformed records the gate parks; who else reads them passes such records over."""


@dataclass(frozen=True, slots=True)
class InternalTopic:
    """A topic between two parts of the gate, with the changelog of whoever reads it. Nobody else's business."""

    name: str
    key: str

    @property
    def changelog(self) -> str:
        """The compacted topic that holds the reader's state."""
        return f"{self.name}.changelog"


GATE_BY_ADDRESS: Final = InternalTopic("gate.by-address", key="channel:address")
GATE_BY_ACCOUNT: Final = InternalTopic("gate.by-account", key="account_id")
GATE_INTERNAL: Final = (GATE_BY_ADDRESS, GATE_BY_ACCOUNT)
GATE_INPUTS: Final = (
    SENDS_REQUESTED,
    ACCOUNTS_POLICIES,
    RECIPIENTS_PREFERENCES,
    SUPPRESSIONS_COMMANDS,
    *WEBHOOKS.values(),
)
"""What the gate goes by. It parks the dead letters of policies, preferences and commands; the rest is the ledger's."""
INTERNAL_RETENTION_DAYS: Final = 30
"""How long a record of the gate's own topics is kept: longer than the gate may ever stand still."""
