"""Each runbook is found from the symptom, each decision in the list. tests/stack runs the runbooks on real services."""

import re
from pathlib import Path
from typing import Final

import pytest

from tests.docs.generate import ROOT

HOW_TO: Final = ROOT / "docs" / "how-to"
RUNBOOKS: Final = (
    *sorted(HOW_TO.glob("when-*.md")),
    *(HOW_TO / f"{name}.md" for name in ("release-a-suppression-wave", "handle-dead-letters", "rotate-a-key")),
)


@pytest.mark.parametrize("page", RUNBOOKS, ids=lambda page: page.stem)
def test_a_runbook_is_found_from_its_symptom(page: Path) -> None:
    assert f"]({page.name})" in (HOW_TO / "on-call.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", ["README.md", "docs/how-to/see-whether-it-is-healthy.md"])
def test_on_call_is_found(page: str) -> None:
    assert "on-call.md)" in (ROOT / page).read_text(encoding="utf-8")


def test_the_list_of_decisions_has_each_once() -> None:
    """The menu has them all as well, but only the site shows it."""
    folder = ROOT / "docs" / "adr"
    listed = re.findall(r"^- \[(\d+)\]\((\1-[^)]+\.md)\)", (folder / "index.md").read_text(encoding="utf-8"), re.M)
    assert [name for _, name in listed] == sorted(page.name for page in folder.glob("0*.md"))
