"""The gate's pure steps without Kafka: stage by stage, with the topics in any order within a stage.

Tests compare it with both oracles; tests/stack and tests/gate do the same with real processes.
"""

from collections import defaultdict, deque
from collections.abc import Iterable, Iterator
from hashlib import sha256
from itertools import count
from random import Random
from typing import Any

from processors.engine import Output
from processors.gate.by_account import AccountStep
from processors.gate.by_address import AddressStep
from processors.gate.intake import internal_messages
from projections.suppressions.rules import GateRules
from schemas.decoding.decoders import decoders
from schemas.errors import RecordInvalid
from schemas.topics import GATE_BY_ACCOUNT, GATE_BY_ADDRESS, GATE_INPUTS, SENDS_DECIDED, SUPPRESSIONS_CHANGED
from tests.building import FakeRecord

__all__ = ["Gate"]

PARTITIONS = 3
_INPUTS = frozenset(topic.name for topic in GATE_INPUTS)


class Gate:
    """The gate in memory. `decided` and `changed` are the values of its output topics, in the order of writing."""

    def __init__(self, now_us: int, rules: GateRules | None = None, rng: Random | None = None) -> None:
        rules = rules or GateRules()
        self.decided: list[bytes] = []
        self.changed: list[bytes] = []
        self._now_us, self._rng, self._offsets = now_us, rng or Random(0), count()
        self._decoders = decoders(decision_days=rules.decision_days)
        self._steps: dict[str, Any] = {
            GATE_BY_ADDRESS.name: AddressStep(rules),
            GATE_BY_ACCOUNT.name: AccountStep(rules),
        }
        self._states: dict[str, dict[bytes, Any]] = {name: {} for name in self._steps}
        self._queues: defaultdict[tuple[str, int], deque[FakeRecord]] = defaultdict(deque)

    def read(self, stage: Iterable[Output]) -> None:
        """Read all records of a stage, of those topics that the gate reads, and everything that follows from them."""
        self._write(output for output in stage if output.topic in _INPUTS)
        while ready := sorted(place for place, queue in self._queues.items() if queue):
            place = self._rng.choice(ready)
            self._write(self._processed(self._queues[place].popleft()))

    def _processed(self, record: FakeRecord) -> Iterator[Output]:
        if record.topic in self._steps:
            states = self._states[record.topic]
            done = self._steps[record.topic](states, [record])
            states |= done.changed
            for key in [key for key, state in done.changed.items() if state is None]:
                del states[key]
            yield from done.outputs
            return
        try:
            yield from internal_messages(record, self._decoders)
        except RecordInvalid:
            return

    def _write(self, outputs: Iterable[Output]) -> None:
        for output in outputs:
            topic, key, value = output.topic, output.key or b"", output.value or b""
            if topic == SENDS_DECIDED.name:
                self.decided.append(value)
            elif topic == SUPPRESSIONS_CHANGED.name:
                self.changed.append(value)
            else:
                at_ms = self._now_us // 1000
                record = FakeRecord(topic, value, key, output.headers, offset=next(self._offsets), timestamp=at_ms)
                self._queues[topic, sha256(key).digest()[0] % PARTITIONS].append(record)
