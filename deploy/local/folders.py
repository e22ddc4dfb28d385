"""The data directory of a stack: made, and closed to everybody else.

What lies there is mail, addresses and keys. A directory that holds nothing but a stack's things is closed whole; where
it holds other things too (somebody named his home, or /tmp), only what is the stack's is.
"""

import contextlib
from pathlib import Path
from typing import Final

from schemas.errors import ConfigError

__all__ = ["PRIVATE_UMASK", "make_private"]

PRIVATE_UMASK: Final = 0o077
_PRIVATE: Final = 0o700
_MADE_HERE: Final = ("logs", "run")
_MADE_BY_PARTS: Final = ("clickhouse", "kafka", "worker")
_FILES: Final = ("dev.env", "dev.env.new")


def make_private(data_dir: Path) -> None:
    """Make the directory, with what the supervisor needs in it, for this user alone. Raises ConfigError."""
    try:
        data_dir.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
        for name in _MADE_HERE:
            (data_dir / name).mkdir(mode=_PRIVATE, exist_ok=True)
        names = {path.name for path in data_dir.iterdir()}
    except OSError as error:
        raise ConfigError(
            f"The data directory can't be used: {error.strerror}",
            str(error.filename or data_dir),
            "Name one that this user may write to, with --data-dir (of `make run`: DATA_DIR=)",
        ) from error
    if names <= {*_MADE_HERE, *_MADE_BY_PARTS, *_FILES}:
        _close(data_dir)
    for name in (*_MADE_HERE, *_MADE_BY_PARTS):
        _close(data_dir / name)


def _close(folder: Path) -> None:
    # Another user's (a volume that is mounted, say) is his to close; what is not there yet will be made closed.
    with contextlib.suppress(PermissionError, FileNotFoundError):
        folder.chmod(_PRIVATE)
