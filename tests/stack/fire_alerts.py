"""Every alert is made to fire on a running stack by causing what it is about, and its runbook ends it.

`python -m tests.stack.fire_alerts [--only NAME …]` starts a Kafka, a ClickHouse, a gateway, both workers and a
Prometheus, and goes through the exercises one after the other: it causes something, waits until the alerts that are
about it fire, does what their runbook says, running its commands as they are there, and waits until they have ended.
Then it prints a table. Exit code 1: an alert did not fire or did not end, another one fired that has nothing to do with
the cause, or the runbook's last step says that it is not over.

Prometheus reads the programs every second and has the rules of `deploy/prometheus/alerts.py`, with all durations
divided by 60: a minute is a second. Thresholds are the same. Where something takes its time in any case, such as the
pauses between a worker's retries, durations are divided by less; the table says by how much. Metrics are never faked:
what can't be caused on one machine is in the table, with the reason. The local ClickHouse has no exporter, so its
metrics are read from its system tables (`firing/clickhouse_exporter.py`).

It needs Debian's package `prometheus`, and root for the small disks that it fills.
"""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from deploy.prometheus.alerts import ALERTS
from tests.stack.firing.exercise import Exercise, Row, carry_out
from tests.stack.firing.of_programs import ENDED, WITH_A_BUG
from tests.stack.firing.of_providers import PROVIDERS
from tests.stack.firing.of_services import FROZEN_OR_STOPPED, LIMITED_OR_FULL
from tests.stack.firing.stand import a_stand

__all__ = ["EXERCISES", "fire", "table"]

EXERCISES: Final[tuple[Exercise, ...]] = (*FROZEN_OR_STOPPED, *PROVIDERS, *ENDED, *WITH_A_BUG, *LIMITED_OR_FULL)
"""In this order: what looks far back comes first, before others have left traces."""


def chosen(names: Sequence[str]) -> list[Exercise]:
    """The exercises in which these alerts have to fire; all of them without names."""
    return [one for one in EXERCISES if not names or set(names) & set(one.alerts)]


async def fire(exercises: Sequence[Exercise], folder: Path) -> list[Row]:
    """Carry out exercises on one stack, and say on stderr what becomes of each."""
    rows: list[Row] = []
    async with a_stand(folder) as stand:
        for exercise in exercises:
            print(f"{', '.join(exercise.alerts)}: {exercise.cause}", file=sys.stderr, flush=True)
            done = await carry_out(stand, exercise)
            rows += done
            print(*(f"    {_line(row)}" for row in done), sep="\n", file=sys.stderr, flush=True)
    return rows


def table(rows: Sequence[Row]) -> str:
    """The result of all exercises, as Markdown."""
    head = "| alert | cause | fired after | runbook | ended by | ended after |\n| --- | --- | --- | --- | --- | --- |"
    return "\n".join([head, *map(_table_row, rows)])


def _table_row(row: Row) -> str:
    fired, ended = _seconds(row.fired), _seconds(row.ended)
    if row.not_here:
        fired, ended = f"not fired: {row.not_here}", ""
    elif row.factor != 60:
        fired += f" (durations / {row.factor})"
    ended_by = "; ".join(
        part
        for part in (
            row.ended_by,
            row.with_it and f"with it: {', '.join(row.with_it)}",
            row.unexpected and f"UNEXPECTED: {', '.join(row.unexpected)}",
            row.problem and f"PROBLEM: {' '.join(row.problem.split())[:300]}",
        )
        if part
    )
    return f"| `{row.alert}` | {row.cause} | {fired} | {row.runbook} | {ended_by} | {ended} |"


def _line(row: Row) -> str:
    state = "right" if row.is_right else "not fired here" if row.not_here else "WRONG"
    return f"{state}: {row.alert}: fired {_seconds(row.fired)}, ended {_seconds(row.ended)} {row.unexpected or ''}"


def _seconds(seconds: float | None) -> str:
    return "never" if seconds is None else f"{seconds:.0f} s"


def main(words: Sequence[str]) -> int:
    """Carry out the exercises, print the table, and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.stack.fire_alerts",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", nargs="+", metavar="NAME", default=[], choices=[alert.name for alert in ALERTS])
    wanted = parser.parse_args(words)
    with TemporaryDirectory() as folder:
        rows = asyncio.run(fire(chosen(wanted.only), Path(folder)))
    print(table(rows))
    return 0 if all(row.is_right or row.not_here for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
