"""The `sendledger` command: builds the application from `cli.commands`, and turns errors into exit codes.

Data goes to stdout, progress and logs to stderr. Exit codes: 0 done, 1 found wrong, 2 usage, 3 configuration,
4 a dependency is down.
"""

import logging
import sys
from importlib import metadata
from typing import Annotated

import structlog
import typer

from cli.commands import (
    dead_letters,
    erasure,
    gateway,
    incident,
    messages,
    operations,
    recovery,
    simulation,
    stack,
    storage,
    suppressions,
    token,
    verification,
    worker,
)
from cli.errors import error_text, exit_code, to_sendledger_error
from cli.process import quieten_clients

__all__ = ["app", "main"]

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="""Records what became of every email and SMS that a booking service requested.

    Example: sendledger up --demo
    """,
)
# The order is that of `--help`.
for commands in (
    stack,
    storage,
    gateway,
    messages,
    suppressions,
    erasure,
    operations,
    verification,
    recovery,
    simulation,
):
    app.add_typer(commands.app)
app.add_typer(dead_letters.app, name="dead-letters")
app.add_typer(incident.app, name="incident")
app.add_typer(token.app, name="token")
app.add_typer(worker.app, name="worker")


def _print_version(given: bool) -> None:
    if given:
        typer.echo(f"sendledger {metadata.version('sendledger')}")
        raise typer.Exit


@app.callback()
def sendledger(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Handle the options before the command. The help text is that of `app`."""


def main() -> None:
    """Run the command line. A SendledgerError is printed on stderr and sets the exit code."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.LogfmtRenderer(sort_keys=False),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    logging.basicConfig(
        level=logging.WARNING, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )
    quieten_clients()
    try:
        app()
    except Exception as error:
        ours = to_sendledger_error(error)
        if ours is None:
            raise
        typer.echo(error_text(ours), err=True)
        sys.exit(exit_code(ours))
