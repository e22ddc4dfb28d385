"""`sendledger up`: runs everything on one machine, and keeps it running.

Starts Kafka and the ClickHouse endpoint, unless the environment names servers; then creates topics, applies migrations,
and starts the workers and the gateway. `dev.env` in the data directory has every setting, for other commands.
"""

import asyncio
import os
import secrets
import shlex
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import httpx
import typer
from pydantic import SecretStr

from cli.settings import variables_in
from deploy.local.clickhouse.users import User
from deploy.local.folders import PRIVATE_UMASK, make_private
from deploy.local.reload import restart_on_change, source_folders
from deploy.local.stack import Ports, clickhouse_part, kafka_part
from deploy.local.supervisor import Part, Supervisor
from gateway.access import READERS
from gateway.console.one_time import leave_code
from gateway.tokens import issue
from processors.kafka.topics import create_topics
from projections.store import DATABASE, migrate, retention
from projections.store.generations import ShownStore
from schemas.errors import ConfigError
from schemas.settings import (
    PREFIX,
    GateSettings,
    GatewaySettings,
    LedgerSettings,
    MigrateSettings,
    Settings,
    SimulatorSettings,
    TopicSettings,
    VerifySettings,
    read,
)
from simulator.signing import new_key_pair

__all__ = ["run_up", "stack_settings", "without_stack_addresses"]

LOOPBACK = "127.0.0.1"
_KAFKA_SECURITY: Final = tuple(f"{PREFIX}KAFKA_{name}" for name in ("SECURITY", "SASL", "CA", "CERT", "KEY"))
DEV_TOKENS = {"PUBLISHER": "demo", "VIEWER": "demo", "SUPPORT": "*", "OPERATOR": "*"}
CLICKHOUSE_USER = "sendledger"
GATEWAY_PACKAGES: Final = ("gateway", "application", "processors", "projections", "schemas")
"""The packages that a gateway runs."""
STACK_SETTINGS: Final[tuple[type[Settings], ...]] = (
    TopicSettings,
    MigrateSettings,
    LedgerSettings,
    GateSettings,
    GatewaySettings,
    VerifySettings,
    SimulatorSettings,
)
"""The settings of all programs and commands of a stack."""


