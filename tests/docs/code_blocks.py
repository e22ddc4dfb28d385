"""The blocks of code of the documentation, and the `sendledger` commands in those of the shell."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import typer
from markdown_it import MarkdownIt

from tests.docs.commands import commands

__all__ = ["Block", "blocks", "command_lines", "problem_of"]

_PUNCTUATION: Final = "();<>|&"
_ASSIGNMENT: Final = re.compile(r"[A-Za-z_]\w*=")
_LIST: Final = re.compile(r"\$\{\w+\[@\]\}")
"""The words of a list, which only the shell knows."""
_SUBSTITUTION: Final = re.compile(r"\$\(([^()]*)\)")
_COMMANDS: Final[dict[str, Any]] = dict(commands())
_USAGE_ERROR: Final[Any] = typer.BadParameter.__base__
"""The base of all errors about words of the command line; typer does not export it."""


class Block(NamedTuple):
    """A fenced block of a page: its language (blank: none is stated), and its text without the indentation."""

    page: Path
    line: int
    language: str
    text: str


def blocks(page: Path) -> list[Block]:
    """Return the fenced blocks of a page, in order."""
    tokens = MarkdownIt().parse(page.read_text(encoding="utf-8"))
    return [
        Block(page, token.map[0] + 1, token.info.strip(), token.content)
        for token in tokens
        if token.type == "fence" and token.map
    ]


def command_lines(script: str) -> Iterator[list[str]]:
    """Yield the words after `sendledger` of each such command in a shell script."""
    for line in script.replace("\\\n", " ").splitlines():
        yield from _commands_in(line)
        for inner in _SUBSTITUTION.findall(line):
            yield from _commands_in(inner)


def _commands_in(line: str) -> Iterator[list[str]]:
    lexer = shlex.shlex(_SUBSTITUTION.sub("x", line), posix=True, punctuation_chars=_PUNCTUATION)
    lexer.whitespace_split = True
    words = list(lexer)
    begins = True  # whether the next word is the name of a command
    for place, word in enumerate(words):
        assigns = bool(_ASSIGNMENT.match(word))
        if begins and not assigns and word.rpartition("/")[2] == "sendledger":
            rest = words[place + 1 :]
            end = next((n for n, other in enumerate(rest) if other[0] in _PUNCTUATION), len(rest))
            yield [other for other in rest[:end] if not _LIST.fullmatch(other)]
        begins = word[:1] in _PUNCTUATION or (begins and assigns)


def problem_of(words: list[str]) -> str:
    """Return what is wrong with the words of a command, as the command line says it; blank if nothing is."""
    if words in (["--help"], ["--version"]):
        return ""
    depth = 1 if words and words[0] in _COMMANDS else 2
    name = " ".join(words[:depth])
    if name not in _COMMANDS:
        return f"No such command: {name}"
    if "--help" in words:
        return ""
    try:
        _COMMANDS[name].make_context(name, words[depth:])
    except _USAGE_ERROR as error:
        return str(error.format_message())
    return ""
