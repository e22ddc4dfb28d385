"""Words that were retired: a reader would need a glossary for them. The standard word is named beside each.

Column names of tables, field names of records and what others rely on are not prose, and are not judged here.
"""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

ROOT = Path(__file__).parents[2]
RETIRED: Final = {
    r"[Ss]trangers?": "foreign address, third party",
    r"[Tt]hinning|[Tt]hinned": "evidence compaction, compacted",
    r"spells? (?:between|of|ends|begins)|_spells?|[Ss]pells\b": "suppression period",
    r"[Ll]anes?": "partition processor",
    r"[Tt]wins?": "duplicate instances",
    r"[Ww]orld faults?": "transient dependency error",
    r"reached_safely": "low watermark",
    r"told twice": "duplicate",
    r"of_everybody|caption_of": "platform-wide row, synthetic request",
    r"EVERYWHERE|EVERYBODY|ALL_ACCOUNTS": "ALL",
    r"[Tt]he way in": "intake",
    r"[Rr]epertoires?|[Tt]ellers?|[Cc]hapters?": "scenario picker, provider emitter, barrier or stage",
    r"[Ff]resh fold": "recomputation from the event log",
    r"the law(?:'s)?": "the reference fold",
    r"in the same bytes": "identical",
    r"puts it elsewhere": "uses another folder and ports",
    r"server's own words|Nothing (?:was )?heard": "server response, no event",
    r"looked for their other side": "killed before matching",
}
SUFFIXES: Final = (".py", ".md", ".sql", ".toml", ".html", ".js")
OURS: Final = ("CHANGELOG.md", "tests/docs/test_words.py")
"""What was released under its old words, and this list."""


def texts() -> Iterator[tuple[str, str]]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in listed.splitlines():
        if name.endswith(SUFFIXES) and name not in OURS and (ROOT / name).exists():
            yield name, (ROOT / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("pattern", RETIRED)
def test_a_retired_word_is_nowhere(pattern: str) -> None:
    word = re.compile(rf"(?<![A-Za-z_])(?:{pattern})(?![A-Za-z])")
    found = [
        f"{name}:{number}: {line.strip()[:90]}"
        for name, text in texts()
        for number, line in enumerate(text.splitlines(), 1)
        if word.search(line)
    ]
    assert found == [], f"write {RETIRED[pattern]!r} instead"
