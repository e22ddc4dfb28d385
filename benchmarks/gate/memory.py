"""The gate's memory: how much of a worker's a million addresses take, and a million decisions.

In:  addresses that bounced once and decisions of usual requests, made by the gate's own steps.
Out: `Memory` of each: bytes of a changelog row, and what the process grew by once the rows are read back as a worker
     reads them. Each kind is measured in a process of its own, since Python gives freed memory back late or never.
"""

import gc
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

from benchmarks.gate.requests import a_request
from processors.engine import TP
from processors.engine.changelog import StateCodec, Table
from projections.decisions.account import Accounts
from projections.suppressions.evidence import Evidence, Kind
from projections.suppressions.rows import encode_address
from projections.suppressions.rules import DEFAULT_RULES
from projections.suppressions.state import EMPTY_SNAPSHOT, UNKNOWN_ADDRESS, apply_evidence
from schemas.decoding.ids import fact_id, uuid7
from schemas.decoding.sends import decode_request
from schemas.decoding.times import SECOND_US
from schemas.events import SourcePosition

__all__ = ["Memory", "measure_memory", "memory_rows"]

_NOW_US: Final = 1_780_000_000 * SECOND_US
_RUN: Final = 200
"""Decisions of one run: more share a row that says when to forget them."""


@dataclass(frozen=True, slots=True)
class _Row:
    """A row of a changelog, as a consumer gives it."""

    key: bytes
    value: bytes
    topic: str = ""
    partition: int = 0
    offset: int = 0
    timestamp: int = 0
    headers: tuple[tuple[str, bytes], ...] = ()


@dataclass(frozen=True, slots=True)
class Memory:
    """What so many states take."""

    states: str
    count: int
    row_bytes: int
    """Keys and values in the changelog."""
    grown_bytes: int
    """Of the process."""


def measure_memory(count: int) -> list[Memory]:
    """Return what `count` addresses take, and as many decisions."""
    found = []
    for states in _KINDS:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
            found.append(process.submit(_measured, states, count).result())
    return found


def memory_rows(memories: list[Memory]) -> list[dict[str, Any]]:
    """Return rows for a table."""
    return [
        {
            "states": memory.states,
            "count": memory.count,
            "changelog_bytes_each": round(memory.row_bytes / memory.count),
            "memory_bytes_each": round(memory.grown_bytes / memory.count),
            "megabytes_per_million": round(memory.grown_bytes / memory.count * 1e6 / 2**20),
        }
        for memory in memories
    ]


def _measured(states: str, count: int) -> Memory:
    table = Table[bytes](TP("gate", 0))
    size = 0
    make = _KINDS[states]
    for _ in make(1_000):
        pass  # what the code itself needs is no state's
    gc.collect()
    before = _resident_bytes()
    for key, value in make(count):
        size += len(key) + len(value)
        table.take(_Row(key, value), StateCodec(bytes, bytes))
    gc.collect()
    return Memory(states, count, size, _resident_bytes() - before)


def _addresses(count: int) -> Iterator[tuple[bytes, bytes]]:
    for number in range(count):
        message = f"sendgrid:14c5d75ce93.dfd.{number:08x}"
        bounce = Evidence(Kind.BOUNCE, fact_id([number]), _NOW_US + number, _NOW_US + number, message=message)
        state = apply_evidence(UNKNOWN_ADDRESS, bounce, DEFAULT_RULES).state
        yield b"email:recipient%d@example.com" % number, encode_address(state)


def _decisions(count: int) -> Iterator[tuple[bytes, bytes]]:
    runs: dict[bytes, bytes] = {}
    for start in range(0, count, _RUN):
        accounts = Accounts(runs)
        for number in range(start, min(start + _RUN, count)):
            at_us = _NOW_US + number * 1000
            value = a_request(number, uuid7(at_us, fact_id([number]).encode()), at_us)
            request = decode_request(value, SourcePosition("sends.requested", 0, number, at_us), decision_days=30)
            accounts.decide(request, EMPTY_SNAPSHOT, decided_us=at_us, rules=DEFAULT_RULES)
        accounts.end_run(_NOW_US, DEFAULT_RULES)
        written = {key: bytes(row) for key, row in accounts.changes.items() if row is not None}
        runs = {key: row for key, row in written.items() if key.startswith(b"\x00runs")}
        yield from written.items()


_KINDS: Final[Mapping[str, Callable[[int], Iterator[tuple[bytes, bytes]]]]] = {
    "addresses with one bounce": _addresses,
    "decisions": _decisions,
}


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
