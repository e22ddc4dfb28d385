"""Each runbook is found from the symptom. tests/stack runs them on real services."""

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
