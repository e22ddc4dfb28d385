"""`verify`: compares the tables with a recomputation from the event log, and with an oracle."""

import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cli.options import AsJson, time_us
from cli.process import run
from cli.settings import settings_with_dev_env
from schemas.errors import RequestError

__all__ = ["app"]

app = typer.Typer()


class Source(StrEnum):
    """What `verify` compares the rows with."""

    EVENTS = "events"
    LOG = "log"


@app.command()
def verify(
    oracle: Annotated[
        list[Path] | None, typer.Option(help="A file that `simulate --oracle` wrote; may be repeated.")
    ] = None,
    timeout: Annotated[float, typer.Option(help="Seconds to wait until all has been read.", min=0)] = 120.0,
    source: Annotated[Source, typer.Option("--from", help="What the rows are compared with.")] = Source.EVENTS,
    sample: Annotated[float, typer.Option(help="With `--from log`: only this share of the messages.")] = 1.0,
    since: Annotated[
        str | None, typer.Option(help="With `--from log`: only messages sent from this time or date (UTC).")
    ] = None,
    until: Annotated[
        str | None, typer.Option(help="With `--from log`: only messages sent before this time or date (UTC).")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Wait until all current records have been read, then list each wrong value; exit code 1 if there is one.

    The live rows are compared with a recomputation from the event table, and all tables with the oracle, if one is
    given. With `--from log` every table is compared with one that is made of the log in Kafka anew, and dropped. That
    takes longer, and finds rows that are missing everywhere. Traffic may continue meanwhile.

    Example: sendledger verify --from log --sample 0.05
    """
    from cli.output import show
    from schemas.settings import VerifySettings
    from verification.run import verify as run_verify

    if source is Source.LOG:
        sys.exit(_verify_from_log(sample, since, until, oracle or (), as_json=as_json))
    if (sample, since, until) != (1.0, None, None):
        raise RequestError(
            "A part of the messages is asked for without --from log", "--sample, --since, --until", "Add it"
        )

    found = run(run_verify(settings_with_dev_env(VerifySettings), oracle or (), timeout))
    show([difference._asdict() for difference in found], as_json=as_json, none="0 differences.")
    sys.exit(1 if found else 0)


def _verify_from_log(
    sample: float, since: str | None, until: str | None, oracles: Sequence[Path], *, as_json: bool
) -> int:
    from cli.rebuilding import progress, say, show_comparisons
    from processors.ledger.rebuild import RebuildInterrupted
    from schemas.settings import RebuildSettings
    from verification.from_log import compare_with_log
    from verification.part import Part

    if oracles:
        raise RequestError("An oracle is compared with the tables alone", "--oracle", "Leave out --from log")
    if not 0 < sample <= 1:
        raise RequestError("A sample is a share of the messages", "--sample", "Give a number above 0, at most 1")
    part = Part(
        sample,
        None if since is None else time_us("--since", since),
        None if until is None else time_us("--until", until),
    )
    settings = settings_with_dev_env(RebuildSettings, instance="verify-0", metrics_port=0)
    try:
        found = run(compare_with_log(settings, part, progress()))
    except RebuildInterrupted as interrupted:
        say("interrupted: the same command goes on where this one stopped")
        return interrupted.code or 1
    show_comparisons(found, as_json=as_json)
    return 1 if any(one.total for one in found) else 0
