"""The documentation as a site: it builds without a warning, every page is in a menu, and it needs no network."""

import asyncio
import re
import shutil
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.docs.generate import ROOT
from tests.docs.test_reference import pages

pytestmark = pytest.mark.process

_BUILD: Final = ("-m", "sphinx", "--fail-on-warning", "--keep-going", "--nitpicky", "--quiet")
_LOADED: Final = (
    re.compile(r"""\b(?:src|srcset|data-src)=["']?\s*(?:https?:)?//[^"'> ]+"""),
    re.compile(r"""<link\b[^>]*\bhref=["']?\s*(?:https?:)?//[^"'> ]+"""),
    re.compile(r"""url\(\s*["']?(?:https?:)?//[^)]+|@import\s[^;]+"""),
)
"""What a browser would load from another place. A link is loaded only when somebody follows it."""


async def built(source: Path, out: Path) -> tuple[int, str]:
    """Build the site of a source folder, with the configuration of docs/; return the exit code and the warnings."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, *_BUILD, "-c", str(ROOT / "docs"), str(source), str(out)),
        cwd=source,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    return process.returncode or 0, said.decode()


def loaded(text: str) -> list[str]:
    return [found for pattern in _LOADED for found in pattern.findall(text)]


async def test_the_site_has_every_page_and_needs_no_network(tmp_path: Path) -> None:
    out = tmp_path / "site"
    code, said = await built(ROOT, out)
    assert (code, said) == (0, "")
    expected = {page.relative_to(ROOT).with_suffix(".html") for page in pages()} - {Path("README.html")}
    assert expected <= {page.relative_to(out) for page in out.rglob("*.html")}
    assert (out / "index.html").read_text(encoding="utf-8").count("docs/index.html") == 2
    files = [file for kind in ("*.html", "*.css") for file in out.rglob(kind)]
    assert {file.name: loaded(file.read_text(encoding="utf-8")) for file in files} == {file.name: [] for file in files}


async def test_an_unlisted_page_and_a_broken_link_fail_the_build(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "docs" / "site_templates").mkdir(parents=True)
    shutil.copy(ROOT / "docs" / "site_templates" / "start.html", source / "docs" / "site_templates")
    (source / "docs" / "index.md").write_text("# One\n\n[no page](two.md) [no anchor](index.md#three) [one](#one)\n")
    (source / "docs" / "unlisted.md").write_text("# Unlisted\n")
    code, said = await built(source, tmp_path / "site")
    assert code == 1
    for what in ("unlisted.md: WARNING: document isn't included in any toctree", "two.md", "three"):
        assert what in said
    assert said.count("WARNING") == 3


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('<script src="https://cdn.example/x.js">', 1),
        ("<img src=//cdn.example/x.png>", 1),
        ('<link rel="stylesheet" href="https://fonts.example/css">', 1),
        ('@import "x.css"; a {background: url("//cdn.example/x.png")}', 2),
        ('<a href="https://semver.org">, <script src="_static/x.js">, url(data:x)', 0),
    ],
)
def test_what_is_loaded_from_elsewhere_is_noticed(text: str, found: int) -> None:
    assert len(loaded(text)) == found
