"""A worker process for tests: it writes what it has processed to a file, with fsync before the acknowledgement.

    python -m tests.engine.worker '{"broker": …, "group": …, "topics": […], "datadir": …, "oracle": …}'

Lines of the file are `topic:partition:offset`; control lines start with `#`. A record that is in the topic and not in
the file was lost.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from processors.engine import BatchGroup, GroupWriter, MicroBatchApp, TransientDependencyError, grouped, run_app


class WorkerConfig(BaseModel):
    """The configuration of a worker."""

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
    """Use an agent that groups, writes and acknowledges by itself, without a writer."""
    gate: Path | None = None
    """Each write waits until this file exists."""
    restore: bool = False
    """Restore some state after each assignment, as the gate does; it takes several iterations of the event loop."""
    pause_seconds: float = 0.0
    """A slow sink: how long each write takes."""
    max_poll_interval: float = 300.0
    metadata_max_age: float = 60.0
    request_timeout: float = 90.0
    fail_at: int | None = None
    """Raise in the write that would reach this number of written records."""
    hang_in_thread: bool = False
    """The write hangs in a thread that nothing can cancel."""
    store_away: bool = False
    """Every write fails as if the store were unavailable."""
    signal_at_the_end: bool = False
    """Send SIGTERM again when the loop is closed and the process is about to end."""
    note_watches: bool = False
    """Note each check of the group and the topics."""
    log_level: str = "ERROR"


class Oracle:
    """The file, in the order of events."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab")

    def note(self, *lines: str) -> None:
        self._file.write("".join(f"{line}\n" for line in lines).encode())
        self._file.flush()
        os.fsync(self._file.fileno())


class NotingApp(MicroBatchApp):
    """Notes each check of the group and the topics."""

    note: Callable[[], None] = staticmethod(lambda: None)

    def check_partition_counts(self, counts: Mapping[str, int]) -> None:
        super().check_partition_counts(counts)
        self.note()


def a_write(config: WorkerConfig, oracle: Oracle, app: MicroBatchApp) -> Callable[[BatchGroup], Awaitable[None]]:
    """Return the function that writes groups to the oracle, with the faults of the configuration."""
    written = 0

    async def write(group: BatchGroup) -> None:
        nonlocal written
        oracle.note("# begun", f"# lag {sum(app.lag().values())}")
        if config.store_away:
            raise TransientDependencyError("the store is unavailable")
        if config.hang_in_thread:
            await asyncio.to_thread(threading.Event().wait)
        await asyncio.sleep(config.pause_seconds)
        while config.gate is not None and not config.gate.exists():  # noqa: ASYNC110 - another process opens it
            await asyncio.sleep(0.02)
        count = sum(map(len, group))
        if config.fail_at is not None and written + count >= config.fail_at:
            raise RuntimeError("told to fail")
        oracle.note(*(f"{r.topic}:{r.partition}:{r.offset}" for batch in group for r in batch))
        written += count

    return write


def make_app(config: WorkerConfig, oracle: Oracle) -> MicroBatchApp:
    app = NotingApp(
        config.group,
        broker=f"kafka://{config.broker}",
        instance=config.instance,
        datadir=config.datadir,
        drain=config.drain,
        metadata_max_age=config.metadata_max_age,
        broker_request_timeout=config.request_timeout,
        stall=config.stall,
        broker_max_poll_records=config.max_poll_records,
        broker_session_timeout=config.session,
        broker_max_poll_interval=config.max_poll_interval,
    )
    if config.note_watches:
        app.note = lambda: oracle.note("# watched")
    write = a_write(config, oracle, app)
    if config.own_agent:

        @app.agent(app.batch_topic(config.topics[0]))  # type: ignore[untyped-decorator]  # faust
        async def alone(batches: Any) -> None:
            async for group in grouped(batches, config.records, config.within):
                await write(group)
                for batch in group:
                    batch.ack()

    else:
        writer = GroupWriter(app, write, records=config.records, within=config.within)
        for name in config.topics:
            app.attach(app.batch_topic(name), writer)
    if config.restore:

        @app.on_rebalance_complete.connect  # type: ignore[untyped-decorator]  # faust
        async def restore(*_: object, **__: object) -> None:
            for _turn in range(20):
                await asyncio.sleep(0.01)
            oracle.note("# restored")

    if config.two_agents:

        @app.agent(app.batch_topic(config.topics[0]), name="second")  # type: ignore[untyped-decorator]  # faust
        async def second(batches: Any) -> None:
            async for _ in batches:
                pass

    return app


async def main(config: WorkerConfig) -> int:
    oracle = Oracle(config.oracle)
    code = await run_app(make_app(config, oracle), ready=lambda: oracle.note("# ready"), grace=config.grace)
    oracle.note(f"# exit {code}")
    return code


if __name__ == "__main__":
    config = WorkerConfig.model_validate(json.loads(sys.argv[1]))
    logging.basicConfig(
        level=config.log_level, stream=sys.stderr, format="%(asctime)s %(name)s %(levelname)s %(message)s"
    )
    code = asyncio.run(main(config))
    if config.signal_at_the_end:
        os.kill(os.getpid(), signal.SIGTERM)
    sys.exit(code)
