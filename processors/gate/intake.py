"""The gate's way in: all that it goes by, read where it stands and forwarded by address or by account.

In:  `sends.requested`, `accounts.policies`, `recipients.preferences`, `suppressions.commands` and `webhooks.*`.
Out: records of `gate.by-address` and `gate.by-account`; dead letters of malformed policies, preferences and commands,
and of any record that our own code fails on or that makes a record too large for Kafka.

At least once, and no transaction: all that is forwarded has an id of its own, and is folded by it. A malformed request
or webhook is the ledger's to park, and is passed over here. One record's fault costs that record alone.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from operator import attrgetter
from typing import Final

import structlog

from processors.dead_letters import DeadLetters, Letter
from processors.engine import (
    Blame,
    Fault,
    FaultLimit,
    Output,
    Record,
    RecordBatch,
    WorldFault,
    described,
    placed,
    where_is,
)
from processors.gate.forwarding import asked, policy_said, preference_said, said_of_address
from processors.kafka import Producer
from processors.places import place_of
from projections.gate.evidence import evidence_of, evidence_of_command
from projections.gate.rules import Rules
from schemas.errors import BrokerError, RecordInvalid, RecordRefused
from schemas.events import Bad
from schemas.facts import decode_request
from schemas.gate_facts import decode_command, decode_policy, decode_preference
from schemas.providers import ADAPTERS
from schemas.telemetry import Telemetry
from schemas.topics import (
    ACCOUNTS_POLICIES,
    PARKED_BY_GATE,
    RECIPIENTS_PREFERENCES,
    SENDS_REQUESTED,
    SUPPRESSIONS_COMMANDS,
    WEBHOOKS,
)

__all__ = ["WORLD", "Intake", "forwarded"]

log = structlog.get_logger()

WORLD: Final = (BrokerError, WorldFault)
"""Faults that are waited out; the second is the engine's word for a Kafka, or a code of ours, that takes nothing."""

_ADAPTERS: Final = {WEBHOOKS[name].name: to_events for name, to_events in ADAPTERS.items()}

_OWN: Final = frozenset(topic.name for topic in PARKED_BY_GATE)
"""Topics whose malformed records the gate parks."""

_PROOF_BYTES: Final = 64 * 1024
"""A record that went through is kept, one a topic, if its value is no larger: see `Blame`."""


def forwarded(record: Record, rules: Rules) -> Iterator[Output]:
    """Yield what follows from a record. Raises RecordInvalid."""
    value, place = record.value or b"", place_of(record)
    if to_events := _ADAPTERS.get(record.topic):
        for event in to_events(value, place, record.headers or ()).events:
            if (addressed := evidence_of(event)) is not None:
                yield said_of_address(addressed)
    elif record.topic == SENDS_REQUESTED.name:
        yield asked(decode_request(value, place, decision_days=rules.decision_days))
    elif record.topic == ACCOUNTS_POLICIES.name:
        yield policy_said(decode_policy(value, place))
    elif record.topic == RECIPIENTS_PREFERENCES.name:
        yield preference_said(decode_preference(value, place))
    elif record.topic == SUPPRESSIONS_COMMANDS.name:
        yield said_of_address(evidence_of_command(decode_command(value, place)))
    else:
        raise AssertionError(f"the gate does not read {record.topic}")


@dataclass(slots=True)
class _Read:
    """What follows from some records. `sources[n]` is where `outputs[n]` comes from."""

    outputs: list[Output] = field(default_factory=list)
    sources: list[Record] = field(default_factory=list)
    understood: list[Record] = field(default_factory=list)
    invalid: list[Letter] = field(default_factory=list)
    failed: list[Fault[Record]] = field(default_factory=list)
    """Records on which our own code raised."""


class Intake:
    """Forwards groups of records."""

    def __init__(
        self, kafka: Producer, letters: DeadLetters, telemetry: Telemetry, rules: Rules, limit: FaultLimit
    ) -> None:
        self._kafka, self._letters, self._telemetry, self._rules = kafka, letters, telemetry, rules
        # Two questions, each with its own proof: does our code read a topic, and does Kafka take what follows from it?
        self._reading = Blame[Record](attrgetter("topic"), limit, passing=WORLD)
        self._writing = Blame[Record](attrgetter("topic"), limit, passing=WORLD)
        self._counts: Callable[[], Mapping[str, int]] = dict

    def place_by(self, counts: Callable[[], Mapping[str, int]]) -> None:
        """Place what is forwarded by the partition counts that the gate's topics had at their birth, once known."""
        self._counts = counts

    async def write(self, group: Sequence[RecordBatch]) -> None:
        """Return when Kafka has all that follows from the group. Raises a fault of WORLD to be repeated."""
        read = self._read(chain.from_iterable(batch.records for batch in group))
        if read.failed:
            await self._reading.judge(read.failed, read.understood, self._read_again)
        refused = await self._forward(read.outputs, read.sources)
        if refused:
            at_fault = {id(fault.item) for fault in refused}
            taken = [source for source in read.sources if id(source) not in at_fault]
            await self._writing.judge(refused, taken, self._forward_again)
        await self._letters.park([*read.invalid, *map(_letter, [*read.failed, *refused])])
        self._reading.went_through(_small(read.understood))
        if not refused:
            self._writing.went_through(_small(read.sources))
        for batch in group:
            self._telemetry.counter("records_total", batch.tp.topic).inc(len(batch))

    def _read(self, records: Iterable[Record]) -> _Read:
        read = _Read()
        for record in records:
            try:
                outputs = list(forwarded(record, self._rules))
            except RecordInvalid as invalid:
                if record.topic in _OWN:  # the others the ledger parks
                    bad = Bad(invalid.reason, invalid.detail, record.value or b"", None)
                    read.invalid.append(Letter(record, bad))
            except Exception as error:  # a mistake of ours must not stop the topic: `Blame` says whether it is one
                read.failed.append(Fault(record, error))
            else:
                read.understood.append(record)
                read.outputs.extend(outputs)
                read.sources.extend([record] * len(outputs))
        return read

    async def _forward(self, outputs: Sequence[Output], sources: Sequence[Record]) -> list[Fault[Record]]:
        """Write the outputs, and return the records whose own Kafka refuses. Raises BrokerError."""
        try:
            await self._kafka.send_batches(placed(outputs, self._counts()))
        except RecordRefused as refused:
            of = {id(sources[n]): sources[n] for n in refused.refused}
            return [Fault(source, refused) for source in of.values()]
        return []

    async def _read_again(self, records: Sequence[Record]) -> Iterable[Record]:
        for record in records:
            list(forwarded(record, self._rules))
        return records

    async def _forward_again(self, records: Sequence[Record]) -> Iterable[Record]:
        read = self._read(records)
        for fault in await self._forward(read.outputs, read.sources):
            raise fault.error
        return records


def _small(records: Iterable[Record]) -> Iterable[Record]:
    """Return the last of each topic that is small enough to be kept."""
    return {record.topic: record for record in records if len(record.value or b"") <= _PROOF_BYTES}.values()


def _letter(fault: Fault[Record]) -> Letter:
    log.error(
        "record.at_fault",
        what=described(fault.error),
        where=where_is(fault.item),
        mend="Mend what the error names; the record is in dead-letters, and can be sent again",
    )
    reason = "output_too_large" if isinstance(fault.error, RecordRefused) else "code_failed"
    detail = f"{type(fault.error).__name__}: {fault.error}"
    return Letter(fault.item, Bad(reason, detail, fault.item.value or b"", None))
