"""The documentation says what is: generated pages are fresh, nothing is left out, and no link leads nowhere.

Only text is read here: no service, no network.
"""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from typer.testing import CliRunner

from cli.main import app
from projections.store import migrate
from schemas.errors import ConfigError
from schemas.settings import (
    PREFIX,
    DeadLetterSettings,
    GateRulesSettings,
    RawEventSettings,
    RebuildSettings,
    Settings,
    VerifySettings,
    WeatherSettings,
)
from tests.docs.commands import commands, readers
from tests.docs.generate import PAGES, REFERENCE, ROOT

_FENCE: Final = re.compile(r"^```.*?^```$", re.M | re.S)
_CODE: Final = re.compile(r"`([^`\n]+)`")
_LINK: Final = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING: Final = re.compile(r"^#+ (.+)$", re.M)
_MAKE_VERB: Final = re.compile(r"^([a-z-]+):.*?##", re.M)
_VIEW: Final = re.compile(r"\ACREATE (?:OR REPLACE )?VIEW (?:IF NOT EXISTS )?(\w+) AS\b(.*)\Z", re.S)
_TWO_PAGES: Final = 120


def pages() -> list[Path]:
    """Every Markdown file of the repository that git knows or would take in."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return sorted({ROOT / name for name in listed.stdout.splitlines() if (ROOT / name).exists()})


def prose(page: Path) -> str:
    """The page without its blocks of code."""
    return _FENCE.sub("", page.read_text(encoding="utf-8"))


def anchors(page: Path) -> set[str]:
    """The names under which the headings of a page are linked to."""
    kept = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in _HEADING.findall(prose(page)))
    return {heading.strip().replace(" ", "-") for heading in kept}


def all_settings(kind: type[Settings] = Settings) -> Iterator[type[Settings]]:
    yield kind
    for narrower in kind.__subclasses__():
        yield from all_settings(narrower)


def test_no_file_leans_on_one_that_is_not_here() -> None:
    """What a comment refers to must be found by whoever has the repository: a page below docs/, not a paper of ours."""
    words = "|".join(("CONTR" + "ACT", r"(?:/work|\.\.)/sha" + r"red/", "sha" + r"red/[A-Z]+\.md"))
    listed = subprocess.run(["git", "grep", "-nIE", words], cwd=ROOT, capture_output=True, text=True, check=False)
    assert listed.stdout.splitlines() == []


@pytest.mark.parametrize("name", list(PAGES))
def test_generated_pages_are_fresh(name: str) -> None:
    stale = f"docs/reference/{name} is stale: .venv/bin/python -m tests.docs.generate"
    assert (REFERENCE / name).read_text(encoding="utf-8") == PAGES[name](), stale


def test_every_setting_is_read_by_a_command() -> None:
    read = {name for fields in readers().values() for name in fields}
    assert {name for kind in all_settings() for name in kind.model_fields} - read == set()


def test_the_readers_of_settings_are_found_in_the_code_of_the_commands() -> None:
    found = {command: set(fields) for command, fields in readers().items()}
    assert {name for name, _ in commands()} - found.keys() == {"up", "doctor", "schemas"}
    assert found["token create"] == {"token_secret"}
    assert found["dead-letters discard"] == set(DeadLetterSettings.model_fields), "through a function of the module"
    of_rebuild = {*RebuildSettings.model_fields, *GateRulesSettings.model_fields}
    assert found["rebuild"] == of_rebuild - {"instance", "metrics_port"}, "these are options"
    assert found["verify"] > set(VerifySettings.model_fields), "with --from log it reads those of a rebuild, too"
    assert found["explain"] == set(RawEventSettings.model_fields)
    assert found["weather"] == set(WeatherSettings.model_fields)


def test_every_command_has_an_example() -> None:
    assert [name for name, command in commands() if f"sendledger {name}" not in (command.help or "")] == []


@pytest.mark.parametrize("words", [[], ["worker"], ["token"], ["incident"]], ids=" ".join)
def test_the_help_of_a_group_of_commands_shows_an_example(words: list[str]) -> None:
    shown = CliRunner().invoke(app, [*words, "--help"], env={"TERMINAL_WIDTH": "200"})
    assert re.search(rf"Example: .*{' '.join(['sendledger', *words])} \w+", shown.stdout), shown.output


def test_no_group_of_commands_is_forgotten() -> None:
    groups = {name.split(" ")[0] for name, _ in commands() if " " in name}
    assert groups == {"worker", "token", "dead-letters", "incident"}


def test_no_setting_is_documented_that_does_not_exist() -> None:
    known = {PREFIX + name.upper() for kind in all_settings() for name in kind.model_fields}
    named = {word for page in pages() for word in re.findall(rf"\b{PREFIX}[A-Z_]*[A-Z]\b", page.read_text("utf-8"))}
    made_for_development = {name for name in named if name.startswith(f"{PREFIX}DEV_")}
    assert named - made_for_development - known == set()


@pytest.mark.parametrize("verb", _MAKE_VERB.findall((ROOT / "Makefile").read_text(encoding="utf-8")))
def test_every_make_verb_is_documented(verb: str) -> None:
    assert f"`make {verb}`" in (REFERENCE / "cli.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_lead_somewhere(page: Path) -> None:
    broken = []
    for link in _LINK.findall(prose(page)):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


def is_path(text: str) -> bool:
    """Whether a piece of code in a page names a place in this repository: `a/b.py`, `folder/`, `page.md`."""
    if re.fullmatch(r"application/[a-z+-]+", text):  # a media type: the modules of this folder end in `.py`
        return False
    if re.search(r"NNNN|[\s<>{}*…$=]", text) or text.startswith(("/", ".venv", ".data", "-")):
        return False
    return "/" in text and (ROOT / text.partition("/")[0]).is_dir()


PATHS: Final = [
    pytest.param(page, text, id=f"{page.relative_to(ROOT)}: {text}")
    for page in pages()
    for text in sorted(set(_CODE.findall(prose(page))))
    if is_path(text)
]


@pytest.mark.parametrize(("page", "path"), PATHS)
def test_paths_exist(page: Path, path: str) -> None:
    file, _, _ = path.partition("::")  # a test in it: tests/docs/test_security.py looks for that
    assert (ROOT / file).exists(), f"{page.name} names {path}"


def test_the_readme_shows_the_whole_house() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "--cached"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    folders = {f"`{name.split('/')[0]}/`" for name in listed if "/" in name and not name.startswith(".")}
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [folder for folder in sorted(folders) if f"| {folder} |" not in readme] == []


@pytest.mark.parametrize("question", ["a provider", "a column", "a topic", "a setting", "a metric", "a migration"])
def test_the_readme_answers_where_to_add(question: str) -> None:
    assert f"| add {question} |" in (ROOT / "README.md").read_text(encoding="utf-8")


def select_list(body: str) -> list[str]:
    """The names of the columns of the outermost SELECT, in order: each alias, or the bare name."""
    text = re.sub(r"'(?:[^'\\]|\\.)*'", "''", body)
    depth, words = 0, []
    for piece in re.split(r"([()\[\],])|\b(SELECT|FROM)\b", text):
        if not piece:
            continue
        if piece in "([":
            depth += 1
        if depth == 0 and piece not in ")]":
            words.append(piece)
        if piece in ")]":
            depth -= 1
    flat = " ".join(words)
    chosen = flat[flat.rindex("SELECT") + len("SELECT") :].split(" FROM ")[0]
    return [column.split()[-1] for column in chosen.split(",")]


def views() -> dict[str, list[str]]:
    """The views and their columns, as the newest file that makes each says."""
    found = {}
    for migration in (*migrate.migrations(), *migrate.views()):
        for statement in migration.statements:
            if match := _VIEW.match(statement):
                found[match[1]] = select_list(match[2])
    return found


def documented_columns(view: str) -> list[str]:
    page = (REFERENCE / "tables.md").read_text(encoding="utf-8")
    _, _, after = page.partition(f"\n## {view}\n")
    section = after.partition("\n## ")[0]
    return [name for row in re.findall(r"^\| (`.+?`) \|", section, re.M) for name in _CODE.findall(row)]


def test_columns_are_read_from_the_sql() -> None:
    assert select_list(" WITH (x -> (SELECT 1)) AS f SELECT a, g(b, [c]) AS d, h('(', e)::Bool AS i FROM t FINAL") == [
        "a",
        "d",
        "i",
    ]


@pytest.mark.parametrize(("view", "columns"), list(views().items()), ids=list(views()))
def test_every_column_of_a_view_is_documented(view: str, columns: list[str]) -> None:
    documented = documented_columns(view)
    assert sorted(documented) == sorted(columns)


def test_no_page_names_a_place_of_one_machine() -> None:
    forbidden = re.compile(r"/work/|/home/\w|/Users/\w|\bpypi\.|index-url|repo1\.maven")
    assert [str(page.relative_to(ROOT)) for page in pages() if forbidden.search(page.read_text("utf-8"))] == []


def test_the_settings_page_is_where_the_error_says() -> None:
    from schemas.settings import StoreSettings, read

    with pytest.raises(ConfigError) as caught:
        read(StoreSettings, clickhouse_database="not a name")
    (page,) = re.findall(r"docs/\S+\.md", caught.value.mend)
    assert (ROOT / page).exists()


@pytest.mark.parametrize("page", sorted((ROOT / "docs" / "adr").glob("[0-9]*.md")), ids=lambda page: page.stem)
def test_a_decision_has_its_form_and_at_most_two_pages(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    headings = [heading.lower() for heading in _HEADING.findall(text)][1:]
    assert headings == ["problem", "success criteria", "out of scope", "decision", "alternatives", "consequences"]
    assert len(text.splitlines()) <= _TWO_PAGES
