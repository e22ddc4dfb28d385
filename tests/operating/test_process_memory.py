"""How much memory a process has and may use, as the system says it: /proc and control groups of both versions."""

import resource
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from unittest import mock

import pytest
from prometheus_client import generate_latest

from processors.process_memory import export_memory, memory_limit, resident_bytes
from schemas.telemetry import Telemetry

GIB = 2**30


@pytest.fixture(autouse=True)
def no_ulimit() -> Iterator[None]:
    with ulimit(resource.RLIM_INFINITY):
        yield


def ulimit(soft: int) -> AbstractContextManager[object]:
    return mock.patch.object(resource, "getrlimit", return_value=(soft, resource.RLIM_INFINITY))


def machine(folder: Path, groups: str, limits: dict[str, str]) -> tuple[Path, Path]:
    """A /proc of a machine with 64 GiB, and its control groups with these limits."""
    proc, root = folder / "proc", folder / "cgroup"
    (proc / "self").mkdir(parents=True)
    (proc / "meminfo").write_text(f"MemTotal: {64 * GIB // 1024} kB\nMemFree: 1 kB\n")
    (proc / "self" / "cgroup").write_text(groups)
    for name, limit in limits.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{limit}\n")
    return proc, root


@pytest.mark.parametrize(
    ("groups", "limits", "gib"),
    [
        pytest.param("0::/\n", {"memory.max": str(2 * GIB)}, 2, id="a container of version 2"),
        pytest.param("0::/a/b\n", {"a/b/memory.max": "max", "a/memory.max": str(3 * GIB)}, 3, id="a group around it"),
        pytest.param("0::/a\n", {"a/memory.max": str(4 * GIB), "memory.max": "max"}, 4, id="systemd's MemoryMax"),
        pytest.param(
            "4:memory:/docker/x\n0::/\n",
            {"memory/memory.limit_in_bytes": str(5 * GIB)},
            5,
            id="a container of version 1, whose path is that on the host",
        ),
        pytest.param("4:memory:/\n", {"memory/memory.limit_in_bytes": "9223372036854771712"}, 64, id="no limit"),
        pytest.param("", {}, 64, id="no control group"),
        pytest.param("3:cpu:/a\n", {"cpu/a/memory.max": str(GIB)}, 64, id="another controller"),
    ],
)
def test_the_limit_is_the_smallest(tmp_path: Path, groups: str, limits: dict[str, str], gib: int) -> None:
    assert memory_limit(*machine(tmp_path, groups, limits)) == gib * GIB


def test_ulimit_counts(tmp_path: Path) -> None:
    with ulimit(GIB):
        assert memory_limit(*machine(tmp_path, "0::/\n", {"memory.max": str(2 * GIB)})) == GIB


def test_without_proc_there_is_no_value(tmp_path: Path) -> None:
    assert memory_limit(tmp_path, tmp_path) is None
    assert resident_bytes(tmp_path) is None


def test_this_process_has_both() -> None:
    telemetry = Telemetry()
    export_memory(telemetry)
    lines = generate_latest(telemetry.registry).decode().splitlines()
    shown = dict(line.split() for line in lines if not line.startswith("#"))
    assert 0 < float(shown["sendledger_resident_bytes"]) < float(shown["sendledger_memory_limit_bytes"])
