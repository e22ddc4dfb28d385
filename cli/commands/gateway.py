"""`gateway`: the HTTP server."""

import sys
from typing import Annotated

import typer

from cli.process import enable_kafka_log, run
from cli.settings import settings_from_env

__all__ = ["app"]

app = typer.Typer()


@app.command()
def gateway(
    only: Annotated[
        str | None, typer.Option(help="Serve only this part: console. Its load then does not slow webhooks.")
    ] = None,
) -> None:
    """Serve webhooks, the API and the console, until stopped.

    Example: SENDLEDGER_PORT=8480 sendledger gateway
    """
    enable_kafka_log()
    from gateway.server import serve
    from schemas.settings import GatewaySettings

    if only not in (None, "console"):
        raise typer.BadParameter("there is only console", param_hint="--only")
    sys.exit(run(serve(settings_from_env(GatewaySettings), only="console" if only else None)))
