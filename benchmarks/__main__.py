"""`python -m benchmarks`: all benchmarks, or one. Figures on stdout, progress on stderr. Nothing is asserted of speed.

Exit codes: 0 done, 1 a count was wrong or something never came.
"""

import asyncio
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import orjson
import structlog
import typer

from benchmarks.engine import keyed
from benchmarks.footprint import footprint_rows
from benchmarks.footprint import measure as measure_footprint
from benchmarks.gate.deciding import decide_at_pace, decide_backlog, rows_of
from benchmarks.gate.memory import measure_memory, memory_rows
from benchmarks.gateway import measure as measure_gateway
from benchmarks.gateway import served_rows
from benchmarks.ledger import report
from benchmarks.ledger.latency import measure
from benchmarks.ledger.profile import take_apart
from benchmarks.ledger.surroundings import BenchmarkFailed, machine
from benchmarks.ledger.throughput import compare
from benchmarks.memory import measure_sizes, size_rows
from benchmarks.queries.data import FOLDER, kept
from benchmarks.queries.measure import EXPORT, PLAIN_FIRST_PAGE, Limits, against_plain_query
from benchmarks.queries.measure import measure as measure_queries
from benchmarks.rebuild import measure as measure_rebuild
from benchmarks.rebuild import turn_rows
from benchmarks.scale import PARTITIONS, WORKERS, Sizes, byte_rows, idle_rows, speed_rows
from benchmarks.scale import measure as measure_scale
from benchmarks.skew import Population, skew_rows
from benchmarks.skew import measure as measure_skew

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, help="The benchmarks, each beside its peer.")
AsJson = Annotated[bool, typer.Option("--json", help="Print an object a line.")]


@app.callback(invoke_without_command=True)
def everything(context: typer.Context) -> None:
    """Run one benchmark, or all of them."""
    if context.invoked_subcommand is None:
        for command in (ledger, rebuild, scale, latency, profile, engine, gate, gateway, memory, footprint, skew):
            command()


@app.command()
def ledger(
    events: Annotated[int, typer.Option(help="Events, in posts and once more one by one.", min=300)] = 300_000,
    rounds: Annotated[int, typer.Option(help="Turns of each worker; the median counts.", min=1)] = 3,
    group_records: Annotated[int, typer.Option(help="Records of a write, and of `take`.", min=1)] = 20_000,
    as_json: AsJson = False,
) -> None:
    """Events/s and CPU from Kafka to queryable rows, beside a stock Faust `take` agent."""
    on = machine()
    runs = asyncio.run(compare(events, rounds, group_records, progress=_progress))
    _show("ledger", on, report.run_rows(runs), as_json=as_json)
    _show("ledger against take", on, report.summary_rows(runs), as_json=as_json)


@app.command()
def rebuild(
    events: Annotated[int, typer.Option(help="Events, in posts of 15.", min=300)] = 300_000,
    rounds: Annotated[int, typer.Option(help="Turns; the best counts.", min=1)] = 3,
    as_json: AsJson = False,
) -> None:
    """Events/s of a rebuild by one process and by two, beside the ledger's worker on the same log."""
    on = machine()
    turns = asyncio.run(measure_rebuild(events, rounds, progress=_progress))
    _show("rebuild", on, turn_rows(turns), as_json=as_json)


@app.command()
def scale(
    events: Annotated[int, typer.Option(help="Events of a round, in posts of 15.", min=300)] = 100_000,
    rounds: Annotated[int, typer.Option(help="Rounds that count, after one that does not; the median.", min=1)] = 1,
    partitions: Annotated[
        list[int] | None, typer.Option(help="Partitions of each topic; may be repeated; 4, 16 and 64.", min=1)
    ] = None,
    workers: Annotated[list[int] | None, typer.Option(help="Workers; may be repeated; 1 and 2.", min=1, max=16)] = None,
    idle_seconds: Annotated[float, typer.Option(help="How long the cost of being idle is measured.", min=0.1)] = 5.0,
    as_json: AsJson = False,
) -> None:
    """Events/s, CPU and bytes of the ledger by the number of partitions and workers."""
    on = machine()
    sizes = Sizes(events, rounds, tuple(partitions or PARTITIONS), tuple(workers or WORKERS), idle_seconds)
    runs = asyncio.run(measure_scale(sizes, progress=_progress))
    _show("scale", on, speed_rows(runs), as_json=as_json)
    _show("scale: idle", on, idle_rows(runs), as_json=as_json)
    _show("scale: bytes", on, byte_rows(runs), as_json=as_json)


