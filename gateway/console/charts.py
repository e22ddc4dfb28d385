"""Computes the geometry of charts: stacked bars over time, and the ticks of the axis. Pure; templates draw it as SVG.

A chart is WIDTH by HEIGHT units. The browser stretches it to the width of the page, so texts are outside of the SVG.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

__all__ = [
    "HEIGHT",
    "WIDTH",
    "Bar",
    "Chart",
    "Part",
    "Tick",
    "Timespan",
    "bars",
    "grouped",
    "nice_top",
    "rebinned",
    "timespan",
]

WIDTH: Final = 600.0
HEIGHT: Final = 64.0
MAX_BARS: Final = 60
_GAP: Final = 0.18
_MIN_HEIGHT: Final = 0.8
_MINUTE: Final = 60
_HOUR: Final = 3_600
_DAY: Final = 86_400
_STEPS: Final = (
    *(_MINUTE, 5 * _MINUTE, 15 * _MINUTE, _HOUR, 3 * _HOUR, 6 * _HOUR, 12 * _HOUR),
    *(_DAY, 2 * _DAY, 7 * _DAY, 14 * _DAY, 28 * _DAY, 91 * _DAY, 364 * _DAY),
)
_TICKS: Final = 8

Counts = Mapping[str, int]


class Timespan(NamedTuple):
    """The bars of a period, in seconds since 1970. Each begins at a multiple of `step`; `end` is exclusive."""

    begin: int
    end: int
    step: int

    @property
    def starts(self) -> range:
        """The begin of each bar."""
        return range(self.begin, self.end, self.step)


class Part(NamedTuple):
    """The part of a bar that counts one group."""

    name: str
    y: float
    height: float


class Bar(NamedTuple):
    """One bar: its place, its begin and end in time, and its counts."""

    x: float
    width: float
    begin: str
    end: str
    total: int
    counts: Counts
    parts: Sequence[Part]


class Tick(NamedTuple):
    """A mark of the time axis; `x` is in percent of the width."""

    x: float
    text: str


class Chart(NamedTuple):
    """Stacked bars over time. `top` is the count at the full height."""

    bars: Sequence[Bar]
    ticks: Sequence[Tick]
    top: int
    names: Sequence[str]


def timespan(begin: int, end: int) -> Timespan:
    """Return the bars of a period, with the smallest step that needs no more than MAX_BARS."""
    end = max(end, begin + 1)
    step = next((step for step in _STEPS if (end - begin) / step <= MAX_BARS), _STEPS[-1])
    return Timespan(begin // step * step, -(-end // step) * step, step)


def grouped(counts: Iterable[Sequence[Any]], group_of: Mapping[str, str]) -> dict[int, dict[str, int]]:
    """Return the counts of each bar by group, from rows of (start, status, count); `group_of` has a status's group."""
    found: dict[int, dict[str, int]] = {}
    for start, status, number in counts:
        bar = found.setdefault(start, {})
        group = group_of[status]
        bar[group] = bar.get(group, 0) + number
    return found


def rebinned(counts: Mapping[int, Counts], step: int) -> dict[int, dict[str, int]]:
    """Return the counts of bars with a larger `step`, as the sums of smaller bars."""
    found: dict[int, dict[str, int]] = {}
    for at, by_name in counts.items():
        bar = found.setdefault(at // step * step, {})
        for name, number in by_name.items():
            bar[name] = bar.get(name, 0) + number
    return found


def nice_top(most: int) -> int:
    """Return the smallest round number of at least `most`: one digit or 15, followed by zeros."""
    if most <= 10:
        return max(1, most)
    power = 10 ** math.floor(math.log10(most))
    return next(int(power * factor) for factor in (1, 1.5, 2, 3, 4, 5, 6, 8, 10) if power * factor >= most)


def bars(span: Timespan, counts: Mapping[int, Counts], names: Sequence[str]) -> Chart:
    """Return the chart of a period; `names` has the groups in the order of the stack, from the bottom."""
    starts = span.starts
    totals = {at: sum(counts.get(at, {}).get(name, 0) for name in names) for at in starts}
    top = nice_top(max(totals.values(), default=0))
    width = WIDTH / max(1, len(starts))
    made = [
        Bar(
            x=round(n * width + width * _GAP / 2, 2),
            width=round(width * (1 - _GAP), 2),
            begin=_iso(at),
            end=_iso(at + span.step),
            total=totals[at],
            counts={name: counts.get(at, {}).get(name, 0) for name in names},
            parts=_stack(counts.get(at, {}), names, top),
        )
        for n, at in enumerate(starts)
    ]
    return Chart(made, _ticks(span), top, names)


def _stack(counts: Counts, names: Sequence[str], top: int) -> list[Part]:
    """The parts of a bar. Each part with a count has a minimum height, so that it is visible."""
    parts: list[Part] = []
    y = HEIGHT
    for name in names:
        if number := counts.get(name, 0):
            height = max(_MIN_HEIGHT, number / top * HEIGHT)
            y = max(0.0, y - height)
            parts.append(Part(name, round(y, 2), round(height, 2)))
    return parts


def _ticks(span: Timespan) -> list[Tick]:
    """Marks at the begin of days, or of hours in a short period: at most _TICKS, so that their texts don't overlap."""
    length = span.end - span.begin
    unit, text = _unit(length)
    first = -(-span.begin // unit) * unit
    marks = [at for at in range(first, span.end, unit) if (at - span.begin) / length <= 0.96]
    every = max(1, -(-len(marks) // _TICKS))
    return [Tick(round(100 * (at - span.begin) / length, 2), text(at)) for at in marks[::every]]


def _unit(length: int) -> tuple[int, Callable[[int], str]]:
    if length <= 6 * _HOUR:
        return 15 * _MINUTE, lambda at: f"{_at(at):%H:%M}"
    if length <= 2 * _DAY:
        return 3 * _HOUR, lambda at: f"{_at(at):%H:%M}"
    if length <= 10 * _DAY:
        return _DAY, lambda at: f"{_at(at):%a %d}"
    return _DAY, lambda at: f"{_at(at):%d %b}"


def _at(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _iso(seconds: int) -> str:
    return f"{_at(seconds):%Y-%m-%dT%H:%M:%SZ}"
