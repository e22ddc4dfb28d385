"""Small disks of our own, which may be filled: a tmpfs for each. That needs root."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

__all__ = ["Disk", "small_disk"]

_MIB = 2**20


class Disk:
    """A folder on a disk of its own, if one could be mounted."""

    def __init__(self, folder: Path, *, is_mounted: bool) -> None:
        self.folder, self.is_mounted = folder, is_mounted

    @property
    def _ballast(self) -> Path:
        return self.folder / "of-somebody-else"

    def fill(self, free_share: float) -> None:
        """Fill the disk with a file, as another program's log does, until only this share is free."""
        assert self.is_mounted
        size, free = self._sizes()
        more = free - int(size * free_share)
        with self._ballast.open("ab") as file:
            for _ in range(max(0, more) // _MIB):
                file.write(bytes(_MIB))

    def clear(self) -> None:
        """Delete that file."""
        self._ballast.unlink(missing_ok=True)

    def _sizes(self) -> tuple[int, int]:
        found = os.statvfs(self.folder)
        return found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize


@contextlib.contextmanager
def small_disk(folder: Path, mib: int) -> Iterator[Disk]:
    """Mount a disk at `folder` while the block runs; without the right to do that, it is a folder only."""
    folder.mkdir(parents=True)
    mounted = _run("mount", "-t", "tmpfs", "-o", f"size={mib}m", "tmpfs", str(folder))
    try:
        yield Disk(folder, is_mounted=mounted)
    finally:
        if mounted:
            _run("umount", "--lazy", str(folder))


def _run(*words: str) -> bool:
    try:
        return subprocess.run(words, check=False, capture_output=True).returncode == 0
    except FileNotFoundError:
        return False
