"""The wheel has every file that the programs need, and installs no other top-level name than ours.

It is built from the source distribution, so that both are complete; from a copy of the tree, and without network.
"""

import shutil
import subprocess
import sys
import tomllib
import zipfile
from email.parser import Parser
from pathlib import Path, PurePosixPath
from typing import Any, Final

import pytest

from tests.docs.generate import ROOT

pytestmark = pytest.mark.process

PACKAGES: Final = (
    "application",
    "cli",
    "deploy",
    "gateway",
    "processors",
    "projections",
    "schemas",
    "simulator",
    "verification",
)
"""The top-level names, of docs/adr/0019-top-level-packages.md."""
NOT_NEEDED: Final = (".md",)
"""Suffixes of files in packages that only readers of the repository need."""
MANIFESTS: Final = ("deploy/compose/", "deploy/kubernetes/")
"""Folders that are copied or cloned, not installed."""
_BUILD_SDIST: Final = "import sys; from setuptools.build_meta import build_sdist; build_sdist(sys.argv[1])"


def tree() -> list[str]:
    """Every file that git knows or would take in."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return sorted(name for name in set(listed.stdout.splitlines()) if (ROOT / name).is_file())


def run(*command: str, cwd: Path) -> None:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the source distribution of a copy of the tree beside which a .venv lies."""
    folder = tmp_path_factory.mktemp("wheel")
    source, built = folder / "source", folder / "built"
    for name in tree():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, source / name)
    (source / ".venv" / "cli").mkdir(parents=True)
    (source / ".venv" / "cli" / "__init__.py").touch()
    built.mkdir()
    run(sys.executable, "-c", _BUILD_SDIST, str(built), cwd=source)
    (sdist,) = built.glob("*.tar.gz")
    offline = ("--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check")
    run(sys.executable, "-m", "pip", "wheel", *offline, "--wheel-dir", str(built), str(sdist), cwd=folder)
    (made,) = built.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def metadata_of(wheel: Path) -> Any:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return Parser().parsestr(archive.read(name).decode())


def project() -> Any:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_every_file_of_the_packages_is_in_it_and_nothing_else(names: set[str]) -> None:
    ours = {name for name in tree() if name.split("/")[0] in PACKAGES and not name.startswith(MANIFESTS)}
    needed = {name for name in ours if not name.endswith(NOT_NEEDED)}
    assert {name for name in names if ".dist-info/" not in name} == needed


def test_it_installs_no_other_top_level_name(names: set[str]) -> None:
    assert {PurePosixPath(name).parts[0] for name in names if ".dist-info/" not in name} == set(PACKAGES)


def test_the_decision_names_them_all() -> None:
    page = (ROOT / "docs" / "adr" / "0019-top-level-packages.md").read_text(encoding="utf-8")
    assert [name for name in PACKAGES if f"`{name}`" not in page] == []


def test_it_has_the_command(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/entry_points.txt"))
        assert archive.read(name).decode().split() == ["[console_scripts]", "sendledger", "=", "cli.main:main"]


def test_it_has_the_version_and_the_licence_of_the_project(wheel: Path, names: set[str]) -> None:
    metadata = metadata_of(wheel)
    assert (metadata["Version"], metadata["License-Expression"]) == (project()["version"], project()["license"])
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


def test_the_command_says_the_version_of_what_is_installed(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    start = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from cli.main import main; main()"
    done = subprocess.run([sys.executable, "-P", "-c", start, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"sendledger {project()['version']}\n"


def test_it_requires_what_runs_and_nothing_for_development(wheel: Path) -> None:
    files = ("requirements.in", "requirements-local.in")
    lines = [line for name in files for line in (ROOT / name).read_text(encoding="utf-8").splitlines()]
    wanted = {line.split("#")[0].strip() for line in lines} - {""}
    assert set(metadata_of(wheel).get_all("Requires-Dist")) == wanted
