"""Endpoint processes for single tests: they may be killed or stopped, or have users."""

import asyncio
import signal
import sys
from pathlib import Path

from deploy.local.stack import answers_ping
from tests.local.ports import free_port_base
from tests.local.waiting import PATIENCE_SECONDS, until

ROOT = Path(__file__).parents[2]


class EndpointProcess:
    """One endpoint over `path`; it can be started again after its end."""

    def __init__(self, path: Path, *users: str) -> None:
        self.path = path
        self.port = free_port_base()
        self.url = f"http://127.0.0.1:{self.port}"
        self._users = users
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> "EndpointProcess":
        self._process = await self._spawn()
        await until(lambda: answers_ping(self.port), "the endpoint's ping")
        return self

    async def refused(self) -> tuple[int, str]:
        """Start one that must not come up; return its exit code and its output."""
        process = await self._spawn()
        async with asyncio.timeout(PATIENCE_SECONDS):
            _, said = await process.communicate()
        return process.returncode or 0, said.decode()

    def send(self, number: signal.Signals) -> None:
        """Send a signal, without waiting for what it does."""
        assert self._process is not None
        self._process.send_signal(number)

    async def end(self, number: signal.Signals) -> int:
        """Send a signal, and return the exit code."""
        assert self._process is not None
        if self._process.returncode is None:
            self._process.send_signal(number)
        async with asyncio.timeout(PATIENCE_SECONDS):
            await self._process.communicate()
        assert self._process.returncode is not None
        return self._process.returncode

    async def _spawn(self) -> asyncio.subprocess.Process:
        users = [word for user in self._users for word in ("--user", user)]
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "deploy.local.clickhouse", str(self.path), "--port", str(self.port), *users),
            cwd=ROOT,
            stderr=asyncio.subprocess.PIPE,
        )
