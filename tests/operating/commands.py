"""`sendledger …` run to its end, for tests of what it prints and how it exits."""

import asyncio
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from schemas.settings import PREFIX

__all__ = ["Ended", "sendledger"]

_PATIENCE_SECONDS = 90.0


@dataclass(frozen=True, slots=True)
class Ended:
    """What a command left behind."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """Its one object."""
        return orjson.loads(self.out)


async def sendledger(*words: str, env: Mapping[str, str], folder: Path) -> Ended:
    """Run a command in `folder` with no settings but `env`, and return its end."""
    others = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}  # noqa: TID251
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(Path(sys.executable).with_name("sendledger")), *words),
        env=others | dict(env),
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(_PATIENCE_SECONDS):
        out, err = await process.communicate()
    return Ended(process.returncode or 0, out.decode(), err.decode())
