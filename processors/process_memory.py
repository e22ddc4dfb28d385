"""Export the resident memory of this process, and how much it may use, as metrics.

In:  /proc and the limits of the process's control group, read at each scrape.
Out: two gauges. Neither has a value where there is no /proc.

The limit is the smallest of four: that of the control group (a container has one; systemd's `MemoryMax` sets it), those
of the groups around it, `ulimit -m`, and the machine's memory. Linux does not enforce `ulimit -m`, so it can say how
much a process without a container should use.
"""

import os
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from schemas.telemetry import MEMORY_LIMIT_BYTES, RESIDENT_BYTES, Reading, Telemetry

__all__ = ["export_memory", "memory_limit", "resident_bytes"]

_PROC: Final = Path("/proc")
_CONTROL_GROUPS: Final = Path("/sys/fs/cgroup")
_VERSION_1: Final = "memory"
"""The controller, which has a folder of its own in version 1."""


def export_memory(telemetry: Telemetry) -> None:
    """Have `telemetry` show the memory of this process."""
    telemetry.watch(RESIDENT_BYTES, lambda: _readings(resident_bytes()))
    telemetry.watch(MEMORY_LIMIT_BYTES, lambda: _readings(memory_limit()))


def resident_bytes(proc: Path = _PROC) -> int | None:
    """Return the resident memory of this process; None if the system does not say it."""
    try:
        pages = int((proc / "self" / "statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")


def memory_limit(proc: Path = _PROC, control_groups: Path = _CONTROL_GROUPS) -> int | None:
    """Return how many bytes this process may use; None if the system does not say it."""
    limits = [*_of_control_groups(proc, control_groups), *_of_the_machine(proc)]
    soft, _ = resource.getrlimit(resource.RLIMIT_RSS)
    if soft != resource.RLIM_INFINITY:
        limits.append(soft)
    return min(limits, default=None)


def _readings(value: int | None) -> list[Reading]:
    return [] if value is None else [Reading(value, {})]


def _of_control_groups(proc: Path, root: Path) -> Iterator[int]:
    """Yield the limits of the process's control group and of those around it.

    In a container the path may be that on the host, and the container's own group is the root.
    """
    try:
        lines = (proc / "self" / "cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            folder, file = root, "memory.max"
        elif _VERSION_1 in controllers.split(","):
            folder, file = root / _VERSION_1, "memory.limit_in_bytes"
        else:
            continue
        group = Path(path)
        for one in (group, *group.parents):
            yield from _number_in(folder / one.relative_to("/") / file)


def _number_in(file: Path) -> Iterator[int]:
    try:
        text = file.read_text().strip()
    except OSError:
        return
    if text.isdecimal():  # else it is `max`: no limit
        yield int(text)


def _of_the_machine(proc: Path) -> Iterator[int]:
    try:
        lines = (proc / "meminfo").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        name, _, value = line.partition(":")
        if name == "MemTotal":
            yield int(value.split()[0]) * 1024
