"""The programs of sendledger as processes, for tests of the whole path."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import httpx

from projections.store import Store
from schemas.settings import PREFIX

__all__ = ["Program", "answering", "running", "workers_running"]

SENDLEDGER = Path(sys.executable).with_name("sendledger")


class Program:
    """One `sendledger …` process; its output goes to a file."""

    def __init__(self, words: list[str], env: Mapping[str, str], log: Path, script: Path = SENDLEDGER) -> None:
        """`script` is another one in place of `sendledger`: a release with a bug."""
        self.words, self.log, self.script = words, log, script
        self._env = {**{k: v for k, v in os.environ.items() if not k.startswith(PREFIX)}, **env}  # noqa: TID251
        self.process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        with self.log.open("ab") as out:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable,
                str(self.script),
                *self.words,
                env=self._env,
                stdout=out,
                stderr=out,
                cwd=self.log.parent,
            )

    async def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send the signal and return the exit code."""
        assert self.process is not None
        if self.process.returncode is None:
            self.process.send_signal(number)
        async with asyncio.timeout(30):
            return await self.process.wait()

    def is_assigned(self) -> bool:
        """Whether a worker has said that it has its partitions. Before that nothing is promised of how it ends."""
        return ".assigned" in self.log.read_text()


@contextlib.asynccontextmanager
async def running(program: Program) -> AsyncIterator[Program]:
    """The program runs while the block does, whatever happens in it."""
    await program.start()
    try:
        yield program
    finally:
        await program.end(signal.SIGKILL)


@contextlib.asynccontextmanager
async def workers_running(
    bootstrap: str, clickhouse_url: str, store: Store, folder: Path, **more: str
) -> AsyncIterator[Mapping[str, str]]:
    """A ledger worker and a gate worker, while the block runs, and the settings of all programs of an installation."""
    env = {
        "SENDLEDGER_KAFKA_BOOTSTRAP": bootstrap,
        "SENDLEDGER_CLICKHOUSE_URL": clickhouse_url,
        "SENDLEDGER_CLICKHOUSE_DATABASE": store.database,
        "SENDLEDGER_WORKER_DIR": str(folder / "worker"),
        "SENDLEDGER_INSTANCE": "one",
        **more,
    }
    async with contextlib.AsyncExitStack() as programs:
        for name in ("ledger", "gate"):
            await programs.enter_async_context(running(Program(["worker", name], env, folder / f"{name}.log")))
        yield env


async def answering(url: str) -> bool:
    """Whether a URL answers 200."""
    async with httpx.AsyncClient(trust_env=False, timeout=2) as client:
        try:
            return (await client.get(url)).status_code == 200
        except httpx.HTTPError:
            return False
