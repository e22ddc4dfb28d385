"""`suppress`, `release`, `opt-in` and `suppressions`: addresses that nothing is sent to."""

import time
from typing import Annotated, Literal

import typer

from cli.options import AsJson
from cli.process import run
from cli.settings import settings_with_dev_env

__all__ = ["app"]

app = typer.Typer()


Address = Annotated[str, typer.Argument(help="An email address, or a phone number in E.164.")]
Reason = Annotated[str, typer.Option(help="The reason; it is stored with the actor.")]
Scope = Annotated[str, typer.Option(help="An account, or * for the whole platform.")]
Channel = Annotated[str | None, typer.Option(help="email or sms; default: by the form of the address.")]
Note = Annotated[str | None, typer.Option(help="A note for people.")]


@app.command()
def suppress(
    address: Address,
    reason: Reason,
    scope: Scope = "*",
    channel: Channel = None,
    note: Note = None,
    as_json: AsJson = False,
) -> None:
    """Suppress an address: nothing is sent to it until it is released.

    Example: sendledger suppress ann@example.com --reason "she asked by phone"
    """
    _submit("suppress", as_json, address=address, reason=reason, scope=scope, channel=channel, note=note)


@app.command()
def release(
    address: Address,
    reason: Reason,
    scope: Scope = "*",
    channel: Channel = None,
    note: Note = None,
    as_json: AsJson = False,
) -> None:
    """Release an address; * releases it in every account. Opt-outs of the recipient stay.

    Example: sendledger release ann@example.com --reason "the mailbox is in use again"
    """
    _submit("release", as_json, address=address, reason=reason, scope=scope, channel=channel, note=note)


@app.command("opt-in")
def opt_in(
    address: Address,
    reason: Reason,
    scope: Scope = "*",
    channel: Channel = None,
    group: Annotated[str | None, typer.Option(help="Only the opt-out of this group.")] = None,
    sender: Annotated[str | None, typer.Option(help="Only the opt-out of this number or service.")] = None,
    note: Note = None,
    as_json: AsJson = False,
) -> None:
    """Lift opt-outs of a recipient who asked for it: all of exactly this scope, or of a group or sender.

    Example: sendledger opt-in ann@example.com --scope demo --group 12 --reason "she signed up again"
    """
    _submit(
        "opt_in",
        as_json,
        address=address,
        reason=reason,
        scope=scope,
        channel=channel,
        group=group,
        sender=sender,
        note=note,
    )


@app.command()
def suppressions(
    address: Annotated[str | None, typer.Argument(help="Only this address, in any spelling.")] = None,
    channel: Annotated[str | None, typer.Option(help="Only email or sms.")] = None,
    scope: Annotated[str | None, typer.Option(help="Only this account, or * for the whole platform.")] = None,
    reason: Annotated[str | None, typer.Option(help="Only bounces, complaint, manual or provider.")] = None,
    suppressed: Annotated[
        bool | None, typer.Option("--suppressed/--released", help="Only addresses suppressed now, or released.")
    ] = None,
    history: Annotated[bool, typer.Option("--history", help="Show each change of the ADDRESS.")] = False,
    limit: Annotated[int, typer.Option(help="Maximum number of rows.", min=1, max=100_000)] = 100,
    as_json: AsJson = False,
) -> None:
    """List the addresses that are or were suppressed, in each scope; or show everything about one ADDRESS.

    For one address: whether it is suppressed, the opt-outs of its recipient, and all commands with their reasons and
    notes.

    Example: sendledger suppressions ann@example.com
    """
    from cli import suppression_list
    from cli.stores import open_store
    from projections.suppressions.queries import suppressions_page
    from schemas.settings import StoreSettings

    options = suppression_list.SuppressionOptions(address, channel, scope, reason, suppressed)
    with open_store(settings_with_dev_env(StoreSettings)) as store:
        if history:
            suppression_list.show_history(suppression_list.history(store, options), as_json=as_json)
        elif options.is_one_address:
            suppression_list.show_details(suppression_list.address_details(store, options), as_json=as_json)
        else:
            query = suppressions_page(suppression_list.filter_of(options), limit=limit)
            suppression_list.show_list(store.rows(query.sql, query.parameters), limit, as_json=as_json)


def _submit(action: Literal["suppress", "release", "opt_in"], as_json: bool, **options: str | None) -> None:
    from cli.suppression_commands import show_result, submit_command
    from schemas.settings import CommandSettings

    result = run(submit_command(settings_with_dev_env(CommandSettings), action, options, time.time_ns() // 1000))
    show_result(result, as_json=as_json)
