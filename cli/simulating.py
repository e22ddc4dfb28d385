"""Running the simulator for the commands."""

import asyncio
import signal
import sys
import time
from typing import Any

from schemas.errors import ConfigError, RequestError
from schemas.settings import SimulatorSettings
from schemas.times import DAY_US, rfc3339_us
from simulator.http import run_over_http
from simulator.kafka import run_over_kafka
from simulator.live import live
from simulator.posts import plan

__all__ = ["run_live", "run_once"]

ACCOUNTS = ("demo", "acme", "globex")


async def run_once(
    settings: SimulatorSettings, url: str, messages: int, seed: int, via: str, before: str | None
) -> dict[str, Any]:
    """Send one plan, to `url` over HTTP or straight into Kafka, and return what was sent."""
    planned = plan(messages, seed, now_us=_until(before), accounts=ACCOUNTS)
    key = settings.dev_sendgrid_private_key.get_secret_value()
    started = time.monotonic()
    if via == "http":
        await run_over_http(url, _needed(key), settings.kafka_bootstrap, planned, progress=_progress)
    else:
        await run_over_kafka(settings.kafka_bootstrap, planned, progress=_progress, private_key=key or None)
    return planned.totals().as_json() | {"seconds": round(time.monotonic() - started, 2)}


async def run_live(settings: SimulatorSettings, url: str) -> int:
    """Send the demo's traffic until the process is told to stop."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    key = _needed(settings.dev_sendgrid_private_key.get_secret_value())
    await live(url, key, settings.kafka_bootstrap, stop=stop)
    return 0


def _until(before: str | None) -> int:
    """The time before which all of it happens: midnight, unless told, so that a seed gives the same all day long."""
    if before is None:
        today_us = time.time_ns() // 1000
        return today_us - today_us % DAY_US
    us = rfc3339_us(before)
    if us is None:
        raise RequestError(f"{before[:40]!r} is no time", "--before", "Give one like 2026-11-24T00:00:00Z")
    return us


def _needed(key: str) -> str:
    if not key:
        raise ConfigError(
            "Signed posts need a private key",
            "SENDLEDGER_DEV_SENDGRID_PRIVATE_KEY",
            "Take it from the dev.env that `sendledger up` writes, or use --via kafka",
        )
    return key


def _progress(done: int, total: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{done:,} of {total:,}", end="" if done < total else "\n", file=sys.stderr, flush=True)
