"""Closing and opening addresses from the command line: a command straight into the log; and the list of them."""

import getpass
import os
from collections.abc import Mapping, Sequence
from typing import Any, Final

import typer

from cli.operating import quieten_clients
from cli.output import show
from gateway.paging import address_keys
from gateway.problems import Invalid, Problem
from gateway.suppressions.before import was_suppressed
from gateway.suppressions.commands import Action, Made, channel_of, make
from gateway.writing import write_once
from projections.store import Store
from projections.suppressions import queries
from schemas.errors import RequestError
from schemas.settings import CommandSettings, StoreSettings
from schemas.suppressions import EVERYWHERE, valid_scope

__all__ = ["give", "show_given", "show_suppressions", "suppression_rows"]

_MAY_BE: Final = {
    "channel": ("email", "sms"),
    "reason": ("bounces", "complaint", "manual", "provider"),
}


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


def suppression_rows(
    settings: StoreSettings, asked: Mapping[str, str | None], suppressed: bool | None, limit: int
) -> list[dict[str, Any]]:
    """Return up to `limit` + 1 rows of the view `suppressions`. Raises RequestError or StoreError."""
    for name, values in _MAY_BE.items():
        if asked[name] is not None and asked[name] not in values:
            raise RequestError(f"`{name}` {asked[name]!r} is none", "the arguments", f"Use {' or '.join(values)}")
    try:
        valid_scope(asked["scope"] or EVERYWHERE)
        keys = address_keys(asked["address"], asked["channel"])
    except (ValueError, Problem) as error:
        said = error.detail if isinstance(error, Problem) else f"`scope`: {error}"
        raise RequestError(said, "the arguments", "Mend them; see --help") from None
    wanted = queries.Filter(None, asked["channel"], asked["scope"], suppressed, asked["reason"], keys)
    store = Store(settings.clickhouse_url.get_secret_value(), database=settings.clickhouse_database)
    query = queries.suppressions_page(wanted, limit=limit)
    return store.rows(query.sql, query.parameters)


def show_suppressions(rows: Sequence[Mapping[str, Any]], limit: int, *, as_json: bool) -> None:
    """Print up to `limit` rows; on stderr, whether there are more."""
    show(rows[:limit], as_json=as_json, none="Nothing is known of any such address.")
    if len(rows) > limit:
        typer.echo(f"There are more than {limit}: name what you look for, or raise --limit.", err=True)


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
