"""Runs the simulator for the commands."""

import asyncio
import signal
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any, Final

import structlog
from pydantic import SecretStr

from processors.kafka.lag import wait_until_caught_up
from schemas.consumer_groups import gate_group
from schemas.decoding.times import DAY_US, rfc3339_us
from schemas.errors import BrokerError, ConfigError, RequestError
from schemas.log_events import LogEvent
from schemas.settings import SimulatorSettings
from simulator.http import Poster, run_over_http
from simulator.kafka import PUBLIC_URL, run_over_kafka
from simulator.live import live
from simulator.messages import PlanOptions
from simulator.oracle import Oracle
from simulator.plan import plan
from simulator.providers import PROVIDERS
from simulator.sending import no_barrier
from simulator.signing import Keys

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

    `oracle_file` is written first; it has the expected results. Unless the plan `decides` itself, each stage is sent
    only when the gate has read the one before. Raises BrokerError if it has not in time.
    """
    oracle = None
    if oracle_file is not None:
        oracle = Oracle(seed, decides=decides, arrivals_known=via == "kafka")
    options = PlanOptions(
        _until(before), ACCOUNTS, decides=decides, refuses_unknown=settings.default_policy == "refuse"
    )
    # The policies have the current time, so that they replace any earlier policy of these accounts.
    planned = plan(messages, seed, options, policies_us=time.time_ns() // 1000, oracle=oracle)
    if oracle is not None and oracle_file is not None:
        _write(oracle_file, oracle.as_json())
    keys = _keys(settings)
    barrier = no_barrier if decides else partial(_wait_for_gate, settings, GATE_WITHIN_SECONDS)
    started = time.monotonic()
    if via == "http":
        poster = Poster(url, _required(keys), public_url=settings.public_url)
        await run_over_http(poster, settings.kafka, planned, progress=_progress, barrier=barrier)
    else:
        public_url = settings.public_url or PUBLIC_URL
        await run_over_kafka(
            settings.kafka, planned, progress=_progress, keys=keys, public_url=public_url, barrier=barrier
        )
    return planned.totals.as_json() | {"seconds": round(time.monotonic() - started, 2)}


async def run_live(settings: SimulatorSettings, url: str, *, decides: bool = False) -> int:
    """Send the demo's traffic until the process gets SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    poster = Poster(
        url, _required(_keys(settings)), public_url=settings.public_url, patience_seconds=None, concurrency=4
    )
    barrier = no_barrier if decides else partial(_wait_for_gate_or_warn, settings)
    await live(poster, settings.kafka, stop=stop, decides=decides, barrier=barrier)
    return 0


async def _wait_for_gate(settings: SimulatorSettings, within_seconds: float) -> None:
    """Return when the gate has read all records that exist by now. Raises BrokerError if it does not in time."""
    behind = await wait_until_caught_up(
        settings.kafka, [gate_group(settings.gate_group)], within_seconds=within_seconds
    )
    if behind:
        raise BrokerError(
            f"After {within_seconds:g} s the gate is {behind:,} records behind, and the next stage depends on them",
            f"group {settings.gate_group} at {settings.kafka}",
            "Check with `sendledger doctor` that `sendledger worker gate` runs, and with `sendledger lag` its progress;"
            " without a gate, use --decide",
        )


async def _wait_for_gate_or_warn(settings: SimulatorSettings) -> None:
    """Wait for the gate, but only log if it does not catch up: the demo continues."""
    try:
        await _wait_for_gate(settings, DEMO_WAITS_SECONDS)
    except BrokerError as error:
        log.warning(LogEvent.DEMO_GATE_BEHIND, problem=error.what)


def _until(before: str | None) -> int:
    """Return the end of the plan: `--before`, else midnight, so that a seed gives the same plan all day."""
    if before is None:
        today_us = time.time_ns() // 1000
        return today_us - today_us % DAY_US
    us = rfc3339_us(before)
    if us is None:
        raise RequestError(f"{before[:40]!r} is not a time", "--before", "Give a time such as 2026-11-24T00:00:00Z")
    return us


def _keys(settings: SimulatorSettings) -> Keys:
    """Return the keys that the providers' posts are signed with: the first one of each setting."""
    return Keys(
        sendgrid_private_key=settings.dev_sendgrid_private_key.get_secret_value(),
        twilio_auth_token=_first(settings.twilio_auth_tokens),
        postmark_credentials=_first(settings.postmark_basic_auth),
    )


def _first(several: SecretStr) -> str:
    return several.get_secret_value().partition(",")[0].strip()


def _required(keys: Keys) -> Keys:
    missing = [provider.key for provider in PROVIDERS.values() if not provider.has_key(keys)]
    if missing:
        raise ConfigError(
            "Signed posts need the providers' keys, and these settings are empty",
            ", ".join(missing),
            "Set them from the dev.env that `sendledger up` writes, or use --via kafka",
        )
    return keys


def _write(path: Path, document: bytes) -> None:
    try:
        path.write_bytes(document)
    except OSError as error:
        raise RequestError(
            f"The oracle can't be written: {error}", "--oracle", "Name a file in a folder that you can write to"
        ) from error


def _progress(done: int, total: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{done:,} of {total:,}", end="" if done < total else "\n", file=sys.stderr, flush=True)
