"""Progress lines on stderr while a command waits for a server: after two seconds, then every ten."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import typer

__all__ = ["waiting_for"]

FIRST_SECONDS: Final = 2.0
NEXT_SECONDS: Final = 10.0


@contextmanager
def waiting_for(what: str) -> Iterator[None]:
    """Print that `what` is waited for, if the block takes long. Works for blocking code and for async code."""
    done = threading.Event()

    def say() -> None:
        seconds = FIRST_SECONDS
        while not done.wait(seconds):
            typer.echo(f"waiting for {what}", err=True)
            seconds = NEXT_SECONDS

    saying = threading.Thread(target=say, name="progress", daemon=True)
    saying.start()
    try:
        yield
    finally:
        done.set()
        saying.join()
