"""Suppresses and releases addresses from the command line: writes a command to Kafka."""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import typer

from application.current_state import CurrentState, current_state, is_known_scope
from application.suppressing import command_for
from application.suppression_commands import Action, channel_of
from application.writing import write_once
from cli.actor import command_line_principal
from cli.output import show
from cli.progress import waiting_for
from cli.stores import open_store
from schemas.settings import CommandSettings

__all__ = ["show_result", "submit_command"]

_LOOKUP_SECONDS: Final = 3
"""How long to wait for the state before the command: the command itself matters more."""


async def submit_command(
    settings: CommandSettings, action: Action, options: Mapping[str, str | None], now_us: int
) -> dict[str, Any]:
    """Write the command; return it with its effect. Raises RequestError or BrokerError."""
    fields = {**options, "channel": options.get("channel") or channel_of(options["address"] or "")}
    prepared = command_for(fields, action, command_line_principal(), now_us)
    with open_store(settings, timeout_seconds=_LOOKUP_SECONDS) as store:
        current = await current_state(store, prepared)
        known = current == CurrentState() or await asyncio.to_thread(is_known_scope, store, prepared.command.scope)
    with waiting_for(f"Kafka at {settings.kafka}"):
        await write_once(settings.kafka, [prepared.record()])
    command = prepared.command
    was = {"was_opted_out": current.was_opted_out} if action == "opt_in" else {"was_suppressed": current.was_suppressed}
    return {
        "command_id": command.command_id,
        "action": command.action,
        "channel": command.channel,
        "address": prepared.key.address,
        "scope": command.scope,
        "actor": command.actor,
        **was,
        "effect": current.effect(action),
        "scope_known": known,
    }


def show_result(result: Mapping[str, Any], *, as_json: bool) -> None:
    """Print the command; on stderr, warnings about it."""
    fields = {name: value for name, value in result.items() if name != "scope_known"}
    show([fields], as_json=as_json, upright=True)
    if result.get("was_suppressed", result.get("was_opted_out")) is None:
        typer.echo(
            "ClickHouse did not answer, so the state before is unknown. The command was written all the same.", err=True
        )
    if not result["scope_known"]:
        typer.echo(f"Account {result['scope']!r} has no message and no policy: check the spelling", err=True)
