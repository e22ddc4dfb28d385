"""Running the simulator for the commands."""

import asyncio
import signal
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any, Final

import structlog
from pydantic import SecretStr

from processors.lag import catch_up
from schemas.errors import BrokerError, ConfigError, RequestError
from schemas.groups import gate_of
from schemas.settings import SimulatorSettings
from schemas.times import DAY_US, rfc3339_us
from simulator.http import Poster, run_over_http
from simulator.kafka import PUBLIC_URL, run_over_kafka
from simulator.live import live
from simulator.oracle import Oracle
from simulator.posts import plan
from simulator.providers import PROVIDERS
from simulator.sending import at_once
from simulator.signing import Keys
from simulator.stories import Setting

__all__ = ["run_live", "run_once"]

ACCOUNTS: Final = ("demo", "acme", "globex")
GATE_WITHIN_SECONDS: Final = 120.0
DEMO_WAITS_SECONDS: Final = 10.0

log = structlog.get_logger()


async def run_once(
    settings: SimulatorSettings,
    url: str,
    messages: int,
    seed: int,
    via: str,
    before: str | None,
    *,
    oracle_file: Path | None = None,
    decides: bool = False,
) -> dict[str, Any]:
    """Send one plan, to `url` over HTTP or straight into Kafka, and return what was sent.

    `oracle_file` is written first: it says what must come out of all that is sent. Unless the plan `decides` itself, it
    goes on only when the gate has read what came before. Raises BrokerError where no gate does.
    """
    oracle = None
    if oracle_file is not None:
        oracle = Oracle(seed, decides=decides, arrivals_known=via == "kafka")
    setting = Setting(_until(before), ACCOUNTS, decides=decides, refuses_unknown=settings.default_policy == "refuse")
    # Written now, so that they count also where somebody has said something else of these accounts before.
    planned = plan(messages, seed, setting, policies_us=time.time_ns() // 1000, oracle=oracle)
    if oracle is not None and oracle_file is not None:
        _write(oracle_file, oracle.as_json())
    keys = _keys(settings)
    settled = at_once if decides else partial(_gate_has_read, settings, GATE_WITHIN_SECONDS)
    started = time.monotonic()
    if via == "http":
        poster = Poster(url, _needed(keys), public_url=settings.public_url)
        await run_over_http(poster, settings.kafka_bootstrap, planned, progress=_progress, settled=settled)
    else:
        public_url = settings.public_url or PUBLIC_URL
        await run_over_kafka(
            settings.kafka_bootstrap, planned, progress=_progress, keys=keys, public_url=public_url, settled=settled
        )
    return planned.totals.as_json() | {"seconds": round(time.monotonic() - started, 2)}


async def run_live(settings: SimulatorSettings, url: str, *, decides: bool = False) -> int:
    """Send the demo's traffic until the process is told to stop."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    poster = Poster(url, _needed(_keys(settings)), public_url=settings.public_url, patience_seconds=None, concurrency=4)
    settled = at_once if decides else partial(_gate_may_have_read, settings)
    await live(poster, settings.kafka_bootstrap, stop=stop, decides=decides, settled=settled)
    return 0


async def _gate_has_read(settings: SimulatorSettings, within_seconds: float) -> None:
    """Return when the gate has read all that there is by now. Raises BrokerError where it does not."""
    behind = await catch_up(settings.kafka_bootstrap, [gate_of(settings.gate_group)], within_seconds=within_seconds)
    if behind:
        raise BrokerError(
            f"After {within_seconds:g} s the gate has {behind:,} records to read that decide what comes next",
            f"group {settings.gate_group} at {settings.kafka_bootstrap}",
            "See with `sendledger doctor` whether `sendledger worker gate` runs, with `sendledger lag` how fast it is;"
            " where there is none, let the simulator decide with --decide",
        )


async def _gate_may_have_read(settings: SimulatorSettings) -> None:
    """The same for a demo, which goes on whatever is away."""
    try:
        await _gate_has_read(settings, DEMO_WAITS_SECONDS)
    except BrokerError as error:
        log.warning("demo.gate_missed", problem=error.what)


def _until(before: str | None) -> int:
    """The time before which all of it happens: midnight, unless told, so that a seed gives the same all day long."""
    if before is None:
        today_us = time.time_ns() // 1000
        return today_us - today_us % DAY_US
    us = rfc3339_us(before)
    if us is None:
        raise RequestError(f"{before[:40]!r} is no time", "--before", "Give one like 2026-11-24T00:00:00Z")
    return us


def _keys(settings: SimulatorSettings) -> Keys:
    """The keys that the providers' posts are signed with: of several the first."""
    return Keys(
        sendgrid_private_key=settings.dev_sendgrid_private_key.get_secret_value(),
        twilio_auth_token=_first(settings.twilio_auth_tokens),
        postmark_credentials=_first(settings.postmark_basic_auth),
    )


def _first(several: SecretStr) -> str:
    return several.get_secret_value().partition(",")[0].strip()


def _needed(keys: Keys) -> Keys:
    missing = [provider.key for provider in PROVIDERS.values() if not provider.has_key(keys)]
    if missing:
        raise ConfigError(
            "Signed posts need the providers' keys",
            ", ".join(missing),
            "Take them from the dev.env that `sendledger up` writes, or use --via kafka",
        )
    return keys


def _write(path: Path, document: bytes) -> None:
    try:
        path.write_bytes(document)
    except OSError as error:
        raise RequestError(
            f"The oracle can't be written: {error}", "--oracle", "Name a file in a folder of yours"
        ) from error


def _progress(done: int, total: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{done:,} of {total:,}", end="" if done < total else "\n", file=sys.stderr, flush=True)
