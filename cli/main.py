"""The `sendledger` command: one file of commands, each of which reads its settings and calls what does the work.

Data goes to stdout, progress and logs to stderr. Exit codes: 0 done, 1 found wrong, 2 usage, 3 configuration,
4 a dependency is down.
"""

import asyncio
import logging
import sys
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import structlog
import typer

from schemas.errors import BrokerError, ConfigError, RequestError, SendledgerError, StoreError
from schemas.settings import Settings, read

__all__ = ["app", "main"]

DEV_ENV = Path(".data/dev.env")
"""What `up` writes. Commands on the same machine find its settings there; the environment has precedence."""

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Knows what became of every email and SMS that a booking service wanted to send.",
)
token_app = typer.Typer(no_args_is_help=True, help="Tokens of the API.")
app.add_typer(token_app, name="token")

S = TypeVar("S", bound=Settings)
T = TypeVar("T")
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, an object a line.")]
EXIT_CODES: dict[type[SendledgerError], int] = {RequestError: 2, ConfigError: 3, StoreError: 4, BrokerError: 4}


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
    try:
        app()
    except SendledgerError as error:
        typer.echo(f"error: {error.what}\n  where: {error.where}\n  mend:  {error.mend}", err=True)
        sys.exit(next((code for kind, code in EXIT_CODES.items() if isinstance(error, kind)), 1))


def settings_of(kind: type[S], **given: Any) -> S:
    """Return settings from the environment, completed by those of a local `up`."""
    return read(kind, **({"_env_file": DEV_ENV} if DEV_ENV.exists() else {}), **given)


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

    data_dir.mkdir(parents=True, exist_ok=True)
    sys.exit(run(run_up(data_dir.absolute(), port_base, demo=demo)))


@app.command()
def migrate(as_json: AsJson = False) -> None:
    """Bring the database to the newest version; safe to run twice and by several at once.

    Example: sendledger migrate
    """
    from cli.output import show
    from projections import migrate as migrations
    from projections.store import Store
    from schemas.settings import MigrateSettings

    settings = settings_of(MigrateSettings)
    store = Store(settings.clickhouse_url.get_secret_value(), database=settings.clickhouse_database)
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

    made = run(make_topics(settings_of(TopicSettings)))
    show([{"made": name} for name in made], as_json=as_json, none="All topics are there.")


worker_app = typer.Typer(no_args_is_help=True, help="A worker, until it is stopped.")
app.add_typer(worker_app, name="worker")


@worker_app.callback()
def worker() -> None:
    """A worker, until it is stopped. Example: sendledger worker ledger"""


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
    from gateway.app import serve
    from schemas.settings import GatewaySettings

    sys.exit(run(serve(settings_of(GatewaySettings))))


@token_app.command("create")
def token_create(
    role: Annotated[str, typer.Option(help="publisher, viewer, support or operator.")],
    account: Annotated[list[str], typer.Option(help="An account, or * for all; may be repeated.")],
    subject: Annotated[str, typer.Option(help="Whose token it is; stands beside what is done with it.")] = "cli",
    days: Annotated[int | None, typer.Option(help="Days until it ends; without, it holds on.", min=1)] = None,
) -> None:
    """Print a new token, alone on stdout.

    Example: sendledger token create --role viewer --account demo
    """
    from gateway.tokens import issue
    from schemas.settings import TokenSettings

    secret = settings_of(TokenSettings).token_secret.get_secret_value()
    seconds = None if days is None else days * 86_400
    typer.echo(issue(secret, subject=subject, role=role, accounts=account, expires_in=seconds))


@app.command()
def status(
    email_id: Annotated[str | None, typer.Argument(help="An Email ID; without one, the newest messages.")] = None,
    account: Annotated[str | None, typer.Option(help="Its account, where two share the id.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show the row of a message, or the newest ones.

    Example: sendledger status 01a20d1b-631b-730d-aec5-7edcf163a9d1
    """
    from cli.output import show
    from cli.reading import message_rows
    from projections.store import Store
    from schemas.settings import StoreSettings

    settings = settings_of(StoreSettings)
    store = Store(settings.clickhouse_url.get_secret_value(), database=settings.clickhouse_database)
    rows = message_rows(store, email_id, account)
    show(rows, as_json=as_json, none="No such message.", upright=email_id is not None)
    if email_id is not None and not rows:
        sys.exit(1)


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
    limit: Annotated[int, typer.Option(help="At most so many rows.", min=1, max=100_000)] = 100,
    as_json: AsJson = False,
) -> None:
    """List the addresses that are or were suppressed, in each scope.

    Example: sendledger suppressions --suppressed --reason complaint --json
    """
    from cli.suppressing import show_suppressions, suppression_rows
    from schemas.settings import StoreSettings

    asked = {"address": address, "channel": channel, "scope": scope, "reason": reason}
    rows = suppression_rows(settings_of(StoreSettings), asked, suppressed, limit)
    show_suppressions(rows, limit, as_json=as_json)


def _give(action: Literal["suppress", "release", "opt_in"], as_json: bool, **asked: str | None) -> None:
    from cli.suppressing import give, show_given
    from schemas.settings import CommandSettings

    given = run(give(settings_of(CommandSettings), action, asked, time.time_ns() // 1000))
    show_given(given, as_json=as_json)


@app.command()
def lag(
    group: Annotated[str | None, typer.Option(help="Only this consumer group.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show how far the readers of the log are behind, by topic and partition.

    Example: sendledger lag --json
    """
    from cli.operating import lag_of, show_lag
    from schemas.settings import ReadersSettings

    found = run(lag_of(settings_of(ReadersSettings), group))
    show_lag(found, as_json=as_json)
    if group is not None and not found.partitions:
        sys.exit(1)


@app.command()
def doctor(
    programs: Annotated[
        list[str] | None,
        typer.Option(
            "--for", help="Only the settings of this program: topics, migrate, ledger or gateway; repeatable."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Look whether every dependency is right, and say the mend where it is not.

    Example: sendledger doctor
    """
    from cli.doctor.checks import exit_code
    from cli.doctor.examine import examine
    from cli.operating import quieten_clients, show_checks

    quieten_clients()
    checks = run(examine(settings_of, programs or ()))
    show_checks(checks, as_json=as_json)
    sys.exit(exit_code(checks))


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
    timeout: Annotated[float, typer.Option(help="Seconds to wait until nothing lags.", min=0)] = 120.0,
    as_json: AsJson = False,
) -> None:
    """Wait until nothing lags, then list each value that is not what it must be; exit code 1 if there is one.

    The live rows are compared with a fresh fold of the event log, and all with the oracle, where one is given.

    Example: sendledger verify --oracle oracle.json
    """
    from cli.operating import quieten_clients
    from cli.output import show
    from cli.verifying.run import verify as run_verify
    from schemas.settings import VerifySettings

    quieten_clients()
    found = run(run_verify(settings_of(VerifySettings), oracle, timeout))
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
    settings = settings_of(SimulatorSettings)
    url = f"http://127.0.0.1:{settings_of(GatewaySettings).port}" if live or via == "http" else ""
    if live:
        sys.exit(run(run_live(settings, url, decides=decide)))
    done = run_once(settings, url, messages, seed, via, before, oracle_file=oracle, decides=decide)
    show([run(done)], as_json=as_json, upright=True)
