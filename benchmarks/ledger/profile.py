"""Where the time goes: each step of a group by itself, in one process, on the real endpoint.

In:  groups of 20,000 events, as posts and as one-event records.
Out: microseconds an event of each step, and of the endpoint's CPU in the two inserts; the median over the groups.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

from benchmarks.ledger.surroundings import Usage, fresh_store, place
from benchmarks.ledger.throughput import SHAPES, Shape
from benchmarks.ledger.traffic import traffic
from processors.ledger.decode import read_records
from projections.messages.columns import events_table, state_table
from simulator.kafka import record_of
from simulator.plan import Delivery

__all__ = ["Steps", "take_apart"]

GROUP_EVENTS: Final = 20_000


@dataclass(frozen=True, slots=True)
class Steps:
    """Microseconds an event, by step."""

    shape: str
    wall: dict[str, float]
    own_cpu: dict[str, float]
    """Of this process; unlike `wall` it hardly depends on what else runs on the machine."""
    endpoint_cpu: dict[str, float]


@dataclass(frozen=True, slots=True)
class _Record:
    """A record as the Kafka client gives it."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes
    value: bytes
    headers: tuple[tuple[str, bytes], ...]


async def take_apart(groups: int) -> list[Steps]:
    """Return the steps' times for each shape of traffic."""
    async with place() as where:
        store = fresh_store(where, "profile")
        steps = [await asyncio.to_thread(_steps, shape, groups, store.insert, where.pids) for shape in SHAPES]
        store.close()
        return steps


def _steps(shape: Shape, groups: int, insert: Callable[[str, Any], None], pids: dict[str, int]) -> Steps:
    clock = _Clock(pids)
    for number in range(groups + 1):  # the first one warms up
        load = traffic(GROUP_EVENTS, shape.per_post, now=time.time(), seed=number, provider=shape.provider)
        records = _records(load.posts)
        with clock.step("decode (read_records)"):
            sheet = read_records(records, decision_days=30)
        with clock.step("fold: events_table"):
            events = events_table(sheet.timeline())
        with clock.step("fold: state_table"):
            states = state_table(events)
        with clock.step("insert events"):
            insert("events", events)
        with clock.step("insert message_state"):
            insert("message_state", states)
        if number == 0:
            clock.forget()
    return Steps(shape.name, clock.per_event(clock.wall), clock.per_event(clock.own), clock.per_event(clock.endpoint))


class _Clock:
    def __init__(self, pids: dict[str, int]) -> None:
        self._pids = pids
        self.wall: dict[str, list[float]] = defaultdict(list)
        self.own: dict[str, list[float]] = defaultdict(list)
        self.endpoint: dict[str, list[float]] = defaultdict(list)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        before, began, started = Usage.now(self._pids), time.process_time(), time.perf_counter()
        yield
        self.wall[name].append(time.perf_counter() - started)
        self.own[name].append(time.process_time() - began)
        if name.startswith("insert"):
            self.endpoint[name].append(Usage.now(self._pids).since(before)["clickhouse"])

    def forget(self) -> None:
        self.wall.clear()
        self.own.clear()
        self.endpoint.clear()

    @staticmethod
    def per_event(seconds: dict[str, list[float]]) -> dict[str, float]:
        return {name: median(values) * 1e6 / GROUP_EVENTS for name, values in seconds.items()}


def _records(posts: list[Delivery]) -> list[_Record]:
    now_ms = int(time.time() * 1000)
    told = ((post, *record_of(post)) for post in posts)
    return [
        _Record(topic, n % 4, n // 4, now_ms, key, post.value, tuple(headers))
        for n, (post, topic, key, headers) in enumerate(told)
    ]
