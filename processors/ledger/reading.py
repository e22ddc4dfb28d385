"""Records of the log, read into what the tables are made of.

In:  records of the topics in `LEDGER_INPUTS`, in any order.
Out: a `Sheet`: events of messages, events of none, facts, contents, states of addresses, what people wrote (commands,
policies, preferences), and what could not be read.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from pydantic import ValidationError

from processors.dead_letters import Letter
from processors.disorder import Disorder
from processors.engine import Record
from processors.places import place_of
from projections.accounts.columns import StatedPolicy, StatedPreference
from projections.messages.matching import ProviderId, of_everybody
from schemas.decoding import decoder
from schemas.errors import RecordInvalid
from schemas.events import Bad, Event, Place
from schemas.facts import (
    Content,
    Decision,
    Dispatch,
    Request,
    decode_content,
    decode_decision,
    decode_dispatch,
    decode_request,
    event_of,
)
from schemas.gate_facts import Command, decode_command, decode_policy, decode_preference
from schemas.providers import ADAPTERS
from schemas.records import problems
from schemas.suppressions import SuppressionState
from schemas.topics import (
    ACCOUNTS_POLICIES,
    PARKED_BY_GATE,
    RECIPIENTS_PREFERENCES,
    SENDS_CONTENT,
    SENDS_DECIDED,
    SENDS_DISPATCHED,
    SENDS_REQUESTED,
    SUPPRESSIONS_CHANGED,
    SUPPRESSIONS_COMMANDS,
    WEBHOOKS,
)

__all__ = ["Sheet", "read_records"]


@dataclass(slots=True)
class Sheet:
    """What a group of records says."""

    events: list[Event] = field(default_factory=list)
    """Providers' events that name a message."""
    orphans: list[Event] = field(default_factory=list)
    """Providers' events that name none."""
    requests: list[Request] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    dispatches: list[Dispatch] = field(default_factory=list)
    contents: list[Content] = field(default_factory=list)
    suppressions: list[SuppressionState] = field(default_factory=list)
    commands: list[Command] = field(default_factory=list)
    policies: list[StatedPolicy] = field(default_factory=list)
    preferences: list[StatedPreference] = field(default_factory=list)
    of_everybody: list[Event] = field(default_factory=list)
    """Those of `orphans` that have a log row of their own, in the account of everybody."""
    letters: list[Letter] = field(default_factory=list)
    passed_over: list[Record] = field(default_factory=list)
    """What could not be read either, and is the gate's to park."""
    disorder: Disorder = field(default_factory=Disorder)
    """Told by the rows, so the writer fills it in."""

    def timeline(self) -> list[Event]:
        """All that goes to the messages' timelines: first the events, then our own facts as events."""
        facts: list[Request | Decision | Dispatch] = [*self.requests, *self.decisions, *self.dispatches]
        return [*self.events, *self.of_everybody, *(event_of(fact) for fact in facts)]

    def provider_ids(self) -> set[ProviderId]:
        """The provider ids under which an orphan and a dispatch may meet."""
        found = {ProviderId(e.provider, e.provider_message_id) for e in self.orphans if e.provider_message_id}
        return found | {ProviderId(d.provider, d.provider_message_id) for d in self.dispatches}


_PASSED_OVER: Final = frozenset(topic.name for topic in PARKED_BY_GATE)
_ADAPTERS: Final = {WEBHOOKS[name].name: to_events for name, to_events in ADAPTERS.items()}


def read_records(records: Iterable[Record], *, decision_days: int) -> Sheet:
    """Return what the records say. A malformed one becomes a letter, unless the gate parks those of its topic.

    Only a fault of our own code raises.
    """
    sheet = Sheet()
    said: list[Event] = []
    for record in records:
        value = record.value or b""
        try:
            if to_events := _ADAPTERS.get(record.topic):
                events, bad = to_events(value, place_of(record), record.headers or ())
                said.extend(events)
                if bad:
                    sheet.letters.extend(Letter(record, one) for one in bad)
                elif not events:  # a post of no element
                    sheet.passed_over.append(record)
            elif record.topic == SENDS_REQUESTED.name:
                sheet.requests.append(decode_request(value, place_of(record), decision_days=decision_days))
            elif record.topic == SENDS_DECIDED.name:
                sheet.decisions.append(decode_decision(value, place_of(record)))
            elif record.topic == SENDS_DISPATCHED.name:
                sheet.dispatches.append(decode_dispatch(value, place_of(record)))
            elif record.topic == SENDS_CONTENT.name:
                sheet.contents.append(decode_content(value, place_of(record)))
            elif record.topic == SUPPRESSIONS_CHANGED.name:
                sheet.suppressions.append(_suppression(value, place_of(record)))
            elif record.topic == SUPPRESSIONS_COMMANDS.name:
                sheet.commands.append(decode_command(value, place_of(record)))
            elif record.topic == ACCOUNTS_POLICIES.name:
                sheet.policies.append(StatedPolicy(decode_policy(value, place_of(record)), _text(value)))
            elif record.topic == RECIPIENTS_PREFERENCES.name:
                sheet.preferences.append(StatedPreference(decode_preference(value, place_of(record)), _text(value)))
            else:
                raise AssertionError(f"the ledger does not read {record.topic}")
        except RecordInvalid as invalid:
            if record.topic in _PASSED_OVER:
                sheet.passed_over.append(record)
            else:
                sheet.letters.append(Letter(record, Bad(invalid.reason, invalid.detail, value, None)))
    # After the loop, which would ask each event by itself: a comprehension costs less.
    sheet.events = [event for event in said if event.message_id]
    sheet.orphans = [event for event in said if not event.message_id]
    sheet.of_everybody = [row for event in sheet.orphans if (row := of_everybody(event))]
    return sheet


def _text(value: bytes) -> str:
    """A record as text. JSON is UTF-8, but inside of fields that nobody knows decoders let anything pass."""
    return value.decode("utf-8", "replace")


@decoder
def _suppression(value: bytes, place: Place) -> SuppressionState:
    try:
        return SuppressionState.model_validate_json(value)
    except ValidationError as error:
        raise RecordInvalid("record_invalid", problems(error), place) from None  # the cause would show the value
