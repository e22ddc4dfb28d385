"""`dead-letters`: records that could not be processed."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import AsJson
from cli.process import run
from cli.progress import waiting_for
from cli.settings import settings_with_dev_env

if TYPE_CHECKING:
    from cli.dead_letters import LetterOptions
    from processors.dead_letters.handling import Action

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True,
    help="""Browse records that could not be processed, and send them back or discard them.

    Example: sendledger dead-letters list
    """,
)

Ids = Annotated[list[str] | None, typer.Argument(help="Ids of letters, like 3:17.")]
WithReason = Annotated[str | None, typer.Option(help="Only letters with this reason.")]
OfTopic = Annotated[str | None, typer.Option("--topic", help="Only letters of this topic.")]
Every = Annotated[bool, typer.Option("--all", help="All letters.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Change nothing; print what would be done.")]


@app.command("list")
def list_(
    with_reason: WithReason = None,
    topic: OfTopic = None,
    every: Annotated[bool, typer.Option("--all", help="Also letters that were redriven or discarded.")] = False,
    limit: Annotated[int, typer.Option(help="Maximum number of letters: the newest.", min=1)] = 100,
    as_json: AsJson = False,
) -> None:
    """List dead letters, oldest first.

    Example: sendledger dead-letters list --with-reason store_refused
    """
    from cli.dead_letters import LetterOptions, list_letters, show_letters
    from schemas.settings import DeadLetterSettings

    settings = settings_with_dev_env(DeadLetterSettings)
    options = LetterOptions((), with_reason, topic, every=True)
    with waiting_for(f"Kafka at {settings.kafka}"):
        found, number = run(list_letters(settings, options, limit, handled_too=every))
    show_letters(found, number, as_json=as_json)


@app.command()
def show(letter: Annotated[str, typer.Argument(help="The id of a letter.")], as_json: AsJson = False) -> None:
    """Show a dead letter: its bytes, its headers, its error, and how the current code would process it.

    Example: sendledger dead-letters show 3:17
    """
    from cli.dead_letters import show_letter
    from schemas.settings import DeadLetterSettings

    settings = settings_with_dev_env(DeadLetterSettings)
    with waiting_for(f"Kafka at {settings.kafka}"):
        found = run(show_letter(settings, letter, as_json=as_json))
    sys.exit(0 if found else 1)


@app.command()
def redrive(
    ids: Ids = None,
    with_reason: WithReason = None,
    topic: OfTopic = None,
    every: Every = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Send dead letters back to their topics, each at most once. One that fails again becomes a new letter.

    Example: sendledger dead-letters redrive --with-reason store_refused --dry-run
    """
    from cli.dead_letters import LetterOptions

    _handle(LetterOptions(ids or (), with_reason, topic, every), "redriven", "", dry_run=dry_run, as_json=as_json)


@app.command()
def discard(
    ids: Ids = None,
    reason: Annotated[str, typer.Option(help="Why they are discarded; it is stored.")] = "",
    with_reason: WithReason = None,
    topic: OfTopic = None,
    every: Every = False,
    yes: Annotated[
        bool, typer.Option("--yes", help="Do not ask before letters are discarded that are not named by id.")
    ] = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Discard dead letters: they are no longer listed, and can't be sent back. Their bytes stay in the topic.

    If they are selected, not named by id, it shows them and asks.

    Example: sendledger dead-letters discard 3:17 --reason "a test of the provider"
    """
    from cli.dead_letters import LetterOptions
    from schemas.errors import RequestError

    if not reason.strip():
        raise RequestError("A letter is discarded without a reason", "--reason", "State why")
    options = LetterOptions(ids or (), with_reason, topic, every)
    options.selection()  # a wrong option is reported first
    if options.selects and not yes and not dry_run:
        if not sys.stdin.isatty():
            raise RequestError("Letters would be discarded by a condition", "discard", "Try --dry-run, then add --yes")
        _handle(options, "discarded", reason, dry_run=True, as_json=False)
        typer.confirm("Discard these letters?", abort=True, err=True)
    _handle(options, "discarded", reason, dry_run=dry_run, as_json=as_json)


def _handle(options: "LetterOptions", action: "Action", reason: str, *, dry_run: bool, as_json: bool) -> None:
    """Do it, print what was done, and end with 1 if something could not be done."""
    from cli.dead_letters import handle_letters, show_handled
    from schemas.settings import DeadLetterSettings

    settings = settings_with_dev_env(DeadLetterSettings)
    with waiting_for(f"Kafka at {settings.kafka}"):
        result = run(handle_letters(settings, options, action, reason=reason, dry_run=dry_run))
    if not show_handled(result, options.missing(result), action, dry_run=dry_run, as_json=as_json):
        sys.exit(1)