@app.command()
def gateway(
    requests: Annotated[int, typer.Option(help="Requests of each kind; a tenth as many lists.", min=100)] = 10_000,
    connections: Annotated[int, typer.Option(help="Connections, each with one request at a time.", min=1)] = 16,
    as_json: AsJson = False,
) -> None:
    """Requests/s of one gateway process: signed webhooks, send requests, lists of them."""
    on = machine()
    served = asyncio.run(measure_gateway(requests, connections, progress=_progress))
    _show("gateway", on, served_rows(served), as_json=as_json)


@app.command()
def footprint(
    messages: Annotated[int, typer.Option(help="Messages, with all their records and events.", min=100)] = 20_000,
    as_json: AsJson = False,
) -> None:
    """Bytes on disk of a message, in each topic of Kafka and each table of ClickHouse."""
    on = machine()
    found = asyncio.run(measure_footprint(messages, progress=_progress))
    _progress(f"{found.messages:,} messages, {found.events:,} events of providers")
    _show("footprint", on, footprint_rows(found), as_json=as_json)


@app.command()
def skew(
    accounts: Annotated[int, typer.Option(help="Accounts.", min=1)] = 5_000,
    exponent: Annotated[float, typer.Option(help="Of Zipf's distribution of their sizes; 0: all alike.", min=0)] = 1.0,
    messages: Annotated[int, typer.Option(help="Messages of each seed.", min=1_000)] = 50_000,
    seeds: Annotated[int, typer.Option(help="How often it is calculated; the median and the worst.", min=1)] = 3,
    as_json: AsJson = False,
) -> None:
    """How evenly the keys load partitions and shards: a calculation, whose figures are always the same."""
    population = Population(accounts, exponent, messages)
    rows = skew_rows(measure_skew(population, range(1, seeds + 1)))
    on = f"{messages:,} messages of {accounts:,} accounts, exponent {exponent:g}, {seeds} seeds"
    for of in ("partitions", "shards"):
        _show(f"skew: {of}", on, [row for row in rows if of in row], as_json=as_json)


@app.command()
def latency(
    seconds: Annotated[float, typer.Option(help="How long the load lasts.", min=1)] = 30.0, as_json: AsJson = False
) -> None:
    """Time from a webhook's 2xx to its row, at 500 events/s."""
    on = machine()
    delays = asyncio.run(measure(seconds))
    _progress(f"{delays.events_per_second:.0f} events/s; CPU seconds {delays.cpu_seconds}")
    _show("latency", on, report.delay_rows(delays), as_json=as_json)


@app.command()
def profile(
    groups: Annotated[int, typer.Option(help="Groups of 20,000 events; the median counts.", min=1)] = 9,
    as_json: AsJson = False,
) -> None:
    """Microseconds an event of each step."""
    on = machine()
    _show("profile", on, report.step_rows(asyncio.run(take_apart(groups))), as_json=as_json)


@app.command()
def engine(
    records: Annotated[int, typer.Option(help="Records that lie in Kafka.", min=1_000)] = 60_000,
    singles: Annotated[int, typer.Option(help="Records that come one by one.", min=100)] = 400,
    as_json: AsJson = False,
) -> None:
    """Transactions of the keyed mode beside idempotent writing: records/s, the delay of one record, restoring."""
    on = machine()
    measured = asyncio.run(keyed.measure(records, singles, progress=_progress))
    _show("engine", on, keyed.run_rows(measured), as_json=as_json)
    _show("engine: one record at a time", on, keyed.delay_rows(measured), as_json=as_json)
    _show("engine: restoring", on, keyed.restore_rows(measured), as_json=as_json)


