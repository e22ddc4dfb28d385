"""A worker process with state for tests: it counts the records of each key, and writes every count.

    python -m tests.engine.keyed_worker '{"broker": …, "group": …, "stages": […], "datadir": …, "oracle": …}'

Each stage writes, for a record, one output `{"key": …, "count": …, "from": [partition, offset]}` under the same key.
A record with the value `forget` deletes the key. The results are in Kafka; the oracle file has control lines only.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import BaseModel

from processors.engine import (
    TP,
    KeyedAgent,
    MicroBatchApp,
    Output,
    Phase,
    PhaseEvent,
    Record,
    StateCodec,
    StepFunction,
    StepResult,
    TransactionLimits,
    run_app,
)
from processors.engine.interfaces import Isolation
from tests.engine.worker import Oracle

COUNTS: StateCodec[int] = StateCodec(encode=lambda count: b"%d" % count, decode=int)


class Stage(BaseModel):
    """One agent: from a topic, over its changelog, to a topic."""

    source: str
    changelog: str
    output: str


class WorkerConfig(BaseModel):
    """The configuration of a worker."""

    broker: str
    group: str
    stages: list[Stage]
    datadir: Path
    oracle: Path
    instance: str | None = None
    session: float = 6.0
    stall: float = 120.0
    grace: float = 20.0
    metadata_max_age: float = 60.0
    max_poll_records: int = 500
    records: int = 2_000
    isolation: Isolation = "read_committed"
    undeclared: bool = False
    """Write to a topic that is not among the outputs."""
    halt_at: Phase | None = None
    """Send itself `halt_with` in this phase…"""
    halt_on: int = 1
    """…the n-th time that it is reached…"""
    halt_stage: int = 0
    """…in this stage."""
    halt_with: int = signal.SIGKILL
    log_level: str = "ERROR"


def counting(output: str) -> StepFunction[int]:
    """Return the step of a stage that writes to `output`."""

    def step(states: Mapping[bytes, int], records: Sequence[Record]) -> StepResult[int]:
        outputs: list[Output] = []
        changed: dict[bytes, int | None] = {}
        for record in records:
            if record.value == b"poison":
                raise ValueError("told to fail")
            key = record.key or b""
            before = changed[key] if key in changed else states.get(key)
            changed[key] = now = None if record.value == b"forget" else (before or 0) + 1
            said = {"key": key.decode(), "count": now, "from": [record.partition, record.offset]}
            outputs.append(Output(output, key, json.dumps(said).encode(), [("before", b"%d" % (before or 0))]))
        return StepResult(outputs, changed)

    return step


class Watcher:
    """Receives every phase event: counts the keys in memory, and halts the process where a test wants it."""

    def __init__(self, config: WorkerConfig, oracle: Oracle) -> None:
        self._config, self._oracle = config, oracle
        self._source = config.stages[config.halt_stage].source
        self._came = 0
        self.keys: dict[TP, int] = {}

    def __call__(self, event: PhaseEvent) -> None:
        if event.phase is Phase.APPLIED:
            self.keys[event.tp] = event.count
        if event.tp.topic == self._source and event.phase == self._config.halt_at:
            self._came += 1
            if self._came == self._config.halt_on:
                self._oracle.note("# halt")
                os.kill(os.getpid(), self._config.halt_with)


def make_app(config: WorkerConfig, watcher: Watcher) -> MicroBatchApp:
    app = MicroBatchApp(
        config.group,
        broker=f"kafka://{config.broker}",
        instance=config.instance,
        datadir=config.datadir,
        stall=config.stall,
        isolation=config.isolation,
        metadata_max_age=config.metadata_max_age,
        broker_max_poll_records=config.max_poll_records,
        broker_session_timeout=config.session,
    )
    for stage in config.stages:
        KeyedAgent(
            app,
            source=stage.source,
            changelog=stage.changelog,
            step=counting(stage.output),
            codec=COUNTS,
            outputs=[] if config.undeclared else [stage.output],
            limits=TransactionLimits(records=config.records),
            on_phase=watcher,
        )
    return app


async def main(config: WorkerConfig) -> int:
    oracle = Oracle(config.oracle)
    watcher = Watcher(config, oracle)
    code = await run_app(make_app(config, watcher), ready=lambda: oracle.note("# ready"), grace=config.grace)
    oracle.note(f"# keys {sum(watcher.keys.values())}", f"# exit {code}")
    return code


if __name__ == "__main__":
    config = WorkerConfig.model_validate(json.loads(sys.argv[1]))
    logging.basicConfig(
        level=config.log_level, stream=sys.stderr, format="%(asctime)s %(name)s %(levelname)s %(message)s"
    )
    sys.exit(asyncio.run(main(config)))
