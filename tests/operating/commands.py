"""`sendledger …` run to its end, for tests of what it prints and how it exits.

`sendledger` runs it as a process, as people do; `in_process` runs it in a thread of this one, which takes a hundredth
of the time: for commands that end before they ask a server.
"""

import asyncio
import contextlib
import io
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import orjson
import structlog

from cli import settings as cli_settings
from cli.main import main
from schemas.settings import PREFIX

__all__ = ["Ended", "in_process", "sendledger"]

_PATIENCE_SECONDS = 90.0


@dataclass(frozen=True, slots=True)
class Ended:
    """The result of a command."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """The one JSON object that it printed."""
        return orjson.loads(self.out)


async def sendledger(*words: str, env: Mapping[str, str], folder: Path) -> Ended:
    """Run a command in `folder` with the settings `env` only; return its result."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(Path(sys.executable).with_name("sendledger")), *words),
        env=_environment(env),
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(_PATIENCE_SECONDS):
        out, err = await process.communicate()
    return Ended(process.returncode or 0, out.decode(), err.decode())


async def in_process(*words: str, env: Mapping[str, str], folder: Path) -> Ended:
    """The same in a thread of this process, so that a loop may run in either. Only one at a time."""
    async with asyncio.timeout(_PATIENCE_SECONDS):
        return await asyncio.to_thread(_called, words, env, folder)


def _called(words: tuple[str, ...], env: Mapping[str, str], folder: Path) -> Ended:
    out, err, code = io.StringIO(), io.StringIO(), 0
    cli_settings._say_once.cache_clear()
    with (
        mock.patch.dict(os.environ, _environment(env), clear=True),  # noqa: TID251
        mock.patch.object(sys, "argv", ["sendledger", *words]),
        contextlib.chdir(folder),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as ended:
            code = int(ended.code or 0)
        finally:
            structlog.reset_defaults()  # its stream is closed
    return Ended(code, out.getvalue(), err.getvalue())


def _environment(env: Mapping[str, str]) -> dict[str, str]:
    others = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}  # noqa: TID251
    return others | dict(env)