@app.command()
def gate(
    requests: Annotated[int, typer.Option(help="Requests that lie in Kafka.", min=100)] = 40_000,
    per_second: Annotated[int, typer.Option(help="Requests a second, for the delay.", min=1)] = 1_000,
    seconds: Annotated[float, typer.Option(help="How long they come.", min=1)] = 20.0,
    partitions: Annotated[int, typer.Option(help="Partitions of each topic, for the backlog.", min=1)] = 4,
    states: Annotated[
        int, typer.Option(help="Addresses, and decisions, whose memory is measured.", min=10_000)
    ] = 200_000,
    as_json: AsJson = False,
) -> None:
    """Decisions a second on one worker and on two, the time from a request to its decision, and memory."""
    on = machine()
    throughputs = [asyncio.run(decide_backlog(workers, requests, partitions)) for workers in (1, 2)]
    fast, delays = rows_of(throughputs, asyncio.run(decide_at_pace(per_second, seconds)))
    for row in fast:
        _show("gate", on, [row], as_json=as_json)
    _show("gate: from sends.requested to sends.decided", on, delays, as_json=as_json)
    _show("gate: memory", on, memory_rows(measure_memory(states)), as_json=as_json)


@app.command()
def memory(
    requests: Annotated[int, typer.Option(help="Requests of 300 KB of text each, no two alike.", min=100)] = 20_000,
    as_json: AsJson = False,
) -> None:
    """Resident size of the gateway, the gate and the ledger before and after hostile requests."""
    on = machine()
    sizes = asyncio.run(measure_sizes(requests, progress=_progress))
    _progress(f"answers by status: {dict(sorted(sizes.statuses.items()))}")
    _show("memory", on, size_rows(sizes), as_json=as_json)


@app.command()
def queries(
    messages: Annotated[int, typer.Option(help="Messages of the log, with 5.7 events each.", min=1_000)] = 10_000_000,
    data_dir: Annotated[Path, typer.Option(help="Where the log is kept for the next run.")] = FOLDER,
    only: Annotated[str, typer.Option(help="Questions whose name matches this pattern: 'filter *'.")] = "*",
    readers: Annotated[list[int] | None, typer.Option(help="Readers at once; may be repeated.", min=1)] = None,
    seconds: Annotated[float, typer.Option(help="No request of a question begins after so long.", min=0)] = 10.0,
    merged: Annotated[bool, typer.Option("--merged", help="First let ClickHouse merge what it would merge.")] = False,
    make_only: Annotated[bool, typer.Option("--make-only", help="Make the log, and ask nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Milliseconds of each way to read a large log, while it is written."""
    on = machine()
    made = asyncio.run(kept(data_dir, messages, _progress))
    _progress(f"{made.messages:,} messages and {made.events:,} events in {data_dir}")
    if not make_only:
        limits = Limits(only, tuple(readers or (1, 4)), seconds=seconds, merged=merged)
        rows, sizes = asyncio.run(measure_queries(data_dir, made, limits, _progress))
        _show("queries: on disk", on, sizes, as_json=as_json)
        peers = {PLAIN_FIRST_PAGE: "queries: peer of the first page", EXPORT: "queries"}
        _show_all("queries", on, [row for row in rows if row["what"] not in peers], as_json=as_json)
        for what, name in peers.items():
            _show_all(name, on, [row for row in rows if row["what"] == what], as_json=as_json)
        _show_all("queries: first page against its peer", on, against_plain_query(rows), as_json=as_json)


def _show(name: str, on: str, rows: Sequence[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        for row in rows:
            typer.echo(orjson.dumps({"benchmark": name, "on": on, **row}))
    else:
        typer.echo(f"\n## {name}\n\n{on}\n\n{report.table(rows)}")


def _show_all(name: str, on: str, rows: Sequence[dict[str, Any]], *, as_json: bool) -> None:
    """Show rows, if there are any."""
    if rows:
        _show(name, on, rows, as_json=as_json)


def _progress(text: str) -> None:
    typer.echo(text, err=True)


def main() -> None:
    """Run the command line."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    try:
        app()
    except BenchmarkFailed as failure:
        typer.echo(f"failed: {failure}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
