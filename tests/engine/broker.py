"""A separate broker for one test, which may stop and kill it."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from deploy.local.kafka import answers_metadata
from tests.engine.processes import ROOT
from tests.local.ports import free_port_base
from tests.local.waiting import PATIENCE_SECONDS


class PrivateBroker:
    """A broker that a test may stop and kill."""

    def __init__(self, directory: Path, port: int, controller_port: int) -> None:
        self.directory, self.port, self.controller_port = directory, port, controller_port
        self.bootstrap = f"127.0.0.1:{port}"
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "deploy.local.kafka", str(self.directory),
            "--port", str(self.port), "--controller-port", str(self.controller_port),
            cwd=ROOT, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not await answers_metadata(self.port):  # noqa: ASYNC110 - there is no event to wait for
                await asyncio.sleep(0.1)

    def send(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(number)

    async def kill(self) -> None:
        self.send(signal.SIGKILL)
        if self._process is not None:
            await self._process.wait()


@asynccontextmanager
async def private_broker(folder: Path) -> AsyncIterator[PrivateBroker]:
    """A broker while the block runs, which may kill it earlier."""
    port = free_port_base()
    broker = PrivateBroker(folder / "kafka", port, port + 1)
    try:
        await broker.start()
        yield broker
    finally:
        await broker.kill()
