"""Decode records of the log for the tables.

In:  records of the topics in `LEDGER_INPUTS`, in any order.
Out: a `DecodedBatch`: events of messages, orphan events, facts (requests, decisions, dispatches), contents and their
erasure, suppression states, commands, policies and preferences, and dead letters for what could not be decoded.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, assert_never

from processors.dead_letters import DeadLetter
from processors.engine import Record
from processors.ledger.disorder import Disorder
from processors.source_positions import source_position
from projections.accounts.columns import PolicyRow, PreferenceRow
from projections.messages.matching import ProviderId, platform_wide_event
from schemas.decoding.decoders import OwnRecord, decoders
from schemas.decoding.gate_inputs import Command, Policy, Preference
from schemas.decoding.sends import Content, Decision, Dispatch, Erasure, Request, event_of
from schemas.errors import RecordInvalid
from schemas.events import Event, Parsed, Rejection
from schemas.suppressions import SuppressionState
from schemas.topics import PARKED_BY_GATE

__all__ = ["DecodedBatch", "read_records"]


@dataclass(slots=True)
class DecodedBatch:
    """The decoded content of a group of records."""

    events: list[Event] = field(default_factory=list)
    """Provider events that contain our message id."""
    orphans: list[Event] = field(default_factory=list)
    """Provider events without our message id."""
    requests: list[Request] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    dispatches: list[Dispatch] = field(default_factory=list)
    contents: list[Content] = field(default_factory=list)
    erasures: list[Erasure] = field(default_factory=list)
    suppressions: list[SuppressionState] = field(default_factory=list)
    commands: list[Command] = field(default_factory=list)
    policies: list[PolicyRow] = field(default_factory=list)
    preferences: list[PreferenceRow] = field(default_factory=list)
    platform_wide_events: list[Event] = field(default_factory=list)
    """Those of `orphans` that have their own row in `events`, in the platform-wide account."""
    letters: list[DeadLetter] = field(default_factory=list)
    skipped: list[Record] = field(default_factory=list)
    """Records without rows that are not dead-lettered here: empty, or malformed in a topic that the gate parks."""
    disorder: Disorder = field(default_factory=Disorder)
    """Counted from the rows, so the writer sets it."""

    def timeline(self) -> list[Event]:
        """The rows of the message timelines: provider events first, then our own facts as events."""
        facts: list[Request | Decision | Dispatch] = [*self.requests, *self.decisions, *self.dispatches]
        return [*self.events, *self.platform_wide_events, *(event_of(fact) for fact in facts)]

    def provider_ids(self) -> set[ProviderId]:
        """The provider ids by which orphans and dispatches can be matched."""
        found = {ProviderId(e.provider, e.provider_message_id) for e in self.orphans if e.provider_message_id}
        return found | {ProviderId(d.provider, d.provider_message_id) for d in self.dispatches}


_PARKED_BY_GATE: Final = frozenset(topic.name for topic in PARKED_BY_GATE)


def read_records(records: Iterable[Record], *, decision_days: int) -> DecodedBatch:
    """Decode the records. A malformed one becomes a dead letter, unless the gate parks those of its topic.

    Raises only if our own code fails.
    """
    decoded, by_topic = DecodedBatch(), decoders(decision_days=decision_days)
    provider_events: list[Event] = []
    for record in records:
        value = record.value or b""
        try:
            fact = by_topic[record.topic](value, source_position(record), record.headers or ())
        except RecordInvalid as invalid:
            if record.topic in _PARKED_BY_GATE:
                decoded.skipped.append(record)
            else:
                decoded.letters.append(DeadLetter(record, Rejection(invalid.reason, invalid.detail, value, None)))
            continue
        if isinstance(fact, Parsed):
            provider_events.extend(fact.events)
            if fact.rejections:
                decoded.letters.extend(DeadLetter(record, one) for one in fact.rejections)
            elif not fact.events:  # an empty webhook
                decoded.skipped.append(record)
        else:
            _add(decoded, fact, value)
    # After the loop, since comprehensions cost less than a check of each event.
    decoded.events = [event for event in provider_events if event.message_id]
    decoded.orphans = [event for event in provider_events if not event.message_id]
    decoded.platform_wide_events = [row for event in decoded.orphans if (row := platform_wide_event(event))]
    return decoded


def _add(decoded: DecodedBatch, fact: OwnRecord, value: bytes) -> None:
    match fact:
        case Request():
            decoded.requests.append(fact)
        case Decision():
            decoded.decisions.append(fact)
        case Dispatch():
            decoded.dispatches.append(fact)
        case Content():
            decoded.contents.append(fact)
        case Erasure():
            decoded.erasures.append(fact)
        case SuppressionState():
            decoded.suppressions.append(fact)
        case Command():
            decoded.commands.append(fact)
        case Policy():
            decoded.policies.append(PolicyRow(fact, _text(value)))
        case Preference():
            decoded.preferences.append(PreferenceRow(fact, _text(value)))
        case _:
            assert_never(fact)


def _text(value: bytes) -> str:
    """Return a record as text. JSON is UTF-8, but decoders don't check the content of unknown fields."""
    return value.decode("utf-8", "replace")
