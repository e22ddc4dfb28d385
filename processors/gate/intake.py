"""The gate's way in: all that it goes by, read where it stands and forwarded by address or by account.

In:  `sends.requested`, `accounts.policies`, `recipients.preferences`, `suppressions.commands` and `webhooks.*`.
Out: records of `gate.by-address` and `gate.by-account`; malformed policies, preferences and commands as dead letters.

At least once, and no transaction: all that is forwarded has an id of its own, and is folded by it. A malformed request
or webhook is the ledger's to park, and is passed over here.
"""

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from processors.dead_letters import DeadLetters, Letter
from processors.engine import Output, Record, RecordBatch, send_batches
from processors.gate.forwarding import asked, policy_said, preference_said, said_of_address
from processors.places import place_of
from projections.gate.evidence import evidence_of, evidence_of_command
from projections.gate.rules import Rules
from schemas.errors import BrokerError, RecordInvalid
from schemas.events import Bad
from schemas.facts import decode_request
from schemas.gate_facts import decode_command, decode_policy, decode_preference
from schemas.providers import ADAPTERS
from schemas.telemetry import Telemetry
from schemas.topics import (
    ACCOUNTS_POLICIES,
    RECIPIENTS_PREFERENCES,
    SENDS_REQUESTED,
    SUPPRESSIONS_COMMANDS,
    WEBHOOKS,
)

__all__ = ["Intake", "forwarded"]

_ADAPTERS: Final = {WEBHOOKS[name].name: to_events for name, to_events in ADAPTERS.items()}


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


class Intake:
    """Forwards groups of records."""

    def __init__(self, kafka: AIOKafkaProducer, letters: DeadLetters, telemetry: Telemetry, rules: Rules) -> None:
        self._kafka, self._letters, self._telemetry, self._rules = kafka, letters, telemetry, rules

    async def write(self, group: Sequence[RecordBatch]) -> None:
        """Return when Kafka has all that follows from the group. Raises BrokerError to be repeated."""
        outputs: list[Output] = []
        letters: list[Letter] = []
        for record in chain.from_iterable(batch.records for batch in group):
            try:
                outputs.extend(forwarded(record, self._rules))
            except RecordInvalid as invalid:
                if record.topic != SENDS_REQUESTED.name:  # those the ledger parks
                    letters.append(Letter(record, Bad(invalid.reason, invalid.detail, record.value or b"", None)))
        await self._send(outputs)
        if letters:
            await self._letters.park(letters)
            for letter in letters:
                self._telemetry.counter("dead_letters_total", letter.record.topic, letter.bad.reason).inc()
        for batch in group:
            self._telemetry.counter("records_total", batch.tp.topic).inc(len(batch))

    async def _send(self, outputs: Sequence[Output]) -> None:
        try:
            await send_batches(self._kafka, outputs)
        except KafkaError as error:
            raise BrokerError(
                f"Kafka does not take what the gate forwards: {type(error).__name__}", "gate.*", "It is tried again"
            ) from error
