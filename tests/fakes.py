"""Fakes of the ports: a Kafka producer, dead letters, a store. Each passes the same contract tests as the real one
(tests/contracts).

The fake of transactions is in tests/engine/fake_transactions.py.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pyarrow as pa

from processors.dead_letters import DeadLetter
from processors.engine import Output
from schemas.errors import BrokerError, RecordRefused, StoreError, StoreRefused

__all__ = ["FakeKafka", "FakeLetters", "FakeStore", "Sent"]


class Sent(NamedTuple):
    """A record as it was written."""

    topic: str
    key: bytes
    value: bytes
    headers: dict[str, bytes]


@dataclass(eq=False)
class FakeKafka:
    """Keeps the records that are sent, or fails as configured."""

    outputs: list[Output] = field(default_factory=list)
    """The written records, in order."""
    errors: list[Exception] = field(default_factory=list)
    """Raised by the next calls, one each."""
    fails: bool = False
    """Whether Kafka is unavailable."""
    full_topics: set[str] = field(default_factory=set)
    """Topics that refuse every record as too large."""
    refused_parts: frozenset[bytes] = frozenset()
    """A record whose value contains one of these is refused as too large."""
    max_bytes: int = 1 << 30
    """The maximum size of a value in all other topics."""
    healthy: bool = True
    topics: frozenset[str] = frozenset()

    @property
    def sent(self) -> list[Sent]:
        """The written records without partitions; an absent key or value is empty."""
        return [Sent(o.topic, o.key or b"", o.value or b"", dict(o.headers)) for o in self.outputs]

    async def start(self) -> None:
        self._raise_if_unavailable()

    async def stop(self) -> None: ...

    async def metadata(self) -> frozenset[str]:
        self._raise_if_unavailable()
        return self.topics

    async def send_all(self, outputs: Sequence[Output], *, within_seconds: float | None = None) -> None:
        if self.errors:
            raise self.errors.pop(0)
        if self.fails:
            raise BrokerError("Kafka does not acknowledge", outputs[0].topic if outputs else "", "make it answer")
        refused = {n: "too large" for n, output in enumerate(outputs) if self._refuses(output)}
        self.outputs += [output for n, output in enumerate(outputs) if n not in refused]
        if refused:
            raise RecordRefused("Kafka refuses records", outputs[min(refused)].topic, refused)

    async def send_batches(self, outputs: Sequence[Output], *, within_seconds: float | None = None) -> None:
        await self.send_all(outputs, within_seconds=within_seconds)

    def _raise_if_unavailable(self) -> None:
        if self.fails:
            raise BrokerError("Kafka does not answer", "nowhere", "make it answer")

    def _refuses(self, output: Output) -> bool:
        value = output.value or b""
        return (
            output.topic in self.full_topics
            or len(value) > self.max_bytes
            or any(part in value for part in self.refused_parts)
        )


@dataclass
class FakeLetters:
    """Keeps the parked letters. `errors` are raised by the next calls, one each."""

    parked: list[DeadLetter] = field(default_factory=list)
    errors: list[Exception] = field(default_factory=list)
    away: bool = False
    """Whether Kafka is unavailable."""

    async def park(self, letters: Sequence[DeadLetter]) -> None:
        if self.away and letters:
            raise BrokerError("Kafka does not answer", "nowhere", "make it answer")
        if self.errors:
            raise self.errors.pop(0)
        self.parked += letters

    @property
    def reasons(self) -> list[tuple[str, int, str]]:
        """Topic, offset and reason of each."""
        return [(letter.record.topic, letter.record.offset, letter.rejection.reason) for letter in self.parked]


@dataclass
class FakeStore:
    """Keeps the addresses of events that are inserted; refuses an insert with one of `refused`.

    `errors` are raised by the next calls, one each.
    """

    refused: frozenset[str] = frozenset()
    errors: list[Exception] = field(default_factory=list)
    addresses: list[str] = field(default_factory=list)
    away: bool = False
    """Whether ClickHouse is unavailable."""

    def tuples(self, sql: str, parameters: Mapping[str, object] | None = None) -> Sequence[Sequence[Any]]:
        """Return no rows: a fake can't run SQL."""
        self._raise_if_away()
        return []

    def delete(self, table: str, where: str, parameters: Mapping[str, object]) -> None:
        """Delete nothing: a fake can't evaluate SQL."""
        self._raise_if_away()

    def insert(self, table: str, rows: pa.Table) -> None:
        self._raise_if_away()
        if self.errors:
            raise self.errors.pop(0)
        if table == "events":
            found = [str(address) for address in rows.column("address").to_pylist()]
            if self.refused & set(found):
                raise StoreRefused("no", "here", "never")
            self.addresses += found

    def _raise_if_away(self) -> None:
        if self.away:
            raise StoreError("ClickHouse does not answer", "nowhere", "make it answer")
