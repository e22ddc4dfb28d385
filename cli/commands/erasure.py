"""`erase-contents`: deletes what was sent to a person."""

import time
from typing import Annotated

import typer

from cli.options import AsJson
from cli.process import run
from cli.settings import settings_with_dev_env

__all__ = ["app"]

app = typer.Typer()


@app.command("erase-contents")
def erase_contents(
    account: Annotated[str, typer.Option(help="The account whose messages they are.")],
    reason: Annotated[str, typer.Option(help="The reason; kept for ever with the actor, so name nobody in it.")],
    client_id: Annotated[str | None, typer.Option(help="The id of a client: what was sent to this client.")] = None,
    staff_id: Annotated[str | None, typer.Option(help="The id of a staff member: what was sent to them.")] = None,
    address: Annotated[str | None, typer.Option(help="An address: what was sent to it, as To or CC.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count what would be erased.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before it erases.")] = False,
    as_json: AsJson = False,
) -> None:
    """Erase the contents, HTML and text, of all messages to a person. It can't be undone; repeating it is safe.

    Give exactly one of --client-id, --staff-id and --address. Subject, names, addresses and events stay: see
    docs/how-to/erase-a-person.md.

    Example: sendledger erase-contents --account demo --client-id c-17 --reason "request 4711" --dry-run
    """
    from application.erasing import Person
    from cli.erasing import erase_contents, find, show_result, would_erase
    from schemas.settings import CommandSettings

    settings = settings_with_dev_env(CommandSettings)
    person = Person(account, client_id, staff_id, address)
    prepared = find(settings, person, reason, time.time_ns() // 1000)
    if dry_run:
        show_result(would_erase(settings, prepared), as_json=as_json, dry_run=True)
        return
    if prepared.erased and not yes:
        typer.confirm(f"Erase the contents of {len(prepared.erased)} messages for ever?", abort=True, err=True)
    show_result(run(erase_contents(settings, prepared)), as_json=as_json, dry_run=False)
