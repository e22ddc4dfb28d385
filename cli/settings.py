"""Which settings a command has: those of the environment; beside a local stack, also those that `up` wrote.

`gateway`, `worker`, `migrate` and `topics` are the parts of an installation: they go by the environment alone. A file
that happens to lie in the folder where one starts must not decide which servers it writes to, or whose webhooks it
trusts. All other commands are used beside a stack, by people:
`.data/dev.env` completes the environment, and they say so.
"""

import os
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import typer

from deploy.local.supervisor import MARK
from schemas.settings import DEV_ENV, Settings, filled_by, read

__all__ = ["settings_beside_up", "settings_of"]

S = TypeVar("S", bound=Settings)


def settings_of(kind: type[S], **given: Any) -> S:
    """Return settings from the environment alone. Raises ConfigError."""
    return read(kind, **given)


def settings_beside_up(kind: type[S], **given: Any) -> S:
    """Return settings from the environment, completed by those of a local `up`. Raises ConfigError."""
    if MARK in os.environ:  # noqa: TID251 - this is a main; a part of `up` has all of its settings from it
        return read(kind, **given)
    if filled_by(kind, DEV_ENV):
        _say_once(DEV_ENV.absolute())
    return read(kind, beside=DEV_ENV, **given)


@cache
def _say_once(path: Path) -> None:
    typer.echo(f"settings from {path}; variables of the environment override them", err=True)
