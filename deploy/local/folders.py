"""The data directory of a stack: created, and readable by this user only.

It contains mail, addresses and keys. If it holds only files of a stack, its own mode is restricted; if it holds other
files too (a home directory, or /tmp), only the stack's folders are.
"""

import contextlib
from pathlib import Path
from typing import Final

from schemas.errors import ConfigError

__all__ = ["PRIVATE_UMASK", "make_private"]

PRIVATE_UMASK: Final = 0o077
_PRIVATE: Final = 0o700
_SUPERVISOR_FOLDERS: Final = ("logs", "run")
_PART_FOLDERS: Final = ("clickhouse", "kafka", "worker", "sign-in")
_FILES: Final = ("dev.env", "dev.env.new")


def make_private(data_dir: Path) -> None:
    """Create the directory and the supervisor's folders in it, for this user only. Raises ConfigError."""
    try:
        data_dir.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
        for name in _SUPERVISOR_FOLDERS:
            (data_dir / name).mkdir(mode=_PRIVATE, exist_ok=True)
        names = {path.name for path in data_dir.iterdir()}
    except OSError as error:
        raise ConfigError(
            f"The data directory can't be used: {error.strerror}",
            str(error.filename or data_dir),
            "Give one that this user may write to, with --data-dir (with `make run`: DATA_DIR=)",
        ) from error
    if names <= {*_SUPERVISOR_FOLDERS, *_PART_FOLDERS, *_FILES}:
        _restrict(data_dir)
    for name in (*_SUPERVISOR_FOLDERS, *_PART_FOLDERS):
        _restrict(data_dir / name)


def _restrict(folder: Path) -> None:
    # A folder of another user (a mounted volume, say) is left alone; a missing one will be created with this mode.
    with contextlib.suppress(PermissionError, FileNotFoundError):
        folder.chmod(_PRIVATE)
