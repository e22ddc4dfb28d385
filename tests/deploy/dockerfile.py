"""The Dockerfile as a list of instructions, and which files of the repository a build is given.

Only what this Dockerfile uses is understood: no heredocs, no parser directives.
"""

import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

__all__ = ["DOCKERFILE", "ROOT", "Instruction", "context", "exec_form", "instructions", "matches", "sources"]

ROOT: Final = Path(__file__).parents[2]
DOCKERFILE: Final = ROOT / "Dockerfile"


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction, with its lines joined."""

    stage: int
    """0 and up; -1 before the first FROM."""
    name: str
    text: str


def instructions() -> list[Instruction]:
    """All instructions, in order."""
    lines = [line for line in DOCKERFILE.read_text(encoding="utf-8").splitlines() if not line.lstrip().startswith("#")]
    found, stage = [], -1
    for line in re.sub(r"\\\n\s*", " ", "\n".join(lines)).splitlines():
        if line.strip():
            name, _, text = line.strip().partition(" ")
            stage += name == "FROM"
            found.append(Instruction(stage, name, text.strip()))
    return found


def exec_form(text: str) -> list[str]:
    """The words of `["sendledger", "--help"]`."""
    words: list[str] = json.loads(text)
    return words


def sources(copy: Instruction) -> tuple[list[str], str]:
    """What a COPY from the repository copies, and where."""
    *from_, to = copy.text.split()
    return from_, to


def matches(name: str, source: str) -> bool:
    """Whether a source of a COPY (a file, a pattern, or a folder with its slash) is or holds a file."""
    return fnmatchcase(name, source) or (source.endswith("/") and name.startswith(source))


def context() -> list[str]:
    """The files that a build is given: those that git knows or would take in, without those of .dockerignore."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [name for name in listed.stdout.splitlines() if (ROOT / name).is_file() and not is_ignored(name)]


def is_ignored(name: str) -> bool:
    """Whether .dockerignore keeps a file out: its last pattern that matches the file or a folder above it decides."""
    ignored = False
    for pattern, keeps_out in _patterns():
        if pattern.match(name):
            ignored = keeps_out
    return ignored


def _patterns() -> Iterator[tuple[re.Pattern[str], bool]]:
    for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            glob = line.removeprefix("!").rstrip("/")
            expression = "".join(
                {"**/": "(?:.*/)?", "*": "[^/]*", "?": "[^/]"}.get(
                    piece, piece if piece[0] == "[" else re.escape(piece)
                )
                for piece in re.findall(r"\*\*/|\[[^\]]*\]|[*?]|[^*?\[]+", glob)
            )
            yield re.compile(rf"{expression}(?:/|$)"), not line.startswith("!")
