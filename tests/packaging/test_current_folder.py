"""Packages in the current folder, or in that of a project, are never run in place of ours."""

import os
import subprocess
from pathlib import Path

import pytest

from deploy.local.stack import clickhouse_part, kafka_part
from tests.docs.generate import ROOT

pytestmark = pytest.mark.process


@pytest.mark.parametrize("part", [kafka_part, clickhouse_part], ids=["kafka", "clickhouse"])
def test_a_part_runs_our_module_in_a_project_with_a_package_of_its_name(part: object, tmp_path: Path) -> None:
    for name in ("deploy", "schemas"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise SystemExit('this is the package of another project')")
    argv = part(tmp_path, 1).argv  # type: ignore[operator]  # both take a folder and a port
    up_to_the_module = argv[: argv.index("-m") + 2]
    done = subprocess.run(
        [*up_to_the_module, "--help"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},  # noqa: TID251 - of the test's own process
        capture_output=True,
        text=True,
        check=False,
    )
    assert "usage" in done.stdout, done.stderr
