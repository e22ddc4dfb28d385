"""`sendledger up`: everything on one machine, in order, and kept running.

Kafka and the ClickHouse endpoint are started unless the environment names servers; then topics, migrations, the
workers and the gateway. `dev.env` in the data directory has every setting, for the commands beside it.
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

from deploy.local.clickhouse.users import User
from deploy.local.folders import PRIVATE_UMASK, make_private
from deploy.local.stack import Ports, clickhouse_part, kafka_part
from deploy.local.supervisor import Part, Supervisor
from gateway.tokens import issue
from processors.topics import make_topics
from projections.store import DATABASE, Store, generations, migrate
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

__all__ = ["run_up", "settings_of_stack", "without_a_stacks_own"]

LOOPBACK = "127.0.0.1"
DEV_TOKENS = {"PUBLISHER": "demo", "VIEWER": "demo", "SUPPORT": "*", "OPERATOR": "*"}
CLICKHOUSE_USER = "sendledger"
READ_HERE: Final[tuple[type[Settings], ...]] = (
    TopicSettings,
    MigrateSettings,
    LedgerSettings,
    GateSettings,
    GatewaySettings,
    VerifySettings,
    SimulatorSettings,
)
"""The settings of all programs and commands of a stack."""


async def run_up(data_dir: Path, port_base: int, *, demo: bool) -> int:
    """Run until SIGINT or SIGTERM, all in `data_dir`, which is made if need be. Returns the exit code.

    Raises ConfigError where something can't start.
    """
    os.umask(PRIVATE_UMASK)
    make_private(data_dir)
    asked = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, asked.set)
    ports = Ports(port_base)
    given = without_a_stacks_own(_given(), ports)
    env = settings_of_stack(data_dir, ports, given)
    supervisor = Supervisor(data_dir, _services(data_dir, ports, env, given))
    starting = asyncio.create_task(_start(supervisor, data_dir, env, demo=demo))
    told = asyncio.create_task(asked.wait())
    try:
        await asyncio.wait({starting, told}, return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            starting.result()
            typer.echo(f"ready http://{LOOPBACK}:{env[PREFIX + 'PORT']}")
            sys.stdout.flush()
            await told
    finally:
        starting.cancel()
        await supervisor.stop()
    return 0


async def _start(supervisor: Supervisor, data_dir: Path, env: Mapping[str, str], *, demo: bool) -> None:
    await supervisor.start()
    topics = read(TopicSettings, kafka_bootstrap=env[PREFIX + "KAFKA_BOOTSTRAP"])
    await make_topics(topics)
    store = Store(
        env[PREFIX + "CLICKHOUSE_URL"], database=env[PREFIX + "CLICKHOUSE_DATABASE"], generation=generations.FIRST
    )
    await asyncio.to_thread(migrate.apply, store)
    await asyncio.to_thread(migrate.keep_contents, store, topics.content_retention_days)
    store.close()
    _write(data_dir / "dev.env", env)
    for part in _programs(env, demo=demo):
        await supervisor.add(part)


def _given() -> dict[str, str]:
    """The settings of our own environment: they override every default."""
    return {k: v for k, v in os.environ.items() if k.startswith(PREFIX)}  # noqa: TID251 - this is a main


def without_a_stacks_own(given: Mapping[str, str], ports: Ports) -> dict[str, str]:
    """Leave out what a `dev.env` that was read into this shell says of its own stack: where its servers are.

    They run when that stack does, and so name no server for `up` to use. What somebody has set himself stays.
    """
    base = given.get(f"{PREFIX}DEV_PORT_BASE", "")
    of_stack = Ports(int(base)) if base.isdecimal() else ports
    own = _addresses(of_stack, given.get(f"{PREFIX}DEV_CLICKHOUSE_PASSWORD", ""))
    left_out = {PREFIX + name for name, value in own.items() if given.get(PREFIX + name) == value}
    left_out |= {f"{PREFIX}DEV_PORT_BASE", f"{PREFIX}DEV_CLICKHOUSE_PASSWORD"}
    if base.isdecimal() and given.get(f"{PREFIX}WORKER_DIR", "").endswith("/worker"):
        left_out.add(f"{PREFIX}WORKER_DIR")
    return {name: value for name, value in given.items() if name not in left_out}


def _addresses(ports: Ports, password: str) -> dict[str, str]:
    """Where a stack's own servers and programs are."""
    return {
        "KAFKA_BOOTSTRAP": f"{LOOPBACK}:{ports.kafka}",
        "CLICKHOUSE_URL": f"http://{CLICKHOUSE_USER}:{password}@{LOOPBACK}:{ports.clickhouse}",
        "PORT": str(ports.gateway),
        "PUBLIC_URL": f"http://{LOOPBACK}:{ports.gateway}",
        "METRICS_PORT": str(ports.gateway + 4),
    }


