"""`simulate`: generated traffic."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from cli.options import AsJson
from cli.process import run
from cli.settings import settings_with_dev_env
from schemas.errors import RequestError

__all__ = ["app"]

app = typer.Typer()


@app.command()
def simulate(
    messages: Annotated[int, typer.Option(help="Number of messages.", min=1)] = 1000,
    seed: Annotated[int, typer.Option(help="The same seed gives the same traffic.")] = 1,
    via: Annotated[str, typer.Option(help="kafka, or http for signed POSTs.")] = "kafka",
    before: Annotated[str | None, typer.Option(help="End of the simulated time; default: last midnight (UTC).")] = None,
    live: Annotated[bool, typer.Option("--live", help="Endless traffic of account `demo`, over HTTP.")] = False,
    oracle: Annotated[Path | None, typer.Option(help="Write the expected results to this file, for `verify`.")] = None,
    decide: Annotated[
        bool, typer.Option("--decide/--no-decide", help="Also write decisions, if no gate runs.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Send realistic traffic of all providers: our own records, and signed webhooks, with duplicates and out of order.

    Example: sendledger simulate --messages 1000 --seed 3 --via http --oracle oracle.json
    """
    from cli.output import show
    from cli.simulating import run_live, run_once
    from schemas.settings import GatewaySettings, SimulatorSettings

    if via not in ("kafka", "http"):
        raise RequestError(f"Unknown --via {via!r}", "--via", "Use kafka or http")
    if live and oracle is not None:
        raise RequestError("Endless traffic has no oracle", "--oracle", "Omit --live")
    settings = settings_with_dev_env(SimulatorSettings)
    url = f"http://127.0.0.1:{settings_with_dev_env(GatewaySettings).port}" if live or via == "http" else ""
    if live:
        sys.exit(run(run_live(settings, url, decides=decide)))
    done = run_once(settings, url, messages, seed, via, before, oracle_file=oracle, decides=decide)
    show([run(done)], as_json=as_json, upright=True)
