"""The `sendledger` command: one file of commands, each of which reads its settings and calls what does the work.

Data goes to stdout, progress and logs to stderr. Exit codes: 0 done, 1 found wrong, 2 usage, 3 configuration,
4 a dependency is down.
"""

import asyncio
import logging
import sys
import time
from collections.abc import Coroutine
from contextlib import closing
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import structlog
import typer

from cli.errors import exit_code, known, text
from cli.progress import waiting_for
from cli.settings import settings_beside_up, settings_of
from schemas.errors import RequestError

__all__ = ["app", "main"]

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="""Knows what became of every email and SMS that a booking service wanted to send.

    Example: sendledger up --demo
    """,
)


def _print_version(given: bool) -> None:
    if given:
        typer.echo(f"sendledger {metadata.version('sendledger')}")
        raise typer.Exit


@app.callback()
def sendledger(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Take what stands before the command. The help of all is that of `app`."""


token_app = typer.Typer(
    no_args_is_help=True,
    help="""Tokens of the API.

    Example: sendledger token create --role viewer --account demo
    """,
)
app.add_typer(token_app, name="token")

T = TypeVar("T")
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, an object a line.")]


def main() -> None:
    """Run the command line; every error of ours becomes a line on stderr and its exit code."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.LogfmtRenderer(sort_keys=False),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    logging.basicConfig(
        level=logging.WARNING, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )
    quieten_clients()
    try:
        app()
    except Exception as error:
        ours = known(error)
        if ours is None:
            raise
        typer.echo(text(ours), err=True)
        sys.exit(exit_code(ours))


