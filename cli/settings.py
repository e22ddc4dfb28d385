"""Where a command's settings come from: the environment and, for some commands, the `dev.env` of a local stack.

`gateway`, `worker`, `migrate` and `topics` are the programs of an installation: they read only the environment. A file
in the current folder must not decide which servers they write to, or whose webhooks they trust. All other commands are
for people with a local stack: they add settings from `.data/dev.env` to the environment, and say so on stderr.
"""

import os
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import typer

from deploy.local.supervisor import PART_MARKER
from schemas.settings import DEV_ENV, Settings, read, set_by_file

__all__ = ["settings_from_env", "settings_with_dev_env"]

S = TypeVar("S", bound=Settings)


def settings_from_env(kind: type[S], **given: Any) -> S:
    """Return settings from the environment only. Raises ConfigError."""
    return read(kind, **given)


def settings_with_dev_env(kind: type[S], **given: Any) -> S:
    """Return settings from the environment, and missing ones from the local `dev.env`. Raises ConfigError."""
    if PART_MARKER in os.environ:  # noqa: TID251 - this is a main; a part of `up` gets all settings from it
        return read(kind, **given)
    if set_by_file(kind, DEV_ENV):
        _say_once(DEV_ENV.absolute())
    return read(kind, env_file=DEV_ENV, **given)


@cache
def _say_once(path: Path) -> None:
    typer.echo(f"settings from {path}; variables of the environment override them", err=True)
