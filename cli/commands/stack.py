"""`up`: a whole stack on one machine."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from cli.process import run

__all__ = ["app"]

app = typer.Typer()


@app.command()
def up(
    demo: Annotated[bool, typer.Option("--demo", help="Add live simulated traffic.")] = False,
    data_dir: Annotated[Path, typer.Option(help="Folder for all data.")] = Path(".data"),
    reload: Annotated[
        bool, typer.Option("--reload", help="Restart the gateway whenever a source file changes (for development).")
    ] = False,
    port_base: Annotated[int, typer.Option(help="Gateway's port; the others follow it.", min=1024, max=65000)] = 8480,
) -> None:
    """Run everything on this machine, and print `ready URL` once it is up.

    Example: sendledger up --demo --data-dir .data --port-base 8480
    """
    from cli.up import run_up

    sys.exit(run(run_up(data_dir.absolute(), port_base, demo=demo, reload=reload)))
