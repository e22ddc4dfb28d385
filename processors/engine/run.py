"""Run an app inside the program's asyncio loop: readiness, signals, a bounded shutdown, a correct exit code.

    sys.exit(asyncio.run(run_app(app, ready=announce)))

It must be the last thing that a program does: once a stop has begun, the process ends within a bounded time, if
necessary by the exit guard. aiokafka retries a commit forever while the broker is unavailable, so a stop may never end
by itself.
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
from processors.engine.errors import BrokerUnavailable, SetupError
from processors.engine.log_limit import limit_repeated_logs

log = logging.getLogger(__name__)

SIGNALS = (signal.SIGTERM, signal.SIGINT)
AFTER_GRACE_SECONDS = 5.0


class Exit(IntEnum):
    """The exit codes of a worker, for whatever restarts it."""

    DONE = 0
    CRASHED = 1
    """It crashed, or a requested stop did not finish in time. What was not committed is read again."""
    SETUP = 3
    BROKER_UNAVAILABLE = 4


async def run_app(
    app: MicroBatchApp,
    *,
    ready: Callable[[], None] = lambda: None,
    stop: asyncio.Event | None = None,
    grace: float = 20.0,
) -> int:
    """Run `app` until SIGTERM, SIGINT, `stop` or its crash, and return the exit code.

    `ready` is called after each assignment of partitions, when states are restored and right before records are
    delivered. A stop may take `grace` seconds, and the process five more; then the process is ended with the exit code
    that it has so far.
    """
    limit_repeated_logs("aiokafka")
    loop = asyncio.get_running_loop()
    stop_requested = stop or asyncio.Event()
    for number in SIGNALS:
        loop.add_signal_handler(number, stop_requested.set)

    app.before_resume(ready)
    starting = asyncio.create_task(app.start(), name="app-start")
    code = await _until_end(app, starting, stop_requested)
    _guard(code or Exit.CRASHED, grace + AFTER_GRACE_SECONDS)
    starting.cancel()
    code = max(code, await _stop(app, grace))
    _ignore_signals(loop)
    return code


async def _until_end(app: MicroBatchApp, starting: asyncio.Task[None], stop_requested: asyncio.Event) -> int:
    ended = asyncio.create_task(app.wait_until_stopped(), name="app-end")
    signalled = asyncio.create_task(stop_requested.wait(), name="signal")
    try:
        await asyncio.wait({starting, ended, signalled}, return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            starting.result()
            await asyncio.wait({ended, signalled}, return_when=asyncio.FIRST_COMPLETED)
    except SetupError as error:
        log.error("refused to start: %s", error)  # noqa: TRY400 - the message is enough
        return Exit.BROKER_UNAVAILABLE if isinstance(error, BrokerUnavailable) else Exit.SETUP
    except Exception:
        log.exception("could not start")
        return Exit.CRASHED
    finally:
        ended.cancel()
        signalled.cancel()
    if isinstance(app.crash_reason, SetupError):
        return Exit.SETUP  # found after the start, such as the partition count in a changelog
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
    """Ignore further signals, so that they can't change the exit code: a closed loop no longer handles them."""
    for number in SIGNALS:
        loop.remove_signal_handler(number)
        signal.signal(number, signal.SIG_IGN)


def _guard(code: int, seconds: float) -> None:
    """End the process after `seconds`, even if a thread still hangs."""

    def end() -> None:
        try:
            print(f"exit guard: the process did not end in {seconds} s", file=sys.stderr, flush=True)
        finally:  # nobody may read stderr any more, as after `2>&1 | head`
            os._exit(code)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
