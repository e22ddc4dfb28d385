"""`status` and `explain`: messages, and why they have their status."""

import sys
from contextlib import closing
from typing import Annotated

import typer

from cli.options import AsJson
from cli.settings import settings_with_dev_env

__all__ = ["app"]

app = typer.Typer()


@app.command()
def status(
    email_id: Annotated[str | None, typer.Argument(help="An Email ID; without it, the newest messages.")] = None,
    account: Annotated[str | None, typer.Option(help="Only this account; needed if several share the id.")] = None,
    status_: Annotated[
        list[str] | None, typer.Option("--status", help="Only this status, in any case; may be repeated.")
    ] = None,
    address: Annotated[str | None, typer.Option(help="Only with this To or CC address, in any spelling.")] = None,
    from_: Annotated[str | None, typer.Option("--from", help="Sent at or after this time or date (UTC).")] = None,
    to: Annotated[str | None, typer.Option(help="Sent before this time or date (UTC).")] = None,
    limit: Annotated[int, typer.Option(help="Maximum number of rows.", min=1, max=100_000)] = 20,
    wide: Annotated[bool, typer.Option("--wide", help="Do not cut columns on a terminal.")] = False,
    follow: Annotated[
        bool,
        typer.Option("--follow", help="Keep printing new and changed rows, until Ctrl-C."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show a message, or the newest ones. In a pipe, tab-separated values.

    Example: sendledger status --account demo --status Bounced --from 2026-11-01 --limit 100
    """
    from cli.message_list import MessageOptions, follow_messages, message_rows, show_messages
    from cli.output import show
    from cli.stores import make_store, open_store
    from schemas.settings import StoreSettings

    options = MessageOptions(account, status_ or (), address, from_, to)
    settings = settings_with_dev_env(StoreSettings)
    if follow:
        with closing(make_store(settings)) as store:
            follow_messages(store, email_id, options, limit, as_json=as_json, wide=wide)
        return
    with open_store(settings) as store:
        rows = message_rows(store, email_id, options, limit)
    if email_id is None:
        show_messages(rows, limit, as_json=as_json, wide=wide)
        return
    show(rows, as_json=as_json, none="No such message.", upright=True)
    if not rows:
        sys.exit(1)


@app.command()
def explain(
    email_id: Annotated[str, typer.Argument(help="An Email ID.")],
    account: Annotated[str | None, typer.Option(help="The account; needed if several share the id.")] = None,
    raw: Annotated[
        bool,
        typer.Option("--raw", help="Also what the providers sent, from Kafka, with the signatures checked again."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Explain why a message has its status: what decided it, and why each other event did not.

    Example: sendledger explain 01932c1b-631b-730d-aec5-7edcf163a9d1 --raw
    """
    from cli.explanations import explain_row, read_timeline, show_explanation
    from cli.message_list import MessageOptions, message_rows
    from cli.raw_events import read_raw_events
    from cli.stores import open_store
    from schemas.settings import RawEventSettings, StoreSettings

    settings = settings_with_dev_env(RawEventSettings if raw else StoreSettings)
    with open_store(settings) as store:
        rows = message_rows(store, email_id, MessageOptions(account), 1)
        events = [event for row in rows for event in read_timeline(store, row)]
    if not rows:
        typer.echo("No such message.", err=True)
        sys.exit(1)
    found = read_raw_events(settings, events) if isinstance(settings, RawEventSettings) else None
    show_explanation(explain_row(rows[0], events), found, as_json=as_json)