def quieten_clients() -> None:
    """Let libraries be silent about servers that are away: what we say of it is enough."""
    for name in ("aiokafka", "clickhouse_connect", "urllib3"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def let_kafka_be_heard() -> None:
    """In a program that runs for long, what the client says of brokers and rebalances is worth a line."""
    logging.getLogger("aiokafka").setLevel(logging.NOTSET)


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine as this process's whole work."""
    return asyncio.run(coroutine)


@app.command()
def up(
    demo: Annotated[bool, typer.Option("--demo", help="Add live simulated traffic.")] = False,
    data_dir: Annotated[Path, typer.Option(help="Where everything is kept.")] = Path(".data"),
    port_base: Annotated[int, typer.Option(help="Gateway's port; the others follow it.", min=1024, max=65000)] = 8480,
) -> None:
    """Run everything on this machine, and print `ready URL` when it does.

    Example: sendledger up --demo --data-dir .data --port-base 8480
    """
    from cli.up import run_up

    sys.exit(run(run_up(data_dir.absolute(), port_base, demo=demo)))


@app.command()
def migrate(as_json: AsJson = False) -> None:
    """Bring the database to the newest version; safe to run twice and by several at once.

    Example: sendledger migrate
    """
    from cli.output import show
    from cli.stores import opened
    from projections.store import migrate as migrations
    from schemas.settings import MigrateSettings

    settings = settings_of(MigrateSettings)
    with opened(settings, timeout_seconds=600) as store:  # a change of a large table takes its time
        done = [{"applied": m.version or "view", "name": m.name} for m in migrations.apply(store)]
        if migrations.keep_contents(store, settings.content_retention_days):
            done.append({"applied": "retention", "name": f"contents: {settings.content_retention_days} days"})
    show(done, as_json=as_json, none="Nothing to apply.")


@app.command()
def topics(as_json: AsJson = False) -> None:
    """Make the topics that are missing.

    Example: sendledger topics
    """
    from cli.output import show
    from processors.topics import make_topics
    from schemas.settings import TopicSettings

    settings = settings_of(TopicSettings)
    with waiting_for(f"Kafka at {settings.kafka_bootstrap}"):
        made = run(make_topics(settings))
    show([{"made": name} for name in made], as_json=as_json, none="All topics are there.")


worker_app = typer.Typer(
    no_args_is_help=True,
    help="""A worker, until it is stopped.

    Example: SENDLEDGER_INSTANCE=ledger-0 sendledger worker ledger
    """,
)
app.add_typer(worker_app, name="worker")


@worker_app.callback()
def worker() -> None:
    """Prepare a worker's process. The help is that of `worker_app`."""
    let_kafka_be_heard()


@worker_app.command()
def ledger() -> None:
    """Fold the log into ClickHouse.

    Example: SENDLEDGER_INSTANCE=ledger-0 sendledger worker ledger
    """
    from processors.ledger.app import run_ledger
    from schemas.settings import LedgerSettings

    sys.exit(run(run_ledger(settings_of(LedgerSettings))))


@worker_app.command()
def gate() -> None:
    """Decide what may be sent, and which addresses are closed.

    Example: SENDLEDGER_INSTANCE=gate-0 sendledger worker gate
    """
    from processors.gate.app import run_gate
    from schemas.settings import GateSettings

    sys.exit(run(run_gate(settings_of(GateSettings))))


@app.command()
def gateway() -> None:
    """Serve webhooks and the API, until it is stopped.

    Example: SENDLEDGER_PORT=8480 sendledger gateway
    """
    let_kafka_be_heard()
    from gateway.serving import serve
    from schemas.settings import GatewaySettings

    sys.exit(run(serve(settings_of(GatewaySettings))))


@token_app.command("create")
def token_create(
    role: Annotated[str, typer.Option(help="publisher, viewer, support or operator.")],
    account: Annotated[list[str], typer.Option(help="An account, or * for all; may be repeated.")],
    subject: Annotated[str, typer.Option(help="Whose token it is; stands beside what is done with it.")] = "cli",
    days: Annotated[int | None, typer.Option(help="Days until it ends; default: does not expire.", min=1)] = None,
) -> None:
    """Print a new token, alone on stdout.

    Example: sendledger token create --role viewer --account demo
    """
    from gateway.tokens import issue
    from schemas.settings import TokenSettings

    secret = settings_beside_up(TokenSettings).token_secret.get_secret_value()
    seconds = None if days is None else days * 86_400
    typer.echo(issue(secret, subject=subject, role=role, accounts=account, expires_in=seconds))


@app.command()
def status(
    email_id: Annotated[str | None, typer.Argument(help="An Email ID; without one, the newest messages.")] = None,
    account: Annotated[str | None, typer.Option(help="Only this account's; needed where two share the id.")] = None,
    status_: Annotated[
        list[str] | None, typer.Option("--status", help="Only this status, in any case; may be repeated.")
    ] = None,
    address: Annotated[str | None, typer.Option(help="Only with this To or CC, however it is written.")] = None,
    from_: Annotated[str | None, typer.Option("--from", help="Sent at or after this time or date (UTC).")] = None,
    to: Annotated[str | None, typer.Option(help="Sent before this time or date (UTC).")] = None,
    limit: Annotated[int, typer.Option(help="At most so many rows.", min=1, max=100_000)] = 20,
    wide: Annotated[bool, typer.Option("--wide", help="Cut nothing on a terminal, however long the lines.")] = False,
    follow: Annotated[
        bool,
        typer.Option("--follow", help="Go on with what is new or changes in the newest rows, until Ctrl-C."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show the row of a message, or the newest ones. In a pipe, tab-separated values.

    Example: sendledger status --account demo --status Bounced --from 2026-11-01 --limit 100
    """
    from cli.output import show
    from cli.reading import Asked, follow_messages, message_rows, show_messages
    from cli.stores import opened, store_of
    from schemas.settings import StoreSettings

    asked = Asked(account, status_ or (), address, from_, to)
    settings = settings_beside_up(StoreSettings)
    if follow:
        with closing(store_of(settings)) as store:
            follow_messages(store, email_id, asked, limit, as_json=as_json, wide=wide)
        return
    with opened(settings) as store:
        rows = message_rows(store, email_id, asked, limit)
    if email_id is None:
        show_messages(rows, limit, as_json=as_json, wide=wide)
        return
    show(rows, as_json=as_json, none="No such message.", upright=True)
    if not rows:
        sys.exit(1)


@app.command()
def explain(
    email_id: Annotated[str, typer.Argument(help="An Email ID.")],
    account: Annotated[str | None, typer.Option(help="Whose message; needed where two accounts share the id.")] = None,
    as_json: AsJson = False,
) -> None:
    """Say why a message has its status: what decided it, and of each other event the rule by which it did not count.

    Example: sendledger explain 01932c1b-631b-730d-aec5-7edcf163a9d1
    """
    from cli.explaining import explanation, show_explanation
    from cli.reading import Asked, message_rows
    from cli.stores import opened
    from schemas.settings import StoreSettings

    with opened(settings_beside_up(StoreSettings)) as store:
        rows = message_rows(store, email_id, Asked(account), 1)
        said = [explanation(store, row) for row in rows]
    if not said:
        typer.echo("No such message.", err=True)
        sys.exit(1)
    show_explanation(said[0], as_json=as_json)


Address = Annotated[str, typer.Argument(help="An email address, or a phone number in E.164.")]
Reason = Annotated[str, typer.Option(help="Why; it is kept beside who did it.")]
Scope = Annotated[str, typer.Option(help="An account, or * for the whole platform.")]
Channel = Annotated[str | None, typer.Option(help="email or sms; without it, as the address looks.")]
Note = Annotated[str | None, typer.Option(help="More for people.")]


@app.command()
def suppress(
    address: Address,
    reason: Reason,
    scope: Scope = "*",
    channel: Channel = None,
    note: Note = None,
    as_json: AsJson = False,
) -> None:
    """Close an address: nothing is sent to it until it is released.

    Example: sendledger suppress ann@example.com --reason "she asked by phone"
    """
    _give("suppress", as_json, address=address, reason=reason, scope=scope, channel=channel, note=note)


@app.command()
def release(
    address: Address,
    reason: Reason,
    scope: Scope = "*",
    channel: Channel = None,
    note: Note = None,
    as_json: AsJson = False,
) -> None:
    """Open an address again; * opens it in every account. What the recipient has opted out of stays so.

    Example: sendledger release ann@example.com --reason "the mailbox is in use again"
    """
    _give("release", as_json, address=address, reason=reason, scope=scope, channel=channel, note=note)


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
    """Take back opt-outs of a recipient who asked for it: all of exactly this scope, or those of a group or sender.

    Example: sendledger opt-in ann@example.com --scope demo --group 12 --reason "she signed up again"
    """
    _give(
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
    address: Annotated[str | None, typer.Argument(help="Only this address, however it is written.")] = None,
    channel: Annotated[str | None, typer.Option(help="Only email or sms.")] = None,
    scope: Annotated[str | None, typer.Option(help="Only this account's, or * for the whole platform's.")] = None,
    reason: Annotated[str | None, typer.Option(help="Only bounces, complaint, manual or provider.")] = None,
    suppressed: Annotated[
        bool | None, typer.Option("--suppressed/--released", help="Only what is suppressed now, or was released.")
    ] = None,
    history: Annotated[bool, typer.Option("--history", help="Its history: each change of the ADDRESS.")] = False,
    limit: Annotated[int, typer.Option(help="At most so many rows.", min=1, max=100_000)] = 100,
    as_json: AsJson = False,
) -> None:
    """List the addresses that are or were suppressed, in each scope; or tell all that is known of one ADDRESS.

    Of one address that is: whether it is suppressed, what its recipient has opted out of, and what people asked for,
    with their reasons and notes.

    Example: sendledger suppressions ann@example.com
    """
    from cli import suppressed as suppressed_
    from cli.stores import opened
    from projections.suppressions.queries import suppressions_page
    from schemas.settings import StoreSettings

    asked = suppressed_.Asked(address, channel, scope, reason, suppressed)
    with opened(settings_beside_up(StoreSettings)) as store:
        if history:
            suppressed_.show_history(suppressed_.history(store, asked), as_json=as_json)
        elif asked.is_one_address:
            suppressed_.show_known(suppressed_.known_of(store, asked), as_json=as_json)
        else:
            query = suppressions_page(suppressed_.wanted(asked), limit=limit)
            suppressed_.show_list(store.rows(query.sql, query.parameters), limit, as_json=as_json)


def _give(action: Literal["suppress", "release", "opt_in"], as_json: bool, **asked: str | None) -> None:
    from cli.suppressing import give, show_given
    from schemas.settings import CommandSettings

    given = run(give(settings_beside_up(CommandSettings), action, asked, time.time_ns() // 1000))
    show_given(given, as_json=as_json)


@app.command()
def lag(
    group: Annotated[str | None, typer.Option(help="Only this consumer group.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Also the partitions in which nothing is left to read.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show how far the readers of the log are behind: the partitions that lag, and how it is with each group.

    Example: sendledger lag --json
    """
    from cli.operating import lag_of, show_lag
    from schemas.settings import ReadersSettings

    settings = settings_beside_up(ReadersSettings)
    with waiting_for(f"Kafka at {settings.kafka_bootstrap}"):
        found = run(lag_of(settings, group))
    show_lag(found, every=every, as_json=as_json)
    if group is not None and not found.partitions:
        sys.exit(1)


@app.command()
def doctor(
    programs: Annotated[
        list[str] | None,
        typer.Option(
            "--for", help="Only the settings of this program: topics, migrate, ledger, gate or gateway; repeatable."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Look whether every dependency is right, and say the mend where it is not.

    Example: sendledger doctor
    """
    from cli.doctor import checks as doctor_checks
    from cli.doctor.examine import examine
    from cli.operating import show_checks

    checks = run(examine(settings_beside_up, programs or ()))
    show_checks(checks, as_json=as_json)
    sys.exit(doctor_checks.exit_code(checks))


@app.command()
def schemas(
    which: Annotated[
        str | None, typer.Option("--format", help="json: the JSON Schemas; asyncapi: that document; both without it.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="On one line.")] = False,
) -> None:
    """Print the JSON Schemas of all records, and the AsyncAPI document of all topics.

    Example: sendledger schemas --format asyncapi
    """
    from cli.operating import published

    typer.echo(published(which, indented=not as_json))


@app.command()
def verify(
    oracle: Annotated[Path | None, typer.Option(help="What `simulate --oracle` wrote.")] = None,
    timeout: Annotated[float, typer.Option(help="Seconds to wait until it has been read.", min=0)] = 120.0,
    as_json: AsJson = False,
) -> None:
    """Wait until what there is now has been read, then list each value that is wrong; exit code 1 if there is one.

    The live rows are compared with a fresh fold of the event log, and all with the oracle, where one is given. Traffic
    may go on meanwhile: what came after the call is not compared.

    Example: sendledger verify --oracle oracle.json
    """
    from cli.output import show
    from cli.verifying.run import verify as run_verify
    from schemas.settings import VerifySettings

    found = run(run_verify(settings_beside_up(VerifySettings), oracle, timeout))
    show([difference._asdict() for difference in found], as_json=as_json, none="0 differences.")
    sys.exit(1 if found else 0)


@app.command()
def simulate(
    messages: Annotated[int, typer.Option(help="How many messages.", min=1)] = 1000,
    seed: Annotated[int, typer.Option(help="The same seed gives the same traffic.")] = 1,
    via: Annotated[str, typer.Option(help="kafka, or http for signed POSTs.")] = "kafka",
    before: Annotated[str | None, typer.Option(help="All of it happens before this time; midnight (UTC).")] = None,
    live: Annotated[bool, typer.Option("--live", help="Endless traffic of account `demo` instead, over HTTP.")] = False,
    oracle: Annotated[Path | None, typer.Option(help="Write here what must come out, for `verify`.")] = None,
    decide: Annotated[
        bool, typer.Option("--decide/--no-decide", help="Write decisions too, where no gate runs.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Send life-like traffic of all providers: our own records, and signed webhooks with duplicates and disorder.

    Example: sendledger simulate --messages 1000 --seed 3 --via http --oracle oracle.json
    """
    from cli.output import show
    from cli.simulating import run_live, run_once
    from schemas.settings import GatewaySettings, SimulatorSettings

    if via not in ("kafka", "http"):
        raise RequestError(f"--via {via!r} is no way in", "--via", "Use kafka or http")
    if live and oracle is not None:
        raise RequestError("Endless traffic has no oracle", "--oracle", "Leave out --live")
    settings = settings_beside_up(SimulatorSettings)
    url = f"http://127.0.0.1:{settings_beside_up(GatewaySettings).port}" if live or via == "http" else ""
    if live:
        sys.exit(run(run_live(settings, url, decides=decide)))
    done = run_once(settings, url, messages, seed, via, before, oracle_file=oracle, decides=decide)
    show([run(done)], as_json=as_json, upright=True)
