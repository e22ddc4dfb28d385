"""Runbooks: the blocks of commands of a page of docs/how-to, run in a shell as a person does."""

import asyncio
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from schemas.settings import PREFIX
from tests.docs.code_blocks import blocks

__all__ = ["ROOT", "Ran", "Shell", "page"]

ROOT: Final = Path(__file__).parents[3]
_WITHIN_SECONDS: Final = 600.0


def page(name: str, language: str = "sh") -> list[str]:
    """The blocks of a page in one language, in order."""
    return [block.text.strip() for block in blocks(ROOT / "docs/how-to" / f"{name}.md") if block.language == language]


@dataclass(frozen=True, slots=True)
class Ran:
    """What a block of commands printed, and the exit code of its last one; of the first that failed with `strict`."""

    code: int
    out: str
    err: str


class Shell:
    """A shell in a folder that has `.venv` and `.data/dev.env`, as an operator's has."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        programs = Path(sys.executable).parent
        (folder / ".venv").symlink_to(programs.parent)
        others = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}  # noqa: TID251
        self._env = others | {"PATH": f"{programs}:/usr/bin:/bin", "PYTHONPATH": str(ROOT)}

    async def run(self, script: str, *, strict: bool = True) -> Ran:
        """Run commands. With `strict` each has to end with 0; without, a command may find something wrong."""
        process = await asyncio.create_subprocess_exec(
            *("bash", *(("-euo", "pipefail") if strict else ()), "-c", script),
            env=self._env,
            cwd=self.folder,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(_WITHIN_SECONDS):
            out, err = await process.communicate()
        ran = Ran(process.returncode or 0, out.decode(), err.decode())
        assert ran.code == 0 or not strict, f"{script}\n{ran.out[-2000:]}\n{ran.err[-2000:]}"
        return ran

    async def follow(self, name: str, *numbers: int, strict: bool = True) -> str:
        """Run these blocks of commands of a page, counted from 0; return what they print, on both streams."""
        found = page(name)
        ran = [await self.run(found[number], strict=strict) for number in numbers]
        return "\n".join(one.out + one.err for one in ran)
