"""The work of `incident`: bulk releases, their undo, and what they print."""

import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, closing
from itertools import chain, islice
from typing import Any, Final

import typer

from application.bulk_releases import (
    Limits,
    Report,
    list_bulk_releases,
    plan_release,
    plan_undo,
    release_in_bulk,
    undo_release,
)
from application.refused_messages import REFUSED_COLUMNS, refused_messages
from application.writing import connected_producer
from cli.actor import command_line_principal
from cli.output import Column, show
from cli.stores import make_store, open_store
from gateway.api.export import csv_lines, to_columns
from processors.kafka.ports import RecordProducer
from schemas.settings import IncidentSettings, StoreSettings

__all__ = ["release", "show_list", "show_refused", "show_report", "undo"]

_COMMAND_SECONDS: Final = 300
"""How long ClickHouse may take for one page: a report is worth the wait."""
_GROUPS_SHOWN: Final = 20
"""How many accounts or causes are printed; JSON has all."""
_LIST: Final = (
    Column("id"),
    Column("first_at"),
    Column("addresses"),
    Column("undone"),
    Column("actor", optional=True),
    Column("reason", cut=True),
    Column("note", cut=True, optional=True),
)
_REFUSED: Final = (
    Column("date_sent"),
    Column("email_id"),
    Column("account_id", title="account", cut=True),
    Column("to_address", title="to", cut=True),
    Column("type", cut=True, optional=True),
    Column("appointment_id", optional=True),
)


async def release(
    settings: IncidentSettings,
    fields: Mapping[str, str | None],
    reason: str,
    bulk_id: str | None,
    *,
    yes: bool,
    rate: int,
) -> Report:
    """Release in bulk, or preview it. Raises RequestError, BrokerError, StoreError."""
    plan = plan_release(fields, reason, command_line_principal(), time.time_ns() // 1000, bulk_id=bulk_id)
    if yes:
        typer.echo(f"bulk release {plan.bulk_id}", err=True)  # at once: an interrupted one is repeated with this id
    with closing(make_store(settings, timeout_seconds=_COMMAND_SECONDS)) as store:
        async with _kafka(settings, yes=yes) as kafka:
            return await release_in_bulk(kafka, store, plan, Limits(rate), progress=_show_progress)


async def undo(settings: IncidentSettings, bulk_id: str, reason: str, *, yes: bool, rate: int) -> Report:
    """Undo a bulk release, or preview that. Raises RequestError, BrokerError, StoreError."""
    plan = plan_undo(bulk_id, reason, command_line_principal(), time.time_ns() // 1000)
    with closing(make_store(settings, timeout_seconds=_COMMAND_SECONDS)) as store:
        async with _kafka(settings, yes=yes) as kafka:
            return await undo_release(kafka, store, plan, Limits(rate), progress=_show_progress)


def show_report(report: Report, hint: str, *, yes: bool, as_json: bool) -> None:
    """Print what was done, or would be; then `hint` says how to do it."""
    result = report.as_json() | {"dry_run": not yes}
    if as_json:
        show([result], as_json=True)
        return
    whole = {name: result[name] for name in ("id", "as_of", "addresses", "dry_run")}
    show([whole], as_json=False, upright=True)
    groups = {"account": report.by_account, "cause": report.by_cause, "left as it is, because": report.left}
    for title, counts in groups.items():
        if rows := [{title: name, "addresses": number} for name, number in counts.most_common(_GROUPS_SHOWN)]:
            show(rows, as_json=False)
    if report.samples:
        show(report.samples, as_json=False, columns=[Column(name, cut=True) for name in report.samples[0]])
    if not yes:
        typer.echo(f"Nothing was written. {hint}", err=True)


def show_list(settings: StoreSettings, limit: int, *, as_json: bool) -> None:
    """Print the newest bulk releases. Raises StoreError."""
    with open_store(settings) as store:
        rows = list_bulk_releases(store, command_line_principal(), limit=limit)
    show(rows, as_json=as_json, none="Nothing was released in bulk.", columns=_LIST)


def show_refused(
    settings: IncidentSettings, bulk_id: str, account: str | None, *, limit: int, as_csv: bool, as_json: bool
) -> None:
    """Print the messages that were refused. Raises RequestError and StoreError."""
    with open_store(settings, timeout_seconds=_COMMAND_SECONDS) as store:
        pages = refused_messages(
            store, command_line_principal(), bulk_id, account=account, decision_days=settings.decision_days
        )
        if as_csv:
            first = list(islice(pages, 1))  # an unknown id is an error before the first line
            sys.stdout.write(csv_lines([[name] for name in REFUSED_COLUMNS]))
            for columns in to_columns(chain(first, pages), REFUSED_COLUMNS):
                sys.stdout.write(csv_lines(columns))
            return
        rows: list[dict[str, Any]] = list(islice(chain.from_iterable(pages), limit + 1))
    show(rows[:limit], as_json=as_json, none="No message was refused because of these.", columns=_REFUSED)
    if len(rows) > limit:
        typer.echo(f"There are more than {limit}: raise --limit, or use --csv.", err=True)


@asynccontextmanager
async def _kafka(settings: IncidentSettings, *, yes: bool) -> AsyncIterator[RecordProducer | None]:
    """A producer, or none for a preview."""
    if not yes:
        yield None
        return
    async with connected_producer(settings.kafka) as kafka:
        yield kafka


def _show_progress(addresses: int) -> None:
    typer.echo(f"{addresses:,} addresses", err=True)
