"""Commands for operators: consumer lag, the doctor's checks, and the schemas of records."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import orjson
import typer

from application.checks.check import Check
from cli.output import show
from processors.kafka.lag import Lag, lag
from schemas.asyncapi import document
from schemas.consumer_groups import ConsumerGroup, consumer_groups
from schemas.errors import RequestError
from schemas.json_schemas import json_schemas
from schemas.settings import ReadersSettings

__all__ = ["lag_of", "schema_documents", "show_checks", "show_lag"]

_FORMATS = ("json", "asyncapi")


async def lag_of(settings: ReadersSettings, name: str | None) -> Lag:
    """Return the lag of all our consumer groups, or of one group by name. Raises BrokerError."""
    groups = consumer_groups(settings.consumer_group, settings.gate_group)
    if name is not None:
        groups = tuple(group for group in groups if group.name == name) or (ConsumerGroup(name),)
    return await lag(settings.kafka, groups)


def show_lag(found: Lag, *, every: bool, as_json: bool) -> None:
    """Print one JSON object; or a table of the partitions that lag (all with `every`), and totals per group."""
    if as_json:
        typer.echo(orjson.dumps(found.as_json()))
        return
    if not found.partitions:
        typer.echo("No such group, or its topics are missing.", err=True)
        return
    rows = [asdict(partition) for partition in found.partitions if every or partition.lag]
    if rows:
        show(rows, as_json=False)
    for name in sorted({partition.group for partition in found.partitions}):
        of_group = [partition for partition in found.partitions if partition.group == name]
        behind = sum(partition.lag > 0 for partition in of_group)
        total = sum(partition.lag for partition in of_group)
        typer.echo(f"group {name}: {total} to read, in {behind} of {len(of_group)} partitions")
    typer.echo(f"total {found.total}")


def show_checks(checks: Sequence[Check], *, as_json: bool) -> None:
    """Print one object, or a line for each check."""
    from cli.doctor.run import text

    if as_json:
        good = not any(check.code for check in checks)
        typer.echo(orjson.dumps({"ok": good, "checks": [check.as_json() for check in checks]}))
    else:
        typer.echo(text(checks))


def schema_documents(which: str | None, *, indented: bool) -> str:
    """Return the JSON Schemas, the AsyncAPI document, or both. Raises RequestError."""
    if which not in (None, *_FORMATS):
        raise RequestError(f"Unknown format {which[:40]!r}", "--format", "Use json or asyncapi")
    found: dict[str, Any] = {}
    if which == "json":
        found = json_schemas()
    elif which == "asyncapi":
        found = document()
    else:
        found = {"schemas": json_schemas(), "asyncapi": document()}
    return orjson.dumps(found, option=orjson.OPT_INDENT_2 if indented else None).decode()
