"""A worker process for the tests that owns state: it counts the records of each key, and says every count.

    python -m tests.engine.keyed_worker '{"broker": …, "group": …, "stages": […], "datadir": …, "oracle": …}'

Each stage writes, for a record, one output `{"key": …, "count": …, "from": [partition, offset]}` under the same key.
A record of value `forget` makes it forget the key. What happened is in Kafka; the oracle file holds control lines only.
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
    Bounds,
    Codec,
    KeyedAgent,
    MicroBatchApp,
    Moment,
    Output,
    Phase,
    Record,
    Step,
    StepFunction,
    run_app,
)
from processors.engine.app import Isolation
from tests.engine.worker import Oracle

COUNTS: Codec[int] = Codec(encode=lambda count: b"%d" % count, decode=int)


class Stage(BaseModel):
    """One agent: from a topic, over its changelog, to a topic."""

    source: str
    changelog: str
    output: str


class Orders(BaseModel):
    """What a test tells its worker to do."""

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
    """…the so-manieth time that it comes there…"""
    halt_stage: int = 0
    """…in this stage."""
    halt_with: int = signal.SIGKILL
    log_level: str = "ERROR"


def counting(output: str) -> StepFunction[int]:
    """Return the step of a stage that writes to `output`."""

    def step(states: Mapping[bytes, int], records: Sequence[Record]) -> Step[int]:
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
        return Step(outputs, changed)

    return step


class Watcher:
    """Is told of every phase: counts the keys in memory, and halts the process where a test wants it."""

    def __init__(self, orders: Orders, oracle: Oracle) -> None:
        self._orders, self._oracle = orders, oracle
        self._source = orders.stages[orders.halt_stage].source
        self._came = 0
        self.keys: dict[TP, int] = {}

    def __call__(self, moment: Moment) -> None:
        if moment.phase is Phase.APPLIED:
            self.keys[moment.tp] = moment.count
        if moment.tp.topic == self._source and moment.phase == self._orders.halt_at:
            self._came += 1
            if self._came == self._orders.halt_on:
                self._oracle.note("# halt")
                os.kill(os.getpid(), self._orders.halt_with)


def make_app(orders: Orders, watcher: Watcher) -> MicroBatchApp:
    app = MicroBatchApp(
        orders.group,
        broker=f"kafka://{orders.broker}",
        instance=orders.instance,
        datadir=orders.datadir,
        stall=orders.stall,
        isolation=orders.isolation,
        metadata_max_age=orders.metadata_max_age,
        broker_max_poll_records=orders.max_poll_records,
        broker_session_timeout=orders.session,
    )
    for stage in orders.stages:
        KeyedAgent(
            app,
            source=stage.source,
            changelog=stage.changelog,
            step=counting(stage.output),
            codec=COUNTS,
            outputs=[] if orders.undeclared else [stage.output],
            bounds=Bounds(records=orders.records),
            on_phase=watcher,
        )
    return app


async def main(orders: Orders) -> int:
    oracle = Oracle(orders.oracle)
    watcher = Watcher(orders, oracle)
    code = await run_app(make_app(orders, watcher), ready=lambda: oracle.note("# ready"), grace=orders.grace)
    oracle.note(f"# keys {sum(watcher.keys.values())}", f"# exit {code}")
    return code


if __name__ == "__main__":
    told = Orders.model_validate(json.loads(sys.argv[1]))
    logging.basicConfig(
        level=told.log_level, stream=sys.stderr, format="%(asctime)s %(name)s %(levelname)s %(message)s"
    )
    sys.exit(asyncio.run(main(told)))
