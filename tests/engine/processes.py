"""Worker processes, and what they wrote to their files."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Generic, Protocol, Self, TypeVar

from tests.engine import keyed_worker, worker

ROOT = Path(__file__).parents[2]
PATIENCE_SECONDS = 150.0  # against hanging; the machine may be busy with other programs
"""How long a test waits for something that must happen. It says nothing about speed."""

RECORD_LINE = re.compile(r"(?P<topic>[^#:]+):(?P<partition>\d+):(?P<offset>\d+)")

Record = tuple[str, int, int]
Config = TypeVar("Config", bound="WorkerConfig")


async def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for something that another process does."""
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not condition():  # noqa: ASYNC110 - nothing here could set an event
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"timed out waiting for {what}") from None


class WorkerConfig(Protocol):
    """What the configuration of every worker has."""

    datadir: Path
    oracle: Path

    def model_dump_json(self) -> str: ...


class Process(Generic[Config]):
    """A worker process. Its file outlives it, so that several restarts can share one."""

    def __init__(self, module: str, config: Config) -> None:
        self.config = config
        self._module = module
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> Self:
        with self.errors.open("ab") as errors:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", self._module, self.config.model_dump_json(),
                cwd=self.config.datadir.parent, env={"PYTHONPATH": str(ROOT)}, stderr=errors,
            )  # fmt: skip
        return self

    @property
    def errors(self) -> Path:
        return self.config.oracle.with_suffix(".log")

    def send(self, number: signal.Signals) -> None:
        assert self._process is not None
        os.kill(self._process.pid, number)

    async def ended(self) -> int:
        """Wait until it has ended, and return the exit code (negative: the signal)."""
        assert self._process is not None
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await self._process.wait()

    async def terminate(self) -> int:
        self.send(signal.SIGTERM)
        return await self.ended()

    async def kill(self) -> None:
        """Kill the process if it runs."""
        if self._process is not None and self._process.returncode is None:
            with suppress(ProcessLookupError):  # it has just ended
                self.send(signal.SIGKILL)
            await self._process.wait()

    def lines(self) -> list[str]:
        """The complete lines: the last one may be partly written."""
        text = self.config.oracle.read_text() if self.config.oracle.exists() else ""
        return text[: text.rfind("\n") + 1].splitlines()

    def notes(self, note: str) -> int:
        return self.lines().count(note)

    async def ready(self, times: int = 1) -> None:
        await until(lambda: self.notes("# ready") >= times, f"{times} assignments; {self.complaints()}")

    def complaints(self) -> str:
        return self.errors.read_text()[-2000:] if self.errors.exists() else "no error output"


class Worker(Process[worker.WorkerConfig]):
    """A worker that writes down what it has processed."""

    def __init__(self, config: worker.WorkerConfig) -> None:
        super().__init__("tests.engine.worker", config)

    def processed(self) -> list[Record]:
        """What it wrote, in order. A line that kill -9 cut off is not a record."""
        found = [RECORD_LINE.fullmatch(line) for line in self.lines()]
        return [(m["topic"], int(m["partition"]), int(m["offset"])) for m in found if m]

    async def begun(self) -> None:
        await until(lambda: self.notes("# begun") > 0, f"a write to begin; {self.complaints()}")

    async def has(self, wanted: set[Record]) -> None:
        await until(lambda: wanted <= set(self.processed()), f"{len(wanted)} records; {self.complaints()}")

    async def has_more_than(self, count: int) -> None:
        await until(lambda: len(self.processed()) > count, f"more than {count} records; {self.complaints()}")


class KeyedWorker(Process[keyed_worker.WorkerConfig]):
    """A worker with state; its results are in Kafka."""

    def __init__(self, config: keyed_worker.WorkerConfig) -> None:
        super().__init__("tests.engine.keyed_worker", config)

    async def halted(self) -> None:
        """Wait until it is about to stop or kill itself, as configured."""
        await until(lambda: self.notes("# halt") > 0, f"a halt; {self.complaints()}")
