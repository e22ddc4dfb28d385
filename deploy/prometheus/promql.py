"""Build PromQL from the metrics of the catalogue.

In:  a metric, labels to match, a window. Out: an expression.
Raises ValueError for a label that the metric lacks: no rule outlives the metric or the label that it is about.
"""

import re
from collections.abc import Collection, Mapping
from typing import Final, NamedTuple

from schemas.telemetry import PREFIX, CounterMetric, GaugeMetric, HistogramMetric, Metric

__all__ = ["Not", "increase", "mean", "quantile", "rate", "series", "total"]


class Not(NamedTuple):
    """Matches every value but these."""

    values: Collection[str]


Values = str | Collection[str] | Not
"""What a label is compared with: one value, any of several, or none of several."""

_BEFORE: Final = "5m"
"""As far as Prometheus itself looks back for a value, where no scrape failed."""
_SPECIAL: Final = re.compile(r"([\\.^$*+?()\[\]{}|])")


def series(metric: Metric, suffix: str = "", *, window: str = "", **labels: Values) -> str:
    """Return the selector of a metric: `suffix` is that of a histogram's part, like `_sum`."""
    return _selector(metric, labels, suffix) + (f"[{window}]" if window else "")


def increase(metric: CounterMetric, window: str, by: Collection[str] = (), **labels: Values) -> str:
    """Return how much a counter rose within `window`, summed `by` these labels, and `instance` if it is one of them.

    A metric appears with its first value, for example 1 for the first dead letter, and Prometheus' `increase` sees no
    rise in that. So a series that did not exist at the beginning of the window counts with its value.

    It existed if it was there at any time of the minutes before the window: a scrape that failed at its beginning must
    not let everything count that has ever happened.
    """
    _check(metric, [name for name in by if name != "instance"])
    found = _selector(metric, labels)
    before = f"last_over_time({found}[{_BEFORE}] offset {window})"
    return f"{_sum(by)}(({found} unless {before}) or increase({found}[{window}]))"


def rate(metric: CounterMetric, window: str, by: Collection[str] = (), **labels: Values) -> str:
    """Return the rate per second of a counter, summed `by` these labels: for graphs."""
    _check(metric, by)
    return f"{_sum(by)}(rate({_selector(metric, labels)}[{window}]))"


def quantile(of: float, metric: HistogramMetric, window: str, by: Collection[str] = (), **labels: Values) -> str:
    """Return a quantile of a histogram over `window`; at most its largest bucket."""
    _check(metric, by)
    buckets = _selector(metric, labels, "_bucket")
    return f"histogram_quantile({of}, {_sum(('le', *by))}(rate({buckets}[{window}])))"


def mean(metric: HistogramMetric, window: str) -> str:
    """Return the mean of a histogram over `window`."""
    sums, counts = (series(metric, suffix, window=window) for suffix in ("_sum", "_count"))
    return f"sum(rate({sums})) / sum(rate({counts}))"


def total(metric: GaugeMetric, by: Collection[str] = (), **labels: Values) -> str:
    """Return the sum of a gauge `by` these labels."""
    _check(metric, by)
    return f"{_sum(by)}({_selector(metric, labels)})"


def _selector(metric: Metric, labels: Mapping[str, Values], suffix: str = "") -> str:
    _check(metric, labels)
    matchers = ", ".join(_matcher(name, values) for name, values in labels.items())
    return PREFIX + metric.name + suffix + (f"{{{matchers}}}" if matchers else "")


def _check(metric: Metric, labels: Collection[str]) -> None:
    if unknown := set(labels) - set(metric.labels):
        raise ValueError(f"{metric.name} has no label {', '.join(sorted(unknown))}, only {metric.labels}")


def _sum(by: Collection[str]) -> str:
    return f"sum by ({', '.join(by)}) " if by else "sum"


def _matcher(name: str, values: Values) -> str:
    match values:
        case str():
            return f'{name}="{values}"'
        case Not():
            return f'{name}!~"{_any_of(values.values)}"'
        case _:
            return f'{name}=~"{_any_of(values)}"'


def _any_of(values: Collection[str]) -> str:
    # A backslash is doubled, since the pattern stands in a quoted text.
    return "|".join(_SPECIAL.sub(r"\\\\\1", value) for value in sorted(values))
