"""Closing and opening addresses from the command line: a command straight into the log."""

import asyncio
import getpass
import os
from collections.abc import Mapping
from typing import Any, Final

import typer

from application.current_state import CurrentState, current_state, is_known_scope
from application.principals import ALL_ACCOUNTS, Principal
from application.suppressing import command_of
from application.suppression_commands import Action, channel_of
from application.writing import write_once
from cli.output import show
from cli.progress import waiting_for
from cli.stores import opened
from schemas.settings import CommandSettings

__all__ = ["give", "show_given"]

_BEFORE_WITHIN_SECONDS: Final = 3
"""How it was before is worth so much waiting: to close an address matters more."""


async def give(
    settings: CommandSettings, action: Action, asked: Mapping[str, str | None], now_us: int
) -> dict[str, Any]:
    """Write the command, and return what it is and does. Raises RequestError or BrokerError."""
    said = {**asked, "channel": asked.get("channel") or channel_of(asked["address"] or "")}
    made = command_of(said, action, _somebody(), now_us)
    with opened(settings, timeout_seconds=_BEFORE_WITHIN_SECONDS) as store:
        before = await current_state(store, made)
        known = before == CurrentState() or await asyncio.to_thread(is_known_scope, store, made.command.scope)
    with waiting_for(f"Kafka at {settings.kafka_bootstrap}"):
        await write_once(settings.kafka_bootstrap, [made.record()])
    command = made.command
    was = {"was_opted_out": before.was_opted_out} if action == "opt_in" else {"was_suppressed": before.was_suppressed}
    return {
        "command_id": command.command_id,
        "action": command.action,
        "channel": command.channel,
        "address": made.key.address,
        "scope": command.scope,
        "actor": command.actor,
        **was,
        "effect": before.effect(action),
        "scope_known": known,
    }


def show_given(given: Mapping[str, Any], *, as_json: bool) -> None:
    """Print the command; on stderr, what somebody may wonder about."""
    said = {name: value for name, value in given.items() if name != "scope_known"}
    show([said], as_json=as_json, upright=True)
    if given.get("was_suppressed", given.get("was_opted_out")) is None:
        typer.echo("ClickHouse does not say how it was before. The command is in the log all the same.", err=True)
    if not given["scope_known"]:
        wonder = f"No message or policy of an account {given['scope']!r} is known: is that how it is spelled?"
        typer.echo(wonder, err=True)


def _somebody() -> Principal:
    """Who sits at the command line may do everything, for all accounts."""
    return Principal(f"cli:{_user()}", "operator", frozenset({ALL_ACCOUNTS}))


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run as a number that has no name
        return str(os.getuid())
