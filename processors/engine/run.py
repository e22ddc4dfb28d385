"""Run an app inside a program's own asyncio loop: readiness, signals, a bounded end, an honest exit code.

    sys.exit(asyncio.run(run_app(app, ready=announce)))

It is the last thing that a program does: once a stop has begun, the process ends within a bounded time, if need be by
the exit guard. aiokafka retries a commit for ever while the broker is away, so a stop may never end by itself.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from enum import IntEnum

from processors.engine.app import MicroBatchApp
from processors.engine.errors import BrokerAway, SetupError
from processors.engine.quiet import quieten

log = logging.getLogger(__name__)

SIGNALS = (signal.SIGTERM, signal.SIGINT)
AFTER_GRACE_SECONDS = 5.0


class Exit(IntEnum):
    """What a worker's end means to whoever restarts it."""

    DONE = 0
    CRASHED = 1
    """It crashed, or the stop was asked for but did not end in time. What wasn't committed is read again."""
    SETUP = 3
    BROKER_AWAY = 4


async def run_app(app: MicroBatchApp, *, ready: Callable[[], None] = lambda: None, grace: float = 20.0) -> int:
    """Run `app` until SIGTERM, SIGINT or its crash, and return the exit code.

    `ready` is called after each assignment of partitions, when states are restored and right before records flow. A
    stop may take `grace` seconds, and the process five more; then it is ended with the exit code that it has earned so
    far.
    """
    quieten("aiokafka")
    loop = asyncio.get_running_loop()
    asked = asyncio.Event()
    for number in SIGNALS:
        loop.add_signal_handler(number, asked.set)

    app.before_flow(ready)
    starting = asyncio.create_task(app.start(), name="app-start")
    code = await _until_end(app, starting, asked)
    _guard(code or Exit.CRASHED, grace + AFTER_GRACE_SECONDS)
    starting.cancel()
    code = max(code, await _stop(app, grace))
    _ignore_signals(loop)
    return code


async def _until_end(app: MicroBatchApp, starting: asyncio.Task[None], asked: asyncio.Event) -> int:
    ended = asyncio.create_task(app.wait_until_stopped(), name="app-end")
    told = asyncio.create_task(asked.wait(), name="signal")
    try:
        await asyncio.wait({starting, ended, told}, return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            starting.result()
            await asyncio.wait({ended, told}, return_when=asyncio.FIRST_COMPLETED)
    except SetupError as error:
        log.error("refused to start: %s", error)  # noqa: TRY400 - the message says it all
        return Exit.BROKER_AWAY if isinstance(error, BrokerAway) else Exit.SETUP
    except Exception:
        log.exception("could not start")
        return Exit.CRASHED
    finally:
        ended.cancel()
        told.cancel()
    if isinstance(app.crash_reason, SetupError):
        return Exit.SETUP  # found out after the start, as what a changelog says about its birth is
    return Exit.CRASHED if app.crashed else Exit.DONE


async def _stop(app: MicroBatchApp, grace: float) -> int:
    try:
        async with asyncio.timeout(grace):
            await app.stop()
    except TimeoutError:
        log.error("the stop took longer than %s s and was cut off; what is not committed is read again", grace)  # noqa: TRY400
        return Exit.CRASHED
    except Exception:
        log.exception("the stop failed")
        return Exit.CRASHED
    return Exit.CRASHED if app.crashed else Exit.DONE


def _ignore_signals(loop: asyncio.AbstractEventLoop) -> None:
    """Let no further signal change how the process ends: the loop, once closed, would leave it to be killed by one."""
    for number in SIGNALS:
        loop.remove_signal_handler(number)
        signal.signal(number, signal.SIG_IGN)


def _guard(code: int, seconds: float) -> None:
    """End the process after `seconds`, whatever still hangs in it."""

    def end() -> None:
        print(f"exit guard: the process did not end in {seconds} s", file=sys.stderr, flush=True)
        os._exit(code)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
