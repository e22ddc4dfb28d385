"""`lag`, `weather`, `doctor` and `schemas`: for operators."""

import sys
from contextlib import closing
from functools import partial
from typing import Annotated

import typer

from cli.process import run
from cli.progress import waiting_for
from cli.settings import settings_with_dev_env

__all__ = ["app"]

app = typer.Typer()


@app.command()
def lag(
    group: Annotated[str | None, typer.Option(help="Only this consumer group.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Also partitions without lag.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show consumer lag: the partitions that lag, and totals per group.

    Example: sendledger lag --json
    """
    from cli.diagnostics import lag_of, show_lag
    from schemas.settings import ReadersSettings

    settings = settings_with_dev_env(ReadersSettings)
    with waiting_for(f"Kafka at {settings.kafka}"):
        found = run(lag_of(settings, group))
    show_lag(found, every=every, as_json=as_json)
    if group is not None and not found.partitions:
        sys.exit(1)


@app.command()
def weather(
    minutes: Annotated[int, typer.Option(help="The last minutes.", min=1, max=60)] = 15,
    follow: Annotated[bool, typer.Option("--follow", help="Print it every 10 seconds, until Ctrl-C.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show how the events of each provider arrive, and who is silent: their outage, or our fault.

    Numbers of the last minutes, and of the same minutes of the day before. Ends with 1 if something is silent.

    Example: sendledger weather --minutes 30
    """
    from cli.stores import make_store, open_store
    from cli.weather import follow_weather, show_weather, weather_now
    from schemas.settings import WeatherSettings

    settings = settings_with_dev_env(WeatherSettings)
    if follow:
        with closing(make_store(settings)) as store:
            follow_weather(lambda: run(weather_now(settings, store, minutes)), partial(show_weather, as_json=as_json))
        return
    with open_store(settings) as store:
        found = run(weather_now(settings, store, minutes))
    show_weather(found, as_json=as_json)
    sys.exit(1 if found.silences else 0)


@app.command()
def doctor(
    programs: Annotated[
        list[str] | None,
        typer.Option(
            "--for", help="Only the settings of this program: topics, migrate, ledger, gate or gateway; repeatable."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Check every dependency, and say how to mend what is wrong.

    Example: sendledger doctor
    """
    from application.checks.check import exit_code
    from cli.diagnostics import show_checks
    from cli.doctor.run import run_checks

    checks = run(run_checks(settings_with_dev_env, programs or ()))
    show_checks(checks, as_json=as_json)
    sys.exit(exit_code(checks))


@app.command()
def schemas(
    which: Annotated[
        str | None,
        typer.Option("--format", help="json for the JSON Schemas, asyncapi for AsyncAPI; default: both."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="On one line.")] = False,
) -> None:
    """Print the JSON Schemas of all records, and the AsyncAPI document of all topics.

    Example: sendledger schemas --format asyncapi
    """
    from cli.diagnostics import schema_documents

    typer.echo(schema_documents(which, indented=not as_json))
