"""The commands of the how-to pages can be run as they are written, and each runbook is found from the symptom.

Only text is read here; tests/stack runs runbooks on real services.
"""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.docs.commands import commands
from tests.docs.generate import ROOT

HOW_TO: Final = ROOT / "docs" / "how-to"
RUNBOOKS: Final = (
    *sorted(HOW_TO.glob("when-*.md")),
    *(HOW_TO / f"{name}.md" for name in ("release-a-suppression-wave", "handle-dead-letters", "rotate-a-key")),
)
_BLOCK: Final = re.compile(r"^ *```sh\n(.*?)^ *```$", re.M | re.S)
_COMMAND: Final = re.compile(r"^ *(?:\.venv/bin/)?sendledger (.+)$", re.M)
_AFTER_IT: Final = ("|", ">", "&")
COMMANDS: Final[dict[str, Any]] = dict(commands())


def commands_of(page: Path) -> Iterator[str]:
    """The commands of the blocks of a page, without our program's name, each on one line."""
    for block in _BLOCK.findall(page.read_text(encoding="utf-8")):
        yield from _COMMAND.findall(block.replace("\\\n", " "))


WRITTEN: Final = [
    pytest.param(line, id=f"{page.stem}: {line}")
    for page in sorted(HOW_TO.glob("*.md"))
    for line in dict.fromkeys(commands_of(page))
    if not {"$", "…"} & set(line)  # its words are known to the shell alone
]


@pytest.mark.parametrize("line", WRITTEN)
def test_a_command_exists_with_its_options(line: str) -> None:
    words = shlex.split(line, comments=True)
    words = words[: next((n for n, word in enumerate(words) if word in _AFTER_IT), len(words))]
    depth = 1 if words[0] in COMMANDS else 2
    name = " ".join(words[:depth])
    assert name in COMMANDS, f"there is no command `sendledger {name}`"
    COMMANDS[name].make_context(name, words[depth:])  # raises UsageError


@pytest.mark.parametrize("page", RUNBOOKS, ids=lambda page: page.stem)
def test_a_runbook_is_found_from_its_symptom(page: Path) -> None:
    assert f"]({page.name})" in (HOW_TO / "on-call.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", ["README.md", "docs/how-to/see-whether-it-is-healthy.md"])
def test_on_call_is_found(page: str) -> None:
    assert "on-call.md)" in (ROOT / page).read_text(encoding="utf-8")
