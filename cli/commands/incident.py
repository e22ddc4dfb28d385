"""`incident`: many addresses that one cause suppressed."""

from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import AsJson
from cli.process import run
from cli.settings import settings_with_dev_env

if TYPE_CHECKING:
    from schemas.settings import IncidentSettings

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True,
    help="""Release many addresses that one cause suppressed, undo that, and find the messages that were refused.

    Example: sendledger incident list
    """,
)

BulkId = Annotated[str, typer.Argument(help="The id of a bulk release.")]
Yes = Annotated[bool, typer.Option("--yes", help="Write the commands. Without it, only show what they would do.")]
Rate = Annotated[int, typer.Option(help="Maximum number of commands per second.", min=1, max=10_000)]


@app.command()
def release(
    reason: Annotated[str, typer.Option(help="Why they are released; it is stored with the actor.")],
    with_reason: Annotated[
        str, typer.Option(help="Only suppressions with this reason: bounces, manual or provider.")
    ] = "bounces",
    account: Annotated[
        str | None, typer.Option(help="Only suppressions of this account, and those that only its bounces caused.")
    ] = None,
    domain: Annotated[str | None, typer.Option(help="Only addresses of this domain.")] = None,
    from_: Annotated[str | None, typer.Option("--from", help="Suppressed at or after this time or date (UTC).")] = None,
    to: Annotated[str | None, typer.Option(help="Suppressed before this time or date (UTC).")] = None,
    provider: Annotated[str | None, typer.Option(help="A bounce that counts is from this provider, …")] = None,
    code: Annotated[str | None, typer.Option(help="… has exactly this code of the provider, …")] = None,
    enhanced_code: Annotated[str | None, typer.Option(help="… has exactly this enhanced code, like 5.1.1, …")] = None,
    text: Annotated[str | None, typer.Option(help="… and contains this in its reason, in any case.")] = None,
    bulk_id: Annotated[
        str | None, typer.Option("--id", help="The id that a preview with the same filters printed.")
    ] = None,
    yes: Yes = False,
    rate: Rate = 200,
    as_json: AsJson = False,
) -> None:
    """Release all addresses that were suppressed by one cause; without --yes only show which these are.

    At least one filter besides the account is needed. Complaints and opt-outs are never released. With the --id of a
    preview nothing is released that changed after it. It may be interrupted and repeated with the same --id.

    Example: sendledger incident release --domain example.com --from 2026-11-30 --reason "their outage" --yes
    """
    from cli import incidents

    fields = {
        "with_reason": with_reason,
        "account": account,
        "domain": domain,
        "from": from_,
        "to": to,
        "provider": provider,
        "code": code,
        "enhanced_code": enhanced_code,
        "text": text,
    }
    report = run(incidents.release(_settings(), fields, reason, bulk_id, yes=yes, rate=rate))
    hint = f"To release these: the same command with --id {report.bulk_id} --yes"
    incidents.show_report(report, hint, yes=yes, as_json=as_json)


@app.command()
def undo(
    bulk_id: BulkId,
    reason: Annotated[str, typer.Option(help="Why it is undone; it is stored with the actor.")],
    yes: Yes = False,
    rate: Rate = 200,
    as_json: AsJson = False,
) -> None:
    """Suppress again what a bulk release freed and nothing has changed since; without --yes only show it.

    Example: sendledger incident undo 019ad4b0-7a00-7d0e-8b1c-3f5a0f7c2d11 --reason "the wrong domain" --yes
    """
    from cli import incidents

    report = run(incidents.undo(_settings(), bulk_id, reason, yes=yes, rate=rate))
    incidents.show_report(report, "To suppress these again: the same command with --yes", yes=yes, as_json=as_json)


@app.command("list")
def list_(
    limit: Annotated[int, typer.Option(help="Maximum number of bulk releases: the newest.", min=1, max=1000)] = 20,
    as_json: AsJson = False,
) -> None:
    """List bulk releases, newest first: their filters, who released why, and how many addresses were undone.

    Example: sendledger incident list
    """
    from cli import incidents
    from schemas.settings import StoreSettings

    incidents.show_list(settings_with_dev_env(StoreSettings), limit, as_json=as_json)


@app.command()
def refused(
    bulk_id: BulkId,
    account: Annotated[str | None, typer.Option(help="Only messages of this account.")] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV, all messages.")] = False,
    limit: Annotated[int, typer.Option(help="Maximum number of rows; CSV has all.", min=1, max=100_000)] = 100,
    as_json: AsJson = False,
) -> None:
    """List the messages that were refused because of the suppressions that a bulk release ended.

    Booking services can request them again, each with a new message id.

    Example: sendledger incident refused 019ad4b0-7a00-7d0e-8b1c-3f5a0f7c2d11 --csv > refused.csv
    """
    from cli import incidents

    incidents.show_refused(_settings(), bulk_id, account, limit=limit, as_csv=as_csv, as_json=as_json)


def _settings() -> "IncidentSettings":
    from schemas.settings import IncidentSettings

    return settings_with_dev_env(IncidentSettings)
