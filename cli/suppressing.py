"""Closing and opening addresses from the command line: a command straight into the log."""

import getpass
import os
from collections.abc import Mapping
from typing import Any

import typer

from cli.operating import quieten_clients
from cli.output import show
from gateway.problems import Invalid
from gateway.suppressions.before import was_suppressed
from gateway.suppressions.commands import Action, Made, channel_of, make
from gateway.writing import write_once
from projections.store import Store
from schemas.errors import RequestError
from schemas.settings import CommandSettings

__all__ = ["give", "show_given"]


async def give(
    settings: CommandSettings, action: Action, asked: Mapping[str, str | None], now_us: int
) -> dict[str, Any]:
    """Write the command, and return what it was. Raises RequestError or BrokerError."""
    quieten_clients()
    made = _made(action, asked, now_us)
    store = Store(settings.clickhouse_url.get_secret_value(), database=settings.clickhouse_database)
    before = await was_suppressed(store, made)
    await write_once(settings.kafka_bootstrap, [made.record()])
    command = made.command
    return {
        "command_id": command.command_id,
        "action": command.action,
        "channel": command.channel,
        "address": made.key.address,
        "scope": command.scope,
        "actor": command.actor,
        "was_suppressed": before,
    }


def show_given(given: Mapping[str, Any], *, as_json: bool) -> None:
    """Print the command; on stderr, what somebody may wonder about."""
    show([given], as_json=as_json, upright=True)
    if given["was_suppressed"] is None:
        typer.echo(
            "ClickHouse does not say whether it was suppressed. The command is in the log all the same.", err=True
        )
    elif given["action"] == "release" and not given["was_suppressed"]:
        typer.echo("It was not suppressed, so nothing changes.", err=True)


def _made(action: Action, asked: Mapping[str, str | None], now_us: int) -> Made:
    address = asked["address"] or ""
    said = {**asked, "channel": asked.get("channel") or channel_of(address)}
    try:
        return make(said, action, actor=f"cli:{_user()}", now_us=now_us)
    except Invalid as error:
        raise RequestError(f"{error.detail}", "the arguments", "Mend them; see --help") from None


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run as a number that has no name
        return str(os.getuid())
