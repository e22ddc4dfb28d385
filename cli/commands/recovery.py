"""`replay` and `rebuild`: write rows again from the log."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from cli.options import AsJson
from cli.output import show
from cli.process import run
from cli.settings import settings_with_dev_env

__all__ = ["app"]

app = typer.Typer()


@app.command()
def replay(
    topic: Annotated[str, typer.Option(help="The topic whose records are read.")],
    since: Annotated[
        str, typer.Option(help="From this time or date of arrival (UTC), or from this offset in each partition.")
    ],
    until: Annotated[
        str | None, typer.Option(help="Up to this time or offset, exclusive; by default up to the end.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count the rows that would be written.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write the rows of a window of the log into the live tables again, where they are missing or incomplete.

    Rows that are right do not change. Nothing is decided, sent or published. The workers may run meanwhile.

    Example: sendledger replay --topic webhooks.sendgrid --since 2026-11-30T08:00:00Z --until 2026-11-30T09:00:00Z
    """
    from cli.replaying import bound_of, run_replay, show_replayed
    from schemas.settings import ReplaySettings

    first, last = bound_of("--since", since), None if until is None else bound_of("--until", until)
    done = run(run_replay(settings_with_dev_env(ReplaySettings), topic, first, last, dry_run=dry_run))
    show_replayed(done, dry_run=dry_run, as_json=as_json)
    sys.exit(1 if done.failed else 0)


@app.command()
def rebuild(
    diff: Annotated[bool, typer.Option("--diff", help="Show what would change; exit code 1 if anything.")] = False,
    swap: Annotated[bool, typer.Option("--swap", help="Then show the new generation.")] = False,
    back: Annotated[
        bool, typer.Option("--back", help="Show the generation that was shown before, with what came since.")
    ] = False,
    with_settings: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="With --diff: only show what these settings of the gate would change for addresses."
        ),
    ] = None,
    list_them: Annotated[bool, typer.Option("--list", help="Only list the generations.")] = False,
    drop: Annotated[int | None, typer.Option(help="Only delete this generation.", min=1)] = None,
    instance: Annotated[str, typer.Option(help="Another name for each further process that shares the work.")] = (
        "rebuild-0"
    ),
    metrics_port: Annotated[int, typer.Option(help="Port for metrics meanwhile; 0 for none.", min=0, max=65535)] = 0,
    as_json: AsJson = False,
) -> None:
    """Fold the whole log into a new generation of the tables, beside live traffic, until it has caught up.

    Nobody sees the new generation before `--swap`, and nothing but rows is written. Interrupted, even by kill -9, the
    same command goes on where it stopped; several processes share the partitions.

    Example: sendledger rebuild --diff
    """
    from cli.process import enable_kafka_log
    from cli.rebuilding import compare_with_gate, drop_generation, list_generations, run_rebuild
    from cli.settings import rules_in_file
    from schemas.errors import RequestError
    from schemas.settings import GateRulesSettings, RebuildSettings, StoreSettings

    if list_them or drop is not None:
        store = settings_with_dev_env(StoreSettings)
        if drop is not None:
            drop_generation(store, drop)
        show(list_generations(store), as_json=as_json, none="There is no generation.")
        return
    if back and (diff or swap):
        raise RequestError("--back is given together with --diff or --swap", "rebuild", "Give one of them")
    if with_settings is not None and (swap or back or not diff):
        raise RequestError(
            "--with-settings shows what would change, and nothing that could be swapped in", "rebuild",
            "Give it with --diff alone",
        )  # fmt: skip
    enable_kafka_log()
    rules = settings_with_dev_env(GateRulesSettings, **({} if with_settings is None else rules_in_file(with_settings)))
    if with_settings is not None:
        sys.exit(run(compare_with_gate(rules, as_json=as_json)))
    settings = settings_with_dev_env(RebuildSettings, instance=instance, metrics_port=metrics_port)
    sys.exit(run(run_rebuild(settings, rules, diff=diff, swap=swap, back=back, as_json=as_json)))
