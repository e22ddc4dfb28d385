"""Figures as text for people and as objects for programs."""

from collections.abc import Sequence
from typing import Any

from benchmarks.ledger.latency import Delays
from benchmarks.ledger.profile import Steps
from benchmarks.ledger.throughput import SHAPES, Run, middle

__all__ = ["delay_rows", "run_rows", "step_rows", "summary_rows", "table"]

Row = dict[str, Any]


def table(rows: Sequence[Row]) -> str:
    """Return rows of the same keys as a Markdown table."""
    lines = [list(rows[0]), ["---"] * len(rows[0]), *([_text(v) for v in row.values()] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def run_rows(runs: Sequence[Run]) -> list[Row]:
    """A row a run. CPU is in seconds for a million events; `others` are processes without a part in it."""
    return [
        {
            "records": run.shape,
            "worker": run.who,
            "events": run.events,
            "seconds": run.seconds,
            "first_rows_seconds": run.first_rows_seconds,
            "events_per_second": round(run.events_per_second),
            "worker_cpu": run.cpu_per_million(),
            "broker_cpu": run.cpu_per_million("kafka"),
            "endpoint_cpu": run.cpu_per_million("clickhouse"),
            "others_busy_cores": run.cpu_seconds["others"] / run.seconds,
            "peak_megabytes": round(run.peak_megabytes),
        }
        for run in runs
    ]


def summary_rows(runs: list[Run]) -> list[Row]:
    """A row a shape: the medians, and how many times the peer's they are."""
    rows = []
    for shape in SHAPES:
        ours, theirs = middle(runs, shape.name, "ledger"), middle(runs, shape.name, "take")
        rows.append(
            {
                "records": shape.name,
                "ledger_events_per_second": round(ours[0]),
                "take_events_per_second": round(theirs[0]),
                "times_as_fast": ours[0] / theirs[0],
                "ledger_cpu_per_million": ours[1],
                "take_cpu_per_million": theirs[1],
                "cpu_times_less": theirs[1] / ours[1],
            }
        )
    return rows


def delay_rows(delays: Delays) -> list[Row]:
    """A row a delay, in milliseconds."""
    rows = []
    for name, values in (("2xx to its row", delays.to_row), ("request to its 2xx", delays.to_answer)):
        shares = {f"p{share * 100:g}_ms": round(Delays.part(values, share) * 1000) for share in (0.5, 0.95, 0.99)}
        rows.append({"from": name, "posts": len(values), **shares, "max_ms": round(values[-1] * 1000)})
    return rows


def step_rows(steps: Sequence[Steps]) -> list[Row]:
    """A row a step, in microseconds an event."""
    return [
        {
            "records": each.shape,
            "step": name,
            "us_an_event": value,
            "own_cpu_us_an_event": each.own_cpu[name],
            "endpoint_cpu_us_an_event": each.endpoint_cpu.get(name, 0.0),
        }
        for each in steps
        for name, value in each.wall.items()
    ]


def _text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.2f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
