"""Every reason for a dead letter is documented, and none that there is not."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from schemas.headers import REASONS
from tests.docs.generate import ROOT

_MAKERS: Final = {"Rejection", "_rejected", "_Unreadable", "RecordInvalid"}
"""What takes a reason as its first argument."""


def sources() -> Iterator[tuple[Path, ast.Module]]:
    for package in ("schemas", "processors"):
        for path in sorted((ROOT / package).rglob("*.py")):
            if path.name != "headers.py":
                yield path, ast.parse(path.read_text(encoding="utf-8"))


def given() -> Iterator[tuple[str, str]]:
    """Where a reason is given, and which."""
    for path, tree in sources():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _MAKERS and node.args:
                first = node.args[0]
                if isinstance(first, ast.Constant) and isinstance(first.value, str):
                    yield f"{path.relative_to(ROOT)}:{node.lineno}", first.value


@pytest.mark.parametrize(("where", "reason"), list(given()))
def test_a_reason_that_is_given_is_documented(where: str, reason: str) -> None:
    assert reason in REASONS, where


@pytest.mark.parametrize("reason", list(REASONS))
def test_a_reason_that_is_documented_is_given_somewhere(reason: str) -> None:
    constants = (node.value for _, tree in sources() for node in ast.walk(tree) if isinstance(node, ast.Constant))
    assert reason in set(map(str, constants))
