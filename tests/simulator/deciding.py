"""A plan decided by the gate's pure steps, without Kafka: chapter by chapter, and within one in any order of topics.

What the oracle says of decisions and addresses is held against this; tests/stack does the same with the real thing.
"""

from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from random import Random
from typing import Any

import orjson

from processors.engine import Output
from processors.gate.by_account import AccountStep
from processors.gate.by_address import AddressStep
from processors.gate.intake import forwarded
from projections.gate.rules import Rules
from schemas.errors import RecordInvalid
from schemas.topics import GATE_BY_ACCOUNT, GATE_BY_ADDRESS, SENDS_DECIDED, SUPPRESSIONS_CHANGED
from simulator.kafka import record_of
from simulator.posts import Delivery, Plan
from tests.building import FakeRecord

__all__ = ["Gate"]

PARTITIONS = 3
READ_BY_GATE = ("request", "policy", "preference", "command", "post")


@dataclass
class Gate:
    """A gate in memory. `decisions` and `changes` are the values of its two topics, in the order of writing."""

    now_us: int
    rng: Random
    rules: Rules = field(default_factory=Rules)
    decisions: list[Any] = field(default_factory=list)
    changes: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._queues: defaultdict[tuple[str, int], deque[FakeRecord]] = defaultdict(deque)
        self._by_address, self._by_account = AddressStep(self.rules), AccountStep(self.rules)
        self._addresses: dict[bytes, Any] = {}
        self._accounts: dict[bytes, Any] = {}

    def read(self, plan: Plan) -> None:
        """Read all of a plan."""
        for chapter in plan.chapters:
            for delivery in chapter:
                if delivery.kind in READ_BY_GATE:
                    self._arrive(delivery)
            while ready := [place for place, queue in self._queues.items() if queue]:
                place = self.rng.choice(sorted(ready))
                self._step(place[0], [self._queues[place].popleft()])

    def _arrive(self, delivery: Delivery) -> None:
        topic, key, headers = record_of(delivery)
        self._put(Output(topic, key, delivery.value, headers))

    def _step(self, topic: str, records: Sequence[FakeRecord]) -> None:
        if topic == GATE_BY_ADDRESS.name:
            self._all(self._by_address, self._addresses, records)
        elif topic == GATE_BY_ACCOUNT.name:
            self._all(self._by_account, self._accounts, records)
        else:
            for record in records:
                for output in self._forwarded(record):
                    self._put(output)

    def _forwarded(self, record: FakeRecord) -> Iterator[Output]:
        try:
            yield from forwarded(record, self.rules)
        except RecordInvalid:
            return

    def _all(self, step: Any, states: dict[bytes, Any], records: Sequence[FakeRecord]) -> None:
        done = step(states, records)
        for key, state in done.changed.items():
            if state is None:
                states.pop(key, None)
            else:
                states[key] = state
        for output in done.outputs:
            self._put(output)

    def _put(self, output: Output) -> None:
        if output.topic == SENDS_DECIDED.name:
            self.decisions.append(orjson.loads(output.value or b""))
        elif output.topic == SUPPRESSIONS_CHANGED.name:
            self.changes.append(orjson.loads(output.value or b""))
        else:
            key = output.key or b""
            queue = self._queues[output.topic, sha256(key).digest()[0] % PARTITIONS]
            queue.append(
                FakeRecord(
                    output.topic,
                    output.value or b"",
                    key,
                    output.headers,
                    offset=len(queue),
                    timestamp=self.now_us // 1000,
                )
            )