def settings_of_stack(data_dir: Path, ports: Ports, given: Mapping[str, str]) -> dict[str, str]:
    """Return every setting of this stack by its variable, defaults included; what is `given` overrides all else.

    Of a `dev.env` that is there, only the secrets are kept: a default that a newer version changed holds at once.
    Raises ConfigError for all that is wrong with any program's settings.
    """
    kept = _read(data_dir / "dev.env")
    private, public = new_key_pair()
    password = kept.get("SENDLEDGER_DEV_CLICKHOUSE_PASSWORD") or secrets.token_urlsafe(24)
    made = {
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
    }
    known = {k: v for k, v in kept.items() if k in {PREFIX + name for name in made}}
    env = {PREFIX + name: value for name, value in (made | fixed).items()} | known | dict(given)
    secret = env[PREFIX + "TOKEN_SECRET"]
    for role, account in DEV_TOKENS.items():
        token = issue(secret, subject=f"dev-{role.lower()}", role=role.lower(), accounts=[account])
        env[f"{PREFIX}DEV_TOKEN_{role}"] = token
    return _resolved(env) | env


def _resolved(env: Mapping[str, str]) -> dict[str, str]:
    """Every setting that a program of the stack has under `env`, by its variable. Raises ConfigError."""
    given: dict[str, Any] = {k.removeprefix(PREFIX).lower(): v for k, v in env.items()}
    found: dict[str, str] = {}
    for kind in READ_HERE:
        settings = read(kind, **given)
        found |= {PREFIX + name.upper(): _as_text(getattr(settings, name)) for name in kind.model_fields}
    return found


def _as_text(value: Any) -> str:
    """A setting's value as its variable has it."""
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
    # The script by its own path, so that a worker is seen as `sendledger worker ledger`.
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
            _answers(f"{gateway_url}/readyz", "ready"),
            ports=(int(env[PREFIX + "PORT"]),),
        ),
    ]
    if demo:
        parts.append(Part("demo", [*command, "simulate", "--live"], env, _at_once))
    return parts


def _worker(name: str, command: Sequence[str], env: Mapping[str, str], port: int) -> Part:
    """A worker, which is ready when its metrics say so."""
    url = f"http://{LOOPBACK}:{port}/metrics"
    return Part(
        f"worker-{name}",
        [*command, "worker", name],
        {**env, PREFIX + "METRICS_PORT": str(port)},
        _answers(url, f'sendledger_up{{program="{name}"}} 1.0'),
        stop_within=8.0,
        ports=(port,),
    )


def _answers(url: str, text: str) -> Callable[[], Awaitable[bool]]:
    async def ready() -> bool:
        try:
            async with httpx.AsyncClient(timeout=2, trust_env=False) as client:
                answer = await client.get(url)
        except httpx.HTTPError:
            return False
        return answer.status_code == 200 and text in answer.text

    return ready


async def _at_once() -> bool:
    return True


def _read(path: Path) -> dict[str, str]:
    if not path.exists():
        return {}
    lines = (line.partition("=") for line in path.read_text().splitlines() if "=" in line)
    return {name: "".join(shlex.split(value)) for name, _, value in lines}


def _write(path: Path, env: Mapping[str, str]) -> None:
    """Write the settings where only we may read them; whole or not at all."""
    new = path.with_suffix(".new")
    new.touch(mode=0o600)
    new.write_text("".join(f"{name}={shlex.quote(value)}\n" for name, value in sorted(env.items())))
    new.replace(path)
