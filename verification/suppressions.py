"""Compare what the gate has published about addresses with what its rules, or other ones, make of the log.

In:  the evidence in the log: webhooks and suppression commands; what the gate has published in `suppressions.changed`.
Out: the addresses that would be suppressed, free, or suppressed for another reason or since another time.
Promise: nothing is written. Decisions are not made anew: which messages were refused stays as it was.

The evidence of all addresses is kept in memory, some 300 bytes for each address of which something is known.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, Final, NamedTuple

import orjson
from aiokafka import TopicPartition

from processors.engine import Record
from processors.gate.intake import evidence_in
from processors.kafka.lag import lag, wait_until_caught_up
from processors.kafka.read_topic import AtOffset, read_topic
from processors.source_positions import source_position
from projections.suppressions.addressing import AddressKey
from projections.suppressions.evidence import AddressEvidence
from projections.suppressions.published import suppression_state_value
from projections.suppressions.rows import decode_address, encode_address
from projections.suppressions.rules import GateRules
from projections.suppressions.state import UNKNOWN_ADDRESS, AddressState, merge, snapshot
from schemas.consumer_groups import ConsumerGroup, gate_group
from schemas.decoding.decoders import decoders
from schemas.decoding.gate_inputs import Command
from schemas.errors import BrokerError, RecordInvalid
from schemas.events import Parsed
from schemas.kafka_connection import KafkaAddress
from schemas.suppressions import SuppressionState
from schemas.topics import SUPPRESSIONS_CHANGED, SUPPRESSIONS_COMMANDS, WEBHOOKS

__all__ = ["AddressChange", "EvidenceInLog", "SuppressionComparison", "changes_of", "compare_suppressions", "stated"]

FREE: Final = "free"
_EVIDENCE: Final = (*(topic.name for topic in WEBHOOKS.values()), SUPPRESSIONS_COMMANDS.name)
_GATE_WITHIN_SECONDS: Final = 60.0
_SAY_RECORDS: Final = 10_000

Say = Callable[[str], None]


class AddressChange(NamedTuple):
    """One suppression or opt-out of an address that would be different."""

    address: str
    """`channel:address`."""
    of: str
    """The scope; of an opt-out also its group or sender."""
    before: str
    """What the gate has published: `free`, or the reason and since when."""
    after: str

    @property
    def transition(self) -> tuple[str, str]:
        """Before and after, without their times."""
        return self.before.partition(" ")[0], self.after.partition(" ")[0]


@dataclass(frozen=True, slots=True)
class SuppressionComparison:
    """What would be different."""

    addresses: int = 0
    """Addresses of which there is evidence."""
    changes: tuple[AddressChange, ...] = ()
    transitions: Counter[tuple[str, str]] = field(default_factory=Counter)
    skipped: Mapping[str, int] = field(default_factory=dict)
    """Records and elements that were not understood, by the reason: dead letters of the gate or of the ledger."""


def stated(value: bytes) -> dict[str, str]:
    """Return what a record of `suppressions.changed` states to be in force: what it is about, and why and since when.

    How a scope that was released had been suppressed is left out: it depends on when the gate read what.
    """
    record: dict[str, Any] = orjson.loads(value)
    found = {s["scope"]: f"{s['reason']} since {s['since']}" for s in record["scopes"] if s["suppressed"]}
    for out in record["opt_outs"]:
        named = [f"{name} {out[name]}" for name in ("group", "sender") if out.get(name)]
        found["/".join([out["scope"], *named, "opt-out"])] = f"{out['reason']} since {out['since']}"
    return found


def changes_of(address: str, before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[AddressChange]:
    """Yield what is different of one address."""
    for of in sorted(before.keys() | after.keys()):
        was, would_be = before.get(of, FREE), after.get(of, FREE)
        if was != would_be:
            yield AddressChange(address, of, was, would_be)


class EvidenceInLog:
    """The evidence of all addresses, as far as the log was read."""

    def __init__(self, rules: GateRules) -> None:
        self._rules = rules
        self._decoders = decoders(decision_days=rules.decision_days)
        self._rows: dict[AddressKey, bytes] = {}
        """As the gate keeps them: encoded, an address takes a third of the memory."""
        self.read_to: dict[TopicPartition, int] = {}
        self.skipped = Counter[str]()
        """Records and elements that were not understood, by the reason."""

    @property
    def addresses(self) -> list[AddressKey]:
        """The addresses of which there is evidence."""
        return list(self._rows)

    def take(self, record: Record) -> None:
        """Add the evidence in a record."""
        decode = self._decoders[record.topic]
        try:
            read = decode(record.value or b"", source_position(record), record.headers or ())
        except RecordInvalid as invalid:
            self.skipped[invalid.reason] += 1
        except Exception as error:  # as in the gate: a record on which our code fails stops no other
            self.skipped[f"our code fails: {type(error).__name__}"] += 1
        else:
            assert isinstance(read, Parsed | Command), record.topic
            if isinstance(read, Parsed):
                self.skipped.update(rejection.reason for rejection in read.rejections)
            for evidence in evidence_in(read):
                self._add(evidence)

    def states(self, key: AddressKey) -> dict[str, str]:
        """Return what follows from the evidence of an address, in the form of `stated`."""
        row = self._rows.get(key)
        now = snapshot(UNKNOWN_ADDRESS if row is None else decode_address(row), self._rules)
        return stated(suppression_state_value(key, now, version=1, changed_us=0))

    def _add(self, found: AddressEvidence) -> None:
        row = self._rows.get(found.key)
        known = UNKNOWN_ADDRESS if row is None else decode_address(row)
        merged = merge(known, AddressState({found.evidence.key: found.evidence}), self._rules)
        self._rows[found.key] = encode_address(merged)


async def compare_suppressions(
    bootstrap: KafkaAddress, gate: str, rules: GateRules, say: Say
) -> SuppressionComparison | None:
    """Fold the evidence of the whole log by `rules`, and compare with what the gate of that group has published.

    None if the gate has never read the log. Raises BrokerError, also if the gate is not running and has not read all.
    """
    if not any(p.committed for p in (await lag(bootstrap, [gate_group(gate)])).partitions):
        return None
    log = EvidenceInLog(rules)
    first = await _changes(bootstrap, gate, log, say)
    # What is written meanwhile may be in one and not yet in the other: what counts is found twice.
    changes = first and first & await _changes(bootstrap, gate, log, say)
    transitions = Counter(change.transition for change in changes)
    return SuppressionComparison(len(log.addresses), tuple(sorted(changes)), transitions, log.skipped)


async def _changes(bootstrap: KafkaAddress, gate: str, log: EvidenceInLog, say: Say) -> set[AddressChange]:
    """Read the log to its present end, wait until the gate has, and compare all addresses."""
    await _read_on(bootstrap, log, say)
    behind = await wait_until_caught_up(bootstrap, [gate_group(gate)], within_seconds=_GATE_WITHIN_SECONDS)
    if behind:
        raise BrokerError(
            f"The gate has not read {behind:,} records: what it published can't be compared yet",
            f"group {gate}",
            "See that its workers run (`sendledger lag --group gate`), and try again",
        )
    return await asyncio.to_thread(_compared, log, await _published(bootstrap))


async def _published(bootstrap: KafkaAddress) -> dict[AddressKey, bytes]:
    """Return the newest record of each address."""
    decode, found = decoders(decision_days=1)[SUPPRESSIONS_CHANGED.name], dict[AddressKey, bytes]()
    async with aclosing(read_topic(bootstrap, SUPPRESSIONS_CHANGED.name)) as records:
        async for record in records:
            value = record.value or b""
            with contextlib.suppress(RecordInvalid):  # the ledger parks it
                state = decode(value, source_position(record), record.headers or ())
                assert isinstance(state, SuppressionState)
                found[AddressKey(state.channel, state.address)] = value
    return found


def _compared(log: EvidenceInLog, published: Mapping[AddressKey, bytes]) -> set[AddressChange]:
    found = set[AddressChange]()
    for key in {*log.addresses, *published}:
        before = stated(published[key]) if key in published else {}
        found.update(changes_of(str(key), before, log.states(key)))
    return found


async def _read_on(bootstrap: KafkaAddress, log: EvidenceInLog, say: Say) -> None:
    """Read what the log has and `log` has not."""
    measured = await lag(bootstrap, [ConsumerGroup("", _EVIDENCE)])
    unread = {TopicPartition(p.topic, p.partition): p.end for p in measured.partitions}
    left = sum(end - log.read_to.get(tp, 0) for tp, end in unread.items())
    started, read = monotonic(), 0
    for tp, end in unread.items():
        since = log.read_to.get(tp, 0)
        if end <= since:
            continue
        window = read_topic(bootstrap, tp.topic, partition=tp.partition, since=AtOffset(since), until=AtOffset(end))
        async with aclosing(window) as records:
            async for record in records:
                log.take(record)
                read += 1
                if read % _SAY_RECORDS == 0:
                    rate = read / (monotonic() - started)
                    say(f"{left - read:,} records with evidence to read, {rate:,.0f} records/s")
        log.read_to[tp] = end