async def run_up(data_dir: Path, port_base: int, *, demo: bool, reload: bool = False) -> int:
    """Run until SIGINT or SIGTERM, with all data in `data_dir`, which is created if missing. Returns the exit code.

    With `reload` the gateway is restarted whenever a source file changes.

    Raises ConfigError if a part can't start.
    """
    os.umask(PRIVATE_UMASK)
    make_private(data_dir)
    stop_requested = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop_requested.set)
    ports = Ports(port_base)
    given = without_stack_addresses(_environment_settings(), ports)
    env = stack_settings(data_dir, ports, given)
    supervisor = Supervisor(data_dir, _services(data_dir, ports, env, given))
    starting = asyncio.create_task(_start(supervisor, data_dir, env, demo=demo))
    stop_task = asyncio.create_task(stop_requested.wait())
    try:
        await asyncio.wait({starting, stop_task}, return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            starting.result()
            typer.echo(f"ready http://{LOOPBACK}:{env[PREFIX + 'PORT']}")
            _print_sign_in_links(env)
            sys.stdout.flush()
            if reload:
                await restart_on_change(supervisor, "gateway", source_folders(*GATEWAY_PACKAGES), stop_requested)
            await stop_task
    finally:
        starting.cancel()
        await supervisor.stop()
    return 0


def _print_sign_in_links(env: Mapping[str, str]) -> None:
    """Print a link for each role that reads: it signs in once, on this machine. Earlier codes are void."""
    folder = Path(env[PREFIX + "DEV_SIGN_IN_DIR"])
    if env[PREFIX + "CONSOLE"] != "true":
        return
    folder.mkdir(mode=0o700, exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    typer.echo("\nOpen this, once, on this machine:")
    for role, account in DEV_TOKENS.items():
        if role.lower() in READERS:
            code = leave_code(folder, subject=f"dev-{role.lower()}", role=role.lower(), accounts=[account])
            typer.echo(f"  as {role.lower():<9} http://{LOOPBACK}:{env[PREFIX + 'PORT']}/login/once/{code}")


async def _start(supervisor: Supervisor, data_dir: Path, env: Mapping[str, str], *, demo: bool) -> None:
    await supervisor.start()
    topics = read(TopicSettings, kafka_bootstrap=env[PREFIX + "KAFKA_BOOTSTRAP"])
    await create_topics(topics)
    store = ShownStore(
        env[PREFIX + "CLICKHOUSE_URL"],
        database=env[PREFIX + "CLICKHOUSE_DATABASE"],
        cluster=env[PREFIX + "CLICKHOUSE_CLUSTER"],
    )
    await asyncio.to_thread(migrate.apply, store)
    days, content_days = int(env[PREFIX + "RETENTION_DAYS"]), topics.content_retention_days
    await asyncio.to_thread(retention.set_retentions, store, days=days, content_days=content_days)
    store.close()
    _write(data_dir / "dev.env", env)
    for part in _programs(env, demo=demo):
        await supervisor.add(part)


def _environment_settings() -> dict[str, str]:
    """The settings in our own environment: they override every default."""
    return {k: v for k, v in os.environ.items() if k.startswith(PREFIX)}  # noqa: TID251 - this is a main


def without_stack_addresses(given: Mapping[str, str], ports: Ports) -> dict[str, str]:
    """Remove the server addresses that come from a stack's `dev.env` loaded into this shell.

    Those servers belong to that stack, so `up` must not use them. Addresses that were set by hand stay.
    """
    base = given.get(f"{PREFIX}DEV_PORT_BASE", "")
    of_stack = Ports(int(base)) if base.isdecimal() else ports
    own = _addresses(of_stack, given.get(f"{PREFIX}DEV_CLICKHOUSE_PASSWORD", ""))
    left_out = {PREFIX + name for name, value in own.items() if given.get(PREFIX + name) == value}
    left_out |= {f"{PREFIX}DEV_PORT_BASE", f"{PREFIX}DEV_CLICKHOUSE_PASSWORD", f"{PREFIX}DEV_SIGN_IN_DIR"}
    if base.isdecimal() and given.get(f"{PREFIX}WORKER_DIR", "").endswith("/worker"):
        left_out.add(f"{PREFIX}WORKER_DIR")
    return {name: value for name, value in given.items() if name not in left_out}


def _addresses(ports: Ports, password: str) -> dict[str, str]:
    """The addresses of a stack's own servers and programs."""
    return {
        "KAFKA_BOOTSTRAP": f"{LOOPBACK}:{ports.kafka}",
        "CLICKHOUSE_URL": f"http://{CLICKHOUSE_USER}:{password}@{LOOPBACK}:{ports.clickhouse}",
        "PORT": str(ports.gateway),
        "PUBLIC_URL": f"http://{LOOPBACK}:{ports.gateway}",
        "METRICS_PORT": str(ports.gateway + 4),
        "GATEWAY_METRICS": f"http://{LOOPBACK}:{ports.gateway}/metrics",
        "WORKER_METRICS": ",".join(f"http://{LOOPBACK}:{ports.gateway + n}/metrics" for n in (4, 5)),
    }


def stack_settings(data_dir: Path, ports: Ports, given: Mapping[str, str]) -> dict[str, str]:
    """Return every setting of this stack by its variable, with defaults; `given` overrides all others.

    From an existing `dev.env` only the secrets are kept, so that a changed default of a newer version applies. Raises
    ConfigError with all problems of all programs' settings.
    """
    dev_env = data_dir / "dev.env"
    saved = variables_in(dev_env) if dev_env.exists() else {}
    private, public = new_key_pair()
    password = saved.get("SENDLEDGER_DEV_CLICKHOUSE_PASSWORD") or secrets.token_urlsafe(24)
    generated = {
        "TOKEN_SECRET": secrets.token_urlsafe(48),
        "SENDGRID_PUBLIC_KEYS": public,
        "DEV_SENDGRID_PRIVATE_KEY": private,
        "TWILIO_AUTH_TOKENS": secrets.token_hex(16),
        "POSTMARK_BASIC_AUTH": f"postmark:{secrets.token_urlsafe(24)}",
    }
    fixed = _addresses(ports, password) | {
        "CLICKHOUSE_DATABASE": DATABASE,
        "DEV_CLICKHOUSE_PASSWORD": password,
        "DEV_PORT_BASE": str(ports.base),
        "HOST": LOOPBACK,
        "WORKER_DIR": str(data_dir / "worker"),
        "INSTANCE": "ledger-0",
        "DEV_SIGN_IN_DIR": str(data_dir.absolute() / "sign-in"),
    }
    _check_security(given)
    known = {k: v for k, v in saved.items() if k in {PREFIX + name for name in generated}}
    env = {PREFIX + name: value for name, value in (generated | fixed).items()} | known | dict(given)
    secret = env[PREFIX + "TOKEN_SECRET"]
    for role, account in DEV_TOKENS.items():
        token = issue(secret, subject=f"dev-{role.lower()}", role=role.lower(), accounts=[account])
        env[f"{PREFIX}DEV_TOKEN_{role}"] = token
    return _all_settings(env) | env


def _check_security(given: Mapping[str, str]) -> None:
    """Raise ConfigError for TLS or SASL settings without the address of their Kafka: the local one has neither."""
    secured = [name for name in given if name.startswith(_KAFKA_SECURITY) and given[name] not in ("", "PLAINTEXT")]
    if secured and PREFIX + "KAFKA_BOOTSTRAP" not in given:
        raise ConfigError(
            f"The local Kafka has no TLS and no SASL, but {', '.join(sorted(secured))} is set",
            "the environment",
            f"Unset it, or set {PREFIX}KAFKA_BOOTSTRAP to the Kafka that it is for",
        )


def _all_settings(env: Mapping[str, str]) -> dict[str, str]:
    """The settings of all programs of the stack under `env`, by variable. Raises ConfigError."""
    given: dict[str, Any] = {k.removeprefix(PREFIX).lower(): v for k, v in env.items()}
    found: dict[str, str] = {}
    for kind in STACK_SETTINGS:
        settings = read(kind, **given)
        found |= {PREFIX + name.upper(): _as_text(getattr(settings, name)) for name in kind.model_fields}
    return found


def _as_text(value: Any) -> str:
    """The value of a setting, as text for its variable."""
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    return str(value).lower() if isinstance(value, bool) else str(value)


def _services(data_dir: Path, ports: Ports, env: Mapping[str, str], given: Mapping[str, str]) -> list[Part]:
    parts = []
    if PREFIX + "CLICKHOUSE_URL" not in given:
        user = User(CLICKHOUSE_USER, env[PREFIX + "DEV_CLICKHOUSE_PASSWORD"])
        parts.append(clickhouse_part(data_dir, ports.clickhouse, [user]))
    if PREFIX + "KAFKA_BOOTSTRAP" not in given:
        parts.append(kafka_part(data_dir, ports.kafka))
    return parts


def _programs(env: Mapping[str, str], *, demo: bool) -> list[Part]:
    # The path of the script, so that process lists show `sendledger worker ledger`.
    command = [sys.executable, str(Path(sys.executable).with_name("sendledger"))]
    gateway_url = f"http://{LOOPBACK}:{env[PREFIX + 'PORT']}"
    ledgers = int(env[PREFIX + "METRICS_PORT"])
    parts = [
        _worker("ledger", command, env, ledgers),
        _worker("gate", command, {**env, PREFIX + "INSTANCE": "gate-0"}, ledgers + 1),
        Part(
            "gateway",
            [*command, "gateway"],
            env,
            _http_ready(f"{gateway_url}/readyz", "ready"),
            ports=(int(env[PREFIX + "PORT"]),),
        ),
    ]
    if demo:
        parts.append(Part("demo", [*command, "simulate", "--live"], env, _always_ready))
    return parts


def _worker(name: str, command: Sequence[str], env: Mapping[str, str], port: int) -> Part:
    """A worker; it is ready when its metrics say so."""
    url = f"http://{LOOPBACK}:{port}/metrics"
    return Part(
        f"worker-{name}",
        [*command, "worker", name],
        {**env, PREFIX + "METRICS_PORT": str(port)},
        _http_ready(url, f'sendledger_up{{program="{name}"}} 1.0'),
        stop_within=8.0,
        ports=(port,),
    )


def _http_ready(url: str, text: str) -> Callable[[], Awaitable[bool]]:
    async def ready() -> bool:
        try:
            async with httpx.AsyncClient(timeout=2, trust_env=False) as client:
                answer = await client.get(url)
        except httpx.HTTPError:
            return False
        return answer.status_code == 200 and text in answer.text

    return ready


async def _always_ready() -> bool:
    return True


def _write(path: Path, env: Mapping[str, str]) -> None:
    """Write the settings, readable by this user only, atomically."""
    new = path.with_suffix(".new")
    new.touch(mode=0o600)
    new.write_text("".join(f"{name}={shlex.quote(value)}\n" for name, value in sorted(env.items())))
    new.replace(path)
