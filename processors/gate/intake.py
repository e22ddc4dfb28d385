"""The gate's intake: reads the input topics and forwards what they say, keyed by address or by account.

In:  `sends.requested`, `accounts.policies`, `recipients.preferences`, `suppressions.commands` and `webhooks.*`.
Out: records of `gate.by-address` and `gate.by-account`; dead letters of malformed policies, preferences and commands,
and of any record that our own code fails on or that makes a record too large for Kafka.

Delivery is at least once, without a transaction: every message has an id of its own, by which repeats are recognised.
Malformed requests and webhooks are skipped here, since the ledger parks them. A bad record affects no other record.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from operator import attrgetter
from typing import Final, assert_never

from processors.dead_letters import DeadLetter, LetterWriter, letter_of_failure
from processors.engine import (
    FailedItem,
    FailureLimit,
    Output,
    PoisonRecordDetector,
    Record,
    RecordBatch,
    TransientDependencyError,
)
from processors.engine.transactions import with_partitions
from processors.gate.messages import evidence_message, policy_message, preference_message, screen_request
from processors.kafka.ports import RecordProducer
from processors.source_positions import source_position
from projections.suppressions.evidence import AddressEvidence, evidence_of, evidence_of_command
from projections.suppressions.rules import GateRules
from schemas.decoding.decoders import Decode, decoders
from schemas.decoding.gate_inputs import Command, Policy, Preference
from schemas.decoding.sends import Content, Decision, Dispatch, Erasure, Request
from schemas.errors import BrokerError, RecordInvalid, RecordRefused
from schemas.events import Parsed, Rejection
from schemas.suppressions import SuppressionState
from schemas.telemetry import RECORDS_TOTAL, Telemetry
from schemas.topics import PARKED_BY_GATE

__all__ = ["TRANSIENT_ERRORS", "Intake", "evidence_in", "internal_messages"]

TRANSIENT_ERRORS: Final = (BrokerError, TransientDependencyError)
"""Errors after which the same records are tried again. The engine raises the second one where every record fails: then
Kafka or our code is the cause, and not a record."""

_PARKED_HERE: Final = frozenset(topic.name for topic in PARKED_BY_GATE)
"""Topics whose malformed records the gate parks."""

_KNOWN_GOOD_BYTES: Final = 64 * 1024
"""The largest value of a record that is kept as known good, one per topic: see `PoisonRecordDetector`."""


def evidence_in(read: Parsed | Command) -> Iterator[AddressEvidence]:
    """Yield the evidence in the events of a webhook or in a command."""
    match read:
        case Command():
            yield evidence_of_command(read)
        case Parsed(events):
            yield from filter(None, map(evidence_of, events))
        case unhandled:
            assert_never(unhandled)


def internal_messages(record: Record, by_topic: Mapping[str, Decode]) -> Iterator[Output]:
    """Yield the messages that an input record gives. Raises RecordInvalid."""
    match by_topic[record.topic](record.value or b"", source_position(record), record.headers or ()):
        case (Parsed() | Command()) as read:
            yield from map(evidence_message, evidence_in(read))
        case Request() as request:
            yield screen_request(request)
        case Policy() as policy:
            yield policy_message(policy)
        case Preference() as preference:
            yield preference_message(preference)
        case Decision() | Dispatch() | Content() | Erasure() | SuppressionState():
            raise AssertionError(f"the gate does not read {record.topic}")
        case unhandled:
            assert_never(unhandled)


@dataclass(slots=True)
class _Read:
    """The messages that some records give. `outputs[n]` comes from `sources[n]`."""

    outputs: list[Output] = field(default_factory=list)
    sources: list[Record] = field(default_factory=list)
    understood: list[Record] = field(default_factory=list)
    invalid: list[DeadLetter] = field(default_factory=list)
    failed: list[FailedItem[Record]] = field(default_factory=list)
    """Records on which our own code raised an exception."""


class Intake:
    """Forwards groups of input records as messages to the agents."""

    def __init__(
        self, kafka: RecordProducer, letters: LetterWriter, telemetry: Telemetry, rules: GateRules, limit: FailureLimit
    ) -> None:
        self._kafka, self._letters, self._telemetry = kafka, letters, telemetry
        self._decoders = decoders(decision_days=rules.decision_days)
        # Two separate checks: can our code decode records of this topic, and does Kafka accept their messages?
        self._reading = PoisonRecordDetector[Record](attrgetter("topic"), limit, passing=TRANSIENT_ERRORS)
        self._writing = PoisonRecordDetector[Record](attrgetter("topic"), limit, passing=TRANSIENT_ERRORS)
        self._counts: Callable[[], Mapping[str, int]] = dict

    def use_partition_counts(self, counts: Callable[[], Mapping[str, int]]) -> None:
        """Choose partitions by the counts that the gate's topics were created with, once these are known."""
        self._counts = counts

    async def write(self, group: Sequence[RecordBatch]) -> None:
        """Return when Kafka has acknowledged all messages of the group. Raises TRANSIENT_ERRORS: then retry."""
        read = self._read(chain.from_iterable(batch.records for batch in group))
        if read.failed:
            await self._reading.confirm(read.failed, read.understood, self._read_again)
        refused = await self._forward(read.outputs, read.sources)
        if refused:
            refused_ids = {id(failed.item) for failed in refused}
            accepted = [source for source in read.sources if id(source) not in refused_ids]
            await self._writing.confirm(refused, accepted, self._forward_again)
        await self._letters.park([*read.invalid, *map(_letter, [*read.failed, *refused])])
        self._reading.mark_good(_small(read.understood))
        if not refused:
            self._writing.mark_good(_small(read.sources))
        for batch in group:
            self._telemetry.counter(RECORDS_TOTAL, topic=batch.tp.topic).inc(len(batch))

    def _read(self, records: Iterable[Record]) -> _Read:
        read = _Read()
        for record in records:
            try:
                outputs = list(internal_messages(record, self._decoders))
            except RecordInvalid as invalid:
                if record.topic in _PARKED_HERE:  # the ledger parks those of the other topics
                    rejection = Rejection(invalid.reason, invalid.detail, record.value or b"", None)
                    read.invalid.append(DeadLetter(record, rejection))
            except Exception as error:  # a bad record, or a bug of ours: `PoisonRecordDetector` decides
                read.failed.append(FailedItem(record, error))
            else:
                read.understood.append(record)
                read.outputs.extend(outputs)
                read.sources.extend([record] * len(outputs))
        return read

    async def _forward(self, outputs: Sequence[Output], sources: Sequence[Record]) -> list[FailedItem[Record]]:
        """Write the outputs, and return the records whose messages Kafka refuses. Raises BrokerError."""
        try:
            await self._kafka.send_batches(with_partitions(outputs, self._counts()))
        except RecordRefused as refused:
            by_id = {id(sources[n]): sources[n] for n in refused.refused}
            return [FailedItem(source, refused) for source in by_id.values()]
        return []

    async def _read_again(self, records: Sequence[Record]) -> Iterable[Record]:
        for record in records:
            list(internal_messages(record, self._decoders))
        return records

    async def _forward_again(self, records: Sequence[Record]) -> Iterable[Record]:
        read = self._read(records)
        for failed in await self._forward(read.outputs, read.sources):
            raise failed.error
        return records


def _small(records: Iterable[Record]) -> Iterable[Record]:
    """Return the last record of each topic that is small enough to be kept as known good."""
    return {record.topic: record for record in records if len(record.value or b"") <= _KNOWN_GOOD_BYTES}.values()


def _letter(failed: FailedItem[Record]) -> DeadLetter:
    reason = "output_too_large" if isinstance(failed.error, RecordRefused) else "code_failed"
    return letter_of_failure(failed, reason, "Fix what the error names, then redrive the record from dead-letters")
