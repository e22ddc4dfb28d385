"""The page of the threat model names tests as proofs: each exists."""

import re
from typing import Final

import pytest

from tests.docs.generate import ROOT

PAGE: Final = (ROOT / "docs" / "explanation" / "security.md").read_text(encoding="utf-8")
PROOFS: Final = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)))


@pytest.mark.parametrize(("file", "name"), PROOFS, ids="::".join)
def test_a_proof_is_a_test(file: str, name: str) -> None:
    assert re.search(rf"^ *(?:async )?def {name}\(", (ROOT / file).read_text(encoding="utf-8"), re.M)


@pytest.mark.parametrize("threat", re.findall(r"^## (.+)$", PAGE, re.M))
def test_each_threat_says_what_remains(threat: str) -> None:
    section = PAGE.partition(f"\n## {threat}\n")[2].partition("\n## ")[0]
    assert "**What remains" in section
