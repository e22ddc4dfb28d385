"""Interfaces between the app, its consumer and its agents, so that these modules need not import each other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from processors.engine.batch import TP
from processors.engine.clock import Clock

Isolation = Literal["read_committed", "read_uncommitted"]


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """Settings of the engine, in addition to Faust's. README.md explains the values."""

    inflight: int
    drain_seconds: float
    stall_seconds: float
    isolation: Isolation
    fetch_bytes: int
    after_large: Callable[[], None]


class StatefulAgent(Protocol):
    """What the app needs of an agent with state (`keyed.py`)."""

    source: str
    changelog: str
    outputs: frozenset[str]

    @property
    def partitions(self) -> int: ...

    def check(self, partitions: Mapping[str, int], cleanup: Mapping[str, str]) -> None: ...
    def check_count(self, counts: Mapping[str, int]) -> None: ...
    async def take_over(self, tps: set[TP]) -> bool: ...
    def resume(self) -> None: ...
    def commit_idle_position(self, tp: TP, offset: int) -> None: ...
    def positions(self) -> Mapping[TP, int]: ...
    async def release(self) -> None: ...


class ConsumerApp(Protocol):
    """What the transport needs of the app: first what Faust's own app has, then what `MicroBatchApp` adds."""

    conf: Any
    monitor: Any
    flow_control: Any

    @property
    def should_stop(self) -> bool: ...
    @property
    def crashed(self) -> bool: ...
    @property
    def consumer_generation_id(self) -> int: ...

    engine: EngineSettings

    @property
    def clock(self) -> Clock: ...

    @property
    def topics_read(self) -> frozenset[str]: ...
    @property
    def self_committing(self) -> Mapping[str, StatefulAgent]: ...
    def starts(self) -> Mapping[TP, int]: ...
    def resume(self) -> None: ...
    def commit_idle_position(self, tp: TP, offset: int) -> None: ...
    def check_partition_counts(self, counts: Mapping[str, int]) -> None: ...
    async def release(self) -> None: ...
