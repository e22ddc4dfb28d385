"""All topics: name, key, retention, and what their records hold.

Order is guaranteed within one topic and key only. Names never change, because other systems read the topics.
Partition counts and replication factors come from settings.
"""

from dataclasses import dataclass
from typing import Final, Literal

__all__ = [
    "ACCOUNTS_POLICIES",
    "ALL_TOPICS",
    "DEAD_LETTERS",
    "DEAD_LETTERS_HANDLED",
    "GATE_BY_ACCOUNT",
    "GATE_BY_ADDRESS",
    "GATE_INPUTS",
    "GATE_INTERNAL",
    "INTERNAL_RETENTION_DAYS",
    "LEDGER_INPUTS",
    "MAX_MESSAGE_BYTES",
    "MAX_RECORD_BYTES",
    "PARKED_BY_GATE",
    "RECIPIENTS_PREFERENCES",
    "SENDS_CONTENT",
    "SENDS_DECIDED",
    "SENDS_DISPATCHED",
    "SENDS_ERASED",
    "SENDS_REQUESTED",
    "SUPPRESSIONS_CHANGED",
    "SUPPRESSIONS_COMMANDS",
    "WEBHOOKS",
    "InternalTopic",
    "Topic",
]

MAX_RECORD_BYTES: Final = 8 * 1024 * 1024
MAX_MESSAGE_BYTES: Final = MAX_RECORD_BYTES + 64 * 1024
"""Kafka's `max.message.bytes`: a value of the maximum size, with room for key, headers and the overhead of a batch."""

_DAY_MS: Final = 86_400_000
_FOR_EVER: Final = "-1"


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic. `cleanup` is `keep` (facts: kept for ever) or `content` (deleted after `CONTENT_RETENTION_DAYS`)."""

    name: str
    key: str
    holds: str
    written_by: str
    cleanup: Literal["keep", "content"] = "keep"
    by_us: bool = False
    """Whether only our own processes write it. Other systems write the rest, themselves or through our API."""

    def configuration(self, content_retention_days: int | None = None) -> dict[str, str]:
        """Return the Kafka topic configuration; without the days that contents are kept, not the retention of those."""
        settings = {
            "cleanup.policy": "delete",
            "retention.bytes": _FOR_EVER,
            "max.message.bytes": str(MAX_MESSAGE_BYTES),
            # Timestamps are the broker's, not the senders': whether a time is "ahead" or "old" is measured from them.
            "message.timestamp.type": "LogAppendTime",
        }
        if self.cleanup == "keep":
            settings["retention.ms"] = _FOR_EVER
        elif content_retention_days is not None:
            settings["retention.ms"] = str(content_retention_days * _DAY_MS)
        return settings


_BOOKING: Final = "booking services, `POST /v1/sends`"

SENDS_REQUESTED = Topic("sends.requested", key="message_id", holds="SendRequest", written_by=_BOOKING)
SENDS_CONTENT = Topic("sends.content", key="message_id", holds="SendContent", written_by=_BOOKING, cleanup="content")
SENDS_DECIDED = Topic("sends.decided", key="message_id", holds="SendDecision", written_by="gate", by_us=True)
SENDS_DISPATCHED = Topic(
    "sends.dispatched", key="message_id", holds="SendDispatched", written_by="the sender that calls the provider"
)
SENDS_ERASED = Topic(
    "sends.erased", key="message_id", holds="ContentErased", written_by="`sendledger erase-contents`", by_us=True
)
WEBHOOKS: Final = {
    provider: Topic(
        f"webhooks.{provider}",
        key="webhook_id",
        holds="the POST's body, byte for byte",
        written_by="gateway",
        by_us=True,
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
SUPPRESSIONS_CHANGED = Topic(
    "suppressions.changed", key="channel:address", holds="SuppressionState", written_by="gate", by_us=True
)
DEAD_LETTERS = Topic(
    "dead-letters",
    key="as the source",
    holds="the source's value, byte for byte",
    written_by="any processor",
    by_us=True,
)
DEAD_LETTERS_HANDLED = Topic(
    "dead-letters.handled",
    key="partition:offset",
    holds="DeadLetterHandled",
    written_by="`sendledger dead-letters`, gateway",
    by_us=True,
)

ALL_TOPICS: Final = (
    SENDS_REQUESTED,
    SENDS_CONTENT,
    SENDS_DECIDED,
    SENDS_DISPATCHED,
    SENDS_ERASED,
    *WEBHOOKS.values(),
    ACCOUNTS_POLICIES,
    RECIPIENTS_PREFERENCES,
    SUPPRESSIONS_COMMANDS,
    SUPPRESSIONS_CHANGED,
    DEAD_LETTERS,
    DEAD_LETTERS_HANDLED,
)

LEDGER_INPUTS: Final = (
    SENDS_REQUESTED,
    SENDS_CONTENT,
    SENDS_DECIDED,
    SENDS_DISPATCHED,
    SENDS_ERASED,
    SUPPRESSIONS_CHANGED,
    *WEBHOOKS.values(),
    SUPPRESSIONS_COMMANDS,
    ACCOUNTS_POLICIES,
    RECIPIENTS_PREFERENCES,
)
"""The topics that the ledger reads. It also parks their dead letters, except for those of `PARKED_BY_GATE`."""
PARKED_BY_GATE: Final = frozenset({SUPPRESSIONS_COMMANDS, ACCOUNTS_POLICIES, RECIPIENTS_PREFERENCES})
"""Topics whose malformed records the gate parks; other readers skip such records."""


@dataclass(frozen=True, slots=True)
class InternalTopic:
    """A topic between two parts of the gate, with the changelog of its reader. Nothing else may read them."""

    name: str
    key: str

    @property
    def changelog(self) -> str:
        """The name of the compacted topic that holds the reader's state."""
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
"""The topics that the gate reads. It parks dead letters of policies, preferences and commands; the ledger the rest."""
INTERNAL_RETENTION_DAYS: Final = 30
"""How long records of the gate's internal topics are kept: longer than the gate may ever be stopped."""
