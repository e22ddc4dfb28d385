"""Restarts a part whenever a source file changes, for development (`make dev`)."""

import asyncio
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import structlog

from deploy.local.supervisor import Supervisor
from schemas.errors import ConfigError
from schemas.log_events import LogEvent

__all__ = ["restart_on_change", "source_folders"]

log = structlog.get_logger()

_SUFFIXES: Final = (".py", ".sql", ".html", ".css", ".js", ".svg")


def source_folders(*packages: str) -> list[Path]:
    """Return the folders of our packages with these names."""
    root = Path(__file__).parents[2]
    return [root / package for package in packages]


async def restart_on_change(
    supervisor: Supervisor, part: str, folders: Sequence[Path], stop: asyncio.Event | None = None
) -> None:
    """End `part` with SIGTERM whenever a source file in `folders` changes; the supervisor starts it again.

    Returns when `stop` is set. Raises ConfigError if watchfiles is not installed: it is a package for development.
    """
    try:
        from watchfiles import Change, awatch
    except ImportError as error:
        what = "Files can't be watched: watchfiles is not installed"
        raise ConfigError(what, "--reload", "Run `make setup`, or leave --reload out") from error

    def is_source(_: Change, path: str) -> bool:
        return path.endswith(_SUFFIXES)

    async for changes in awatch(*folders, watch_filter=is_source, stop_event=stop):
        log.info(LogEvent.PART_RELOADED, part=part, files=sorted({Path(path).name for _, path in changes})[:5])
        supervisor.send(part, signal.SIGTERM)
