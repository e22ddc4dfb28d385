"""Where a command's settings come from: the environment and, for some commands, the `dev.env` of a local stack.

`gateway`, `worker`, `migrate` and `topics` are the programs of an installation: they read only the environment. A file
in the current folder must not decide which servers they write to, or whose webhooks they trust. All other commands are
for people with a local stack: they add settings from `.data/dev.env` to the environment, and say so on stderr.
"""

import os
import shlex
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import typer

from deploy.local.supervisor import PART_MARKER
from schemas.errors import ConfigError
from schemas.settings import DEV_ENV, PREFIX, Settings, SuppressionSettings, read, set_by_file

__all__ = ["rules_in_file", "settings_from_env", "settings_with_dev_env", "variables_in"]

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


def rules_in_file(path: Path) -> dict[str, str]:
    """Return the settings of suppressions in a file of `NAME=value` lines, by field. Raises ConfigError."""
    try:
        lines = variables_in(path)
    except (OSError, ValueError) as error:  # also text that is not UTF-8, or an open quote
        raise ConfigError(
            f"The file of settings can't be read: {type(error).__name__}",
            str(path),
            f"Give a file with lines such as {PREFIX}SUPPRESS_BOUNCES=2",
        ) from error
    known = {PREFIX + name.upper(): name for name in SuppressionSettings.model_fields}
    if not lines or (unknown := sorted(lines.keys() - known.keys())):
        raise ConfigError(
            f"The file names other settings: {', '.join(unknown)}" if lines else "The file names no setting",
            str(path),
            f"Only these decide what is suppressed: {', '.join(known)}",
        )
    return {known[name]: value for name, value in lines.items()}


def variables_in(path: Path) -> dict[str, str]:
    """Return the variables in a file of `NAME=value` lines, quoted as for a shell. Raises OSError and ValueError."""
    text = (line.partition("=") for line in path.read_text(encoding="utf-8").splitlines())
    named = ((name.strip(), value) for name, equals, value in text if equals and not name.lstrip().startswith("#"))
    return {name: "".join(shlex.split(value)) for name, value in named}


@cache
def _say_once(path: Path) -> None:
    typer.echo(f"settings from {path}; variables of the environment override them", err=True)
