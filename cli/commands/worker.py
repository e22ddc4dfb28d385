"""`worker`: the ledger's workers and the gate's."""

import sys

import typer

from cli.process import enable_kafka_log, run
from cli.settings import settings_from_env

__all__ = ["app"]


app = typer.Typer(
    no_args_is_help=True,
    help="""Run a worker, until stopped.

    Example: SENDLEDGER_INSTANCE=ledger-0 sendledger worker ledger
    """,
)


@app.callback()
def worker() -> None:
    """Prepare a worker's process. The help text is that of `app`."""
    enable_kafka_log()


@app.command()
def ledger() -> None:
    """Write the log's events to ClickHouse.

    Example: SENDLEDGER_INSTANCE=ledger-0 sendledger worker ledger
    """
    from processors.ledger.app import run_ledger
    from schemas.settings import LedgerSettings

    sys.exit(run(run_ledger(settings_from_env(LedgerSettings))))


@app.command()
def gate() -> None:
    """Decide what may be sent, and which addresses are suppressed.

    Example: SENDLEDGER_INSTANCE=gate-0 sendledger worker gate
    """
    from processors.gate.app import run_gate
    from schemas.settings import GateSettings

    sys.exit(run(run_gate(settings_from_env(GateSettings))))
