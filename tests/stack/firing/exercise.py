"""One exercise: a cause, the alerts that fire, and the runbook that ends them.

In:  a `Stand` where no alert fires. Out: a `Row` for each alert, with what happened and how long it took.
"""

import asyncio
import contextlib
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from time import monotonic
from typing import Final

from deploy.prometheus.alerts import ALERTS
from tests.stack.firing.stand import Stand

__all__ = ["Act", "Exercise", "NotHere", "Row", "carry_out"]

Act = Callable[[Stand], Awaitable[object]]

_POLL_SECONDS: Final = 0.25
_PAUSE_SECONDS: Final = 1.0
_QUIET_WITHIN: Final = 900.0
_FEW_EVENTS: Final = 300
_RUNBOOKS: Final = {alert.name: alert.runbook for alert in ALERTS}


class NotHere(Exception):
    """The cause can't be produced on this machine, and why."""


async def nothing(_: Stand) -> None:
    """Do nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exercise:
    """A cause of alerts, and how it is mended."""

    alerts: tuple[str, ...]
    """Those that have to fire, and to end."""
    cause: str
    prepare: Act = nothing
    """Done before it, while no alert may fire."""
    begin: Act
    goes_on: Act = nothing
    """Repeated until the alerts fire: traffic, or a fault that comes again and again."""
    ended_by: str
    mend: Act
    """What the runbook says."""
    usual: Act = nothing
    """Repeated until the alerts have ended: the usual traffic, where an alert needs it to end."""
    over: Act = nothing
    """How the runbook says that it is over; it fails if it is not."""
    also: frozenset[str] = frozenset()
    """Alerts that may rightly fire with them."""
    factor: int = 60
    """By how much durations are divided. Less where what is counted takes its time, like a worker's retries."""
    more: tuple[str, ...] = ()
    """Further programs that Prometheus reads."""
    within_seconds: float = 600.0


@dataclass(slots=True)
class Row:
    """What became of one alert."""

    alert: str
    cause: str
    fired: float | None = None
    ended_by: str = ""
    ended: float | None = None
    factor: int = 60
    with_it: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    problem: str = ""
    not_here: str = ""

    @property
    def runbook(self) -> str:
        return _RUNBOOKS[self.alert]

    @property
    def is_right(self) -> bool:
        """Whether it fired alone, or with those that may, and its runbook ended it."""
        return self.fired is not None and self.ended is not None and not self.unexpected and not self.problem


@dataclass(slots=True)
class _Seen:
    """Which alerts were seen firing."""

    names: set[str] = field(default_factory=set)


async def carry_out(stand: Stand, exercise: Exercise) -> list[Row]:
    """Cause it, wait until its alerts fire, follow the runbook, and wait until they have ended."""
    rows = {
        name: Row(name, exercise.cause, ended_by=exercise.ended_by, factor=exercise.factor) for name in exercise.alerts
    }
    seen = _Seen()
    try:
        await exercise.prepare(stand)
        await stand.watch(exercise.factor, exercise.more)
        await _quiet(stand, window=min(60, 3600 // exercise.factor))
        await _fire(stand, exercise, rows, seen)
        await _end(stand, exercise, rows, seen)
    except NotHere as why:
        for row in rows.values():
            row.not_here = str(why)
    except Exception as error:
        for row in rows.values():
            row.problem = f"{type(error).__name__}: {error}"[:1500]
        traceback.print_exc()
        await _mended_for_the_next(stand, exercise)
    for row in rows.values():
        others = seen.names - {row.alert}
        row.with_it = tuple(sorted(others & {*exercise.alerts, *exercise.also}))
        row.unexpected = tuple(sorted(others - {*exercise.alerts, *exercise.also}))
    return list(rows.values())


async def _mended_for_the_next(stand: Stand, exercise: Exercise) -> None:
    """Mend what an exercise has caused that went wrong, so that the next one can begin."""
    try:
        await exercise.mend(stand)
    except Exception:
        traceback.print_exc()


async def _quiet(stand: Stand, window: int) -> None:
    """Wait until Prometheus reads every program, no alert fires or is about to, and there were few events lately."""
    what = "Prometheus to read every program, no alert, and little traffic in what is an hour here"

    async def is_quiet() -> bool:
        if await stand.prometheus.query("up == 0") or await stand.alerts("pending", "firing"):
            return False
        # Shares of an hour's events must not drown in those of the exercise before.
        return not await stand.prometheus.query(f"sum(increase(sendledger_events_total[{window}s])) > {_FEW_EVENTS}")

    await _until(is_quiet, what, _QUIET_WITHIN)


async def _fire(stand: Stand, exercise: Exercise, rows: dict[str, Row], seen: _Seen) -> None:
    started = monotonic()
    await exercise.begin(stand)

    async def all_fire() -> bool:
        firing = await stand.alerts("firing")
        seen.names |= firing
        for name in firing & rows.keys():
            if rows[name].fired is None:
                rows[name].fired = monotonic() - started
        return all(row.fired is not None for row in rows.values())

    async with _repeated(stand, exercise.goes_on) as check:
        await _until(_both(check, all_fire), f"{', '.join(rows)} to fire", exercise.within_seconds)


async def _end(stand: Stand, exercise: Exercise, rows: dict[str, Row], seen: _Seen) -> None:
    started = monotonic()
    await exercise.mend(stand)

    async def all_ended() -> bool:
        firing = await stand.alerts("firing")
        seen.names |= firing
        for name, row in rows.items():
            if name in firing:
                row.ended = None
            elif row.ended is None:
                row.ended = monotonic() - started
        return not firing & rows.keys()

    async with _repeated(stand, exercise.usual) as check:
        await _until(_both(check, all_ended), f"{', '.join(rows)} to end", exercise.within_seconds)
    await exercise.over(stand)


@contextlib.asynccontextmanager
async def _repeated(stand: Stand, act: Act) -> AsyncIterator[Callable[[], None]]:
    """Repeat `act` every second while the block runs. Yields what raises the error that ended it, if one did."""
    is_over = asyncio.Event()

    async def repeat() -> None:
        while not is_over.is_set() and act is not nothing:
            await act(stand)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(is_over.wait(), _PAUSE_SECONDS)

    task = asyncio.create_task(repeat())

    def check() -> None:
        if task.done():
            task.result()

    try:
        yield check
    finally:
        is_over.set()
        await task


def _both(check: Callable[[], None], condition: Callable[[], Awaitable[bool]]) -> Callable[[], Awaitable[bool]]:
    async def both() -> bool:
        check()
        return await condition()

    return both


async def _until(condition: Callable[[], Awaitable[bool]], what: str, within_seconds: float) -> None:
    try:
        async with asyncio.timeout(within_seconds):
            while not await condition():  # noqa: ASYNC110 - nothing here could set an event
                await asyncio.sleep(_POLL_SECONDS)
    except TimeoutError:
        raise AssertionError(f"waited {within_seconds:.0f} s in vain for {what}") from None
