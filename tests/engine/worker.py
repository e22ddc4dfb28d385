"""A worker process for the tests: it notes what it has processed in a file, fsynced before the acknowledgement.

    python -m tests.engine.worker '{"broker": …, "group": …, "topics": […], "datadir": …, "oracle": …}'

Lines of the oracle are `topic:partition:offset`; control lines start with `#`. What is in the topic and not in the file
was lost.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from processors.engine import Group, GroupWriter, MicroBatchApp, WorldFault, grouped, run_app


class Orders(BaseModel):
    """What a test tells its worker to do."""

    broker: str
    group: str
    topics: list[str]
    datadir: Path
    oracle: Path
    instance: str | None = None
    within: float = 0.05
    records: int = 20_000
    max_poll_records: int = 500
    drain: float = 10.0
    stall: float = 120.0
    grace: float = 20.0
    session: float = 10.0
    two_agents: bool = False
    own_agent: bool = False
    """An agent that groups, writes and acknowledges by itself, without a writer."""
    gate: Path | None = None
    """Each write waits until this file exists."""
    restore: bool = False
    """Restore some state after each assignment, as the gate does; it takes several turns of the loop."""
    pause_seconds: float = 0.0
    """A slow sink: each write takes so long."""
    max_poll_interval: float = 300.0
    metadata_max_age: float = 60.0
    request_timeout: float = 90.0
    fail_at: int | None = None
    """Raise in the write that would bring the records written to this number."""
    hang_in_thread: bool = False
    """The write hangs in a thread that nothing can cancel."""
    world_away: bool = False
    """Every write fails as if the store were away."""
    told_at_the_end: bool = False
    """SIGTERM comes once more, when the loop is closed and the process about to end."""
    note_watches: bool = False
    """Note each look at the group and the topics."""
    log_level: str = "ERROR"


class Oracle:
    """The file, written in the order of events."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab")

    def note(self, *lines: str) -> None:
        self._file.write("".join(f"{line}\n" for line in lines).encode())
        self._file.flush()
        os.fsync(self._file.fileno())


class NotingApp(MicroBatchApp):
    """Notes each look at the group and the topics."""

    note: Callable[[], None] = staticmethod(lambda: None)

    def refuse_other_counts(self, counts: Mapping[str, int]) -> None:
        super().refuse_other_counts(counts)
        self.note()


def make_app(orders: Orders, oracle: Oracle) -> MicroBatchApp:
    app = NotingApp(
        orders.group,
        broker=f"kafka://{orders.broker}",
        instance=orders.instance,
        datadir=orders.datadir,
        drain=orders.drain,
        metadata_max_age=orders.metadata_max_age,
        broker_request_timeout=orders.request_timeout,
        stall=orders.stall,
        broker_max_poll_records=orders.max_poll_records,
        broker_session_timeout=orders.session,
        broker_max_poll_interval=orders.max_poll_interval,
    )
    if orders.note_watches:
        app.note = lambda: oracle.note("# watched")
    written = 0

    async def write(group: Group) -> None:
        nonlocal written
        oracle.note("# begun", f"# lag {sum(app.lag().values())}")
        if orders.world_away:
            raise WorldFault("the store is away")
        if orders.hang_in_thread:
            await asyncio.to_thread(threading.Event().wait)
        await asyncio.sleep(orders.pause_seconds)
        while orders.gate is not None and not orders.gate.exists():  # noqa: ASYNC110 - another process opens it
            await asyncio.sleep(0.02)
        count = sum(map(len, group))
        if orders.fail_at is not None and written + count >= orders.fail_at:
            raise RuntimeError("told to fail")
        oracle.note(*(f"{r.topic}:{r.partition}:{r.offset}" for batch in group for r in batch))
        written += count

    if orders.own_agent:

        @app.agent(app.batch_topic(orders.topics[0]))  # type: ignore[untyped-decorator]  # faust
        async def alone(batches: Any) -> None:
            async for group in grouped(batches, orders.records, orders.within):
                await write(group)
                for batch in group:
                    batch.ack()

    else:
        writer = GroupWriter(app, write, records=orders.records, within=orders.within)
        for name in orders.topics:
            app.attach(app.batch_topic(name), writer)
    if orders.restore:

        @app.on_rebalance_complete.connect  # type: ignore[untyped-decorator]  # faust
        async def restore(*_: object, **__: object) -> None:
            for _turn in range(20):
                await asyncio.sleep(0.01)
            oracle.note("# restored")

    if orders.two_agents:

        @app.agent(app.batch_topic(orders.topics[0]), name="second")  # type: ignore[untyped-decorator]  # faust
        async def second(batches: Any) -> None:
            async for _ in batches:
                pass

    return app


async def main(orders: Orders) -> int:
    oracle = Oracle(orders.oracle)
    code = await run_app(make_app(orders, oracle), ready=lambda: oracle.note("# ready"), grace=orders.grace)
    oracle.note(f"# exit {code}")
    return code


if __name__ == "__main__":
    told = Orders.model_validate(json.loads(sys.argv[1]))
    logging.basicConfig(
        level=told.log_level, stream=sys.stderr, format="%(asctime)s %(name)s %(levelname)s %(message)s"
    )
    code = asyncio.run(main(told))
    if told.told_at_the_end:
        os.kill(os.getpid(), signal.SIGTERM)
    sys.exit(code)
