"""What on-call looks at: how far readers are behind, what is wrong, what the records look like."""

import logging
from collections.abc import Sequence
from typing import Any

import orjson
import typer

from cli.doctor.checks import Check
from cli.output import show
from processors.lag import Lag, lag
from schemas.asyncapi import document
from schemas.errors import RequestError
from schemas.groups import Group, groups_of
from schemas.json_schemas import json_schemas
from schemas.settings import ReadersSettings

__all__ = ["lag_of", "published", "quieten_clients", "show_checks", "show_lag"]

_FORMATS = ("json", "asyncapi")


async def lag_of(settings: ReadersSettings, name: str | None) -> Lag:
    """Return the lag of all our groups, or of one group, whoever it is. Raises BrokerError."""
    groups = groups_of(settings.consumer_group, settings.gate_group)
    if name is not None:
        groups = tuple(group for group in groups if group.name == name) or (Group(name),)
    quieten_clients()
    return await lag(settings.kafka_bootstrap, groups)


def show_lag(found: Lag, *, as_json: bool) -> None:
    """Print one object, or a table and the total."""
    if as_json:
        typer.echo(orjson.dumps(found.as_json()))
        return
    show(found.as_json()["partitions"], as_json=False, none="No such group, or its topics are missing.")
    if found.partitions:
        typer.echo(f"total {found.total}")


def show_checks(checks: Sequence[Check], *, as_json: bool) -> None:
    """Print one object, or a line for each check."""
    from cli.doctor.examine import text

    if as_json:
        good = not any(check.code for check in checks)
        typer.echo(orjson.dumps({"ok": good, "checks": [check.as_json() for check in checks]}))
    else:
        typer.echo(text(checks))


def published(which: str | None, *, indented: bool) -> str:
    """Return the JSON Schemas, the AsyncAPI document, or both. Raises RequestError."""
    if which not in (None, *_FORMATS):
        raise RequestError(f"There is no format {which[:40]!r}", "--format", "Use json or asyncapi")
    found: dict[str, Any] = {}
    if which == "json":
        found = json_schemas()
    elif which == "asyncapi":
        found = document()
    else:
        found = {"schemas": json_schemas(), "asyncapi": document()}
    return orjson.dumps(found, option=orjson.OPT_INDENT_2 if indented else None).decode()


def quieten_clients() -> None:
    """Let libraries be silent about servers that are away: what we say of it is enough."""
    for name in ("aiokafka", "clickhouse_connect", "urllib3"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
